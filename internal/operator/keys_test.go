package operator

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"ssmagent/internal/clock"
	"ssmagent/internal/datakey"
	"ssmagent/internal/seal"
)

// asked is a service that answers with fixed JSON and keeps what it was asked.
type asked struct {
	op, in, out string
	err         error
}

func (a *asked) Call(_ context.Context, op string, in, out any) error {
	b, err := json.Marshal(in)
	a.op, a.in = op, string(b)
	if err = errors.Join(err, a.err); err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal([]byte(a.out), out)
}

func TestDataKey(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(map[string][]byte{"Plaintext": make([]byte, seal.KeySize), "CiphertextBlob": []byte("sealed")})
	if err != nil {
		t.Fatal(err)
	}
	const node = "mi-0123456789abcdef0"
	for _, tc := range []struct{ target, answer, asks, says string }{
		{node, "", "", ""},
		{"i-0a1b2c3d", "", "", ""},
		{"web", `{"Sessions":[{"SessionId":"ada-1","Target":"` + node + `"}]}`, `"value":"ada-1"`, ""},
		{"web", `{"Sessions":[]}`, `"value":"ada-1"`, "with the node's id"},
		{"web", `?`, `"value":"ada-1"`, "with the id instead"},
	} {
		service, keys := &asked{out: tc.answer}, &asked{out: string(b)}
		c := New(service, clock.Real{}, "us-east-1", Local).WithKeys(keys)
		_, sealed, err := c.DataKey(t.Context(), datakey.Session{KeyID: "k", SessionID: "ada-1", TargetID: tc.target})
		if !strings.Contains(service.in, tc.asks) || (service.op == "") != (tc.asks == "") {
			t.Errorf("%s: asked %s %s", tc.target, service.op, service.in)
		}
		if tc.says != "" {
			if err == nil || !strings.Contains(err.Error(), tc.says) || keys.op != "" {
				t.Errorf("%s: %v", tc.target, err)
			}
			continue
		}
		want := tc.target
		if tc.asks != "" {
			want = node
		}
		if err != nil || string(sealed) != "sealed" || !strings.Contains(keys.in, `"aws:ssm:TargetId":"`+want+`"`) {
			t.Errorf("%s: %s %v", tc.target, keys.in, err)
		}
	}
	if _, _, err := New(&asked{}, clock.Real{}, "", Local).DataKey(t.Context(), datakey.Session{TargetID: node}); err == nil {
		t.Error("a key without KMS")
	}
}
