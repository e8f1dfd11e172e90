package documents

import (
	"encoding/json"
	"errors"
	"testing"

	"ssmagent/internal/controlplane/api"
)

// FuzzContent: whatever is accepted as a document can be given to agents, and
// whatever is not is refused with an AWS error.
func FuzzContent(f *testing.F) {
	f.Add("Command", "JSON", `{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"a","inputs":{"runCommand":["true"],"n":1e3}}]}`)
	f.Add("Command", "YAML", "schemaVersion: '2.2'\nmainSteps:\n- {action: 'aws:runShellScript', name: a, inputs: {n: .5, 1: x}}\n")
	f.Add("Session", "JSON", `{"schemaVersion":"1.0","sessionType":"Port"}`)
	f.Add("Session", "YAML", "schemaVersion: '1.0'\nsessionType: Port\n")
	f.Add("Session", "YAML", "a: &a [*a]")
	f.Fuzz(func(t *testing.T, kind, format, content string) {
		if kind != "Session" {
			kind = "Command"
		}
		if format != "YAML" && format != "TEXT" {
			format = "JSON"
		}
		v, err := newVersion(kind, format, content)
		var e *api.Error
		if err != nil {
			if !errors.As(err, &e) {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		if len(v.Hash) != 64 || v.SchemaVersion == "" {
			t.Fatalf("%+v", v)
		}
		for _, to := range []string{"JSON", "YAML", "TEXT"} {
			text, err := convert(kind, format, to, content)
			if err != nil || to == "JSON" && !json.Valid([]byte(text)) {
				t.Fatalf("as %s: %q %v", to, text, err)
			}
		}
	})
}

func TestOwnedAreWhole(t *testing.T) {
	t.Parallel()
	all, err := ownedDocuments()
	if err != nil || len(all) < 2 {
		t.Fatal(len(all), err)
	}
	for name, o := range all {
		if !reserved(name) || o.Owner != Amazon || len(o.version.PlatformTypes) == 0 {
			t.Errorf("%s: %+v", name, o)
		}
	}
}
