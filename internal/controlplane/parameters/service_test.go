package parameters

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

// FuzzReference: what can be a name is found by it, by its ARN and by its
// version, and nothing else is in the store then.
func FuzzReference(f *testing.F) {
	for _, name := range []string{"plain", "/lab/a", "/lab/a:1", "a:prod", "../x", "/a//b", "aws", "é", "arn:aws:ssm:eu-west-1:111122223333:parameter/x", ""} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		db, err := store.Open(filepath.Join(t.TempDir(), "store"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		s := New(Options{DB: db, Clock: clock.NewFake(time.Unix(1, 0)), Log: slog.New(slog.DiscardHandler), Region: "eu-west-1", Account: "111122223333"})
		_, err = s.put(t.Context(), api.Caller{}, ssm.PutParameterInput{Name: name, Value: "v", Type: ssm.TypeString})
		for _, ref := range []string{name, s.arn(name), name + ":1", s.arn(name) + ":1"} {
			out, found := s.get(t.Context(), api.Caller{}, ssm.GetParameterInput{Name: ref})
			if (err == nil) != (found == nil) || found == nil && out.Parameter.Name != name || found != nil && api.ErrorOf(found).Code != codeNotFound {
				t.Fatalf("%q: put %v, get %v %+v", ref, err, found, out)
			}
		}
		if err == nil && (strings.Contains(name, ":") || !below(name, "/", true)) {
			t.Fatalf("%q is a name", name)
		}
	})
}
