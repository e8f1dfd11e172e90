package proc

import "testing"

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
