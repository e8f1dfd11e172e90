package proc

import (
	"strings"
	"testing"
)

func TestUnitName(t *testing.T) {
	t.Parallel()
	for scope, want := range map[string]string{
		"ssmagent-command-aws.ssm.1b4e.mi-0a": "ssmagent-command-aws.ssm.1b4e.mi-0a.scope",
		"a/b@c é\n":                           "a_b_c___.scope",
		strings.Repeat("x", 300):              strings.Repeat("x", 200) + ".scope",
	} {
		if got := unitName(scope); got != want {
			t.Errorf("%q: %q", scope, got)
		}
	}
}
