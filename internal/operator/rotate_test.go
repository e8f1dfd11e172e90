package operator

import (
	"strings"
	"testing"

	"ssmagent/internal/clock"
	"ssmagent/internal/ssmclient"
)

// TestRotateKey: a service without the call is told from a node that is not
// there.
func TestRotateKey(t *testing.T) {
	t.Parallel()
	for code, hint := range map[string]bool{"": false, "UnknownOperationException": true, "InvalidInstanceId": false} {
		service := &asked{out: `{}`}
		if code != "" {
			service.err = &ssmclient.Error{Code: code, Message: "no"}
		}
		err := New(service, clock.Real{}, "us-east-1", Local).RotateKey(t.Context(), "mi-0123456789abcdef0")
		if service.op != "RequestKeyRotation" || service.in != `{"InstanceId":"mi-0123456789abcdef0"}` {
			t.Errorf("asked %s %s", service.op, service.in)
		}
		if (err == nil) != (code == "") || err != nil && strings.Contains(err.Error(), "KeyAutoRotateDays") != hint {
			t.Errorf("%q: %v", code, err)
		}
	}
}
