package paramstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssmagent/internal/paramstore"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/ssm"
)

// service answers GetParameters as the service does.
func service(_ context.Context, op string, in, out any) error {
	if op != "GetParameters" {
		return fmt.Errorf("%s was called", op)
	}
	asked := in.(ssm.GetParametersInput)
	parameters := map[string]string{
		"plain": `{"Name":"plain","Type":"String","Value":"p","Version":7}`, "list": `{"Name":"list","Type":"StringList","Value":"a,b"}`, "odd": `[]`,
		"secret": `{"Name":"secret","Type":"SecureString","Value":"sealed"}`, "secret:3": `{"Name":"secret","Selector":":3","Type":"SecureString","Value":"third"}`,
	}
	if asked.WithDecryption {
		parameters["secret"] = `{"Name":"secret","Type":"SecureString","Value":"open"}`
	}
	var found []string
	for _, n := range asked.Names {
		if p, ok := parameters[n]; ok {
			found = append(found, p)
		}
	}
	return json.Unmarshal([]byte(`{"Parameters":[`+strings.Join(found, ",")+`],"InvalidParameters":[]}`), out)
}

func TestSecret(t *testing.T) {
	t.Parallel()
	s := paramstore.Store{Call: service}
	for ref, want := range map[string]string{
		"ssm:plain": "p", "ssm:list": "a,b", "ssm-secure:secret": "open", "ssm-secure:secret:3": "third",
		"ssm:secret": "!is a SecureString; refer to it as {{ssm-secure:secret}}", "ssm-secure:plain": "!needs a SecureString", "ssm:nothing": "!there is no parameter", "ssm:odd": "!cannot unmarshal",
	} {
		got, err := s.Secret(t.Context(), ref)
		if why, fails := strings.CutPrefix(want, "!"); fails && (err == nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "open")) || !fails && (err != nil || got != want) {
			t.Errorf("%s: %q %v", ref, got, err)
		}
	}
}

func TestGetParameters(t *testing.T) {
	t.Parallel()
	found, err := paramstore.Store{Call: service}.GetParameters(t.Context(), []string{"secret", "plain", "nothing", "secret:3"})
	want := []doc.StoreParameter{{Name: "secret", Version: "0", Type: "SecureString", Value: "sealed"}, {Name: "plain", Version: "7", Type: "String", Value: "p"},
		{Name: "secret", Selector: ":3", Version: "0", Type: "SecureString", Value: "third"}}
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("%+v %v", found, err)
	}
}

// TestPatience: a store that does not answer holds nobody up for ever.
func TestPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		silent := paramstore.Store{Call: func(ctx context.Context, _ string, _, _ any) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}}
		start := time.Now()
		_, err := silent.GetParameters(t.Context(), []string{"plain"})
		if err == nil || !strings.Contains(err.Error(), "no answer within 20s") || time.Since(start) != 20*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("the agent is stopping"))
		if _, err := silent.GetParameters(ctx, []string{"plain"}); err == nil || !strings.Contains(err.Error(), "is stopping") {
			t.Error(err)
		}
	})
}
