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

func TestSameGroup(t *testing.T) {
	t.Parallel()
	const agent = "0::/system.slice/amazon-ssm-agent.service\n"
	for now, want := range map[string]bool{
		agent: true, "0::/system.slice/ssmagent-command-1b4e.scope\n": true, "0::/user.slice\n": false, "": false,
	} {
		if got := sameGroup(agent, now); got != want {
			t.Errorf("from %q to %q: %v", agent, now, got)
		}
	}
}
