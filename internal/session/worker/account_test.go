package worker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ssmagent/internal/session"
	"ssmagent/internal/wire/mgs"
)

// asRoot has the lab's agent be one that chooses accounts, on a node with
// those of testAccounts.
func asRoot(l *lab) { l.node = func(n *session.Node) { n.AsInvoker = false } }

// TestRunAsRefused: sentences begin as stock agents' do.
func TestRunAsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		env, inputs, user, want string
		below                   bool
	}{
		"no name":                   {inputs: `{"runAsEnabled":true,"runAsDefaultUser":" "}`, want: "Unable to start command: please set the RunAs default user"},
		"no such account":           {inputs: `{"runAsEnabled":"true","runAsDefaultUser":"bob"}`, want: "failed to start pty since RunAs user bob does not exist"},
		"the service's name counts": {inputs: `{"runAsEnabled":true,"runAsDefaultUser":"ada"}`, user: " bob ", want: "RunAs user bob does not exist"},
		"root":                      {inputs: `{"runAsEnabled":true,"runAsDefaultUser":"toor"}`, want: "invalid uid and gid"},
		"an option":                 {inputs: `{"runAsEnabled":true,"runAsDefaultUser":"-u"}`, want: "runAsDefaultUser"},
		"a shell's word":            {inputs: `{"runAsEnabled":true}`, user: "ada;id", want: "SSMSessionRunAs"},
		"agent of a user":           {env: "TEST_ACCOUNT=stranger", inputs: `{"runAsEnabled":true,"runAsDefaultUser":"ada"}`, want: "the agent must run as root to use RunAs"},
		"below -root":               {below: true, inputs: `{"runAsEnabled":true,"runAsDefaultUser":"ada"}`, want: "the agent must run as root to use RunAs, and without -root"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.env = append(l.env, tc.env)
			if !tc.below {
				asRoot(l)
			}
			m, _ := l.agent()
			l.order(m, func(c *mgs.AgentTaskContent) {
				inputs(tc.inputs)(c)
				c.RunAsUser = tc.user
			})
			l.ended("Failed", tc.want)
		})
	}
}

// TestAccountOfAgent: elevated commands, container mode and agents that are not
// root's have the agent's own account, whatever RunAs says.
func TestAccountOfAgent(t *testing.T) {
	const runAs = `{"runAsEnabled":true,"runAsDefaultUser":"nobody-there"}`
	for name, tc := range map[string]struct {
		env   string
		node  func(*session.Node)
		order func(*mgs.AgentTaskContent)
	}{
		"elevated": {order: func(c *mgs.AgentTaskContent) {
			commands(mgs.SessionInteractiveCommands, `{"commands":"echo home $HOME; read x","runAsElevated":true}`)(c)
			inputs(runAs)(c)
		}},
		"container": {node: func(n *session.Node) { n.Container = true }, order: inputs(runAs)},
		"stranger":  {env: "TEST_ACCOUNT=stranger", order: inputs(`{"runAsDefaultUser":"ada"}`)},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.env = append(l.env, tc.env)
			l.node = func(n *session.Node) {
				n.AsInvoker = false
				if tc.node != nil {
					tc.node(n)
				}
			}
			m, _ := l.agent()
			l.order(m, tc.order)
			if name != "elevated" {
				l.gw.expect("ready> ")
				l.gw.typed("echo home $HOME\n")
			}
			l.gw.expect("home /\r\n")
			l.gw.typed("exit\n")
			l.ended("Success", "")
		})
	}
}

// TestAccountLeft: a session that entered an account leaves it, also when its
// program never ran, and accounts are settled at the agent's start and after the
// end of a worker, which may have been killed before.
func TestAccountLeft(t *testing.T) {
	l := newLab(t)
	left := filepath.Join(t.TempDir(), "left")
	l.env = append(l.env, "TEST_LEFT="+left)
	asRoot(l)
	m, _ := l.agent()
	l.order(m, commands(mgs.SessionNonInteractiveCommands, `{"commands":"echo 'x"}`))
	l.ended("Failed", "not closed")
	if _, err := os.Stat(left); err != nil {
		t.Error("the account was not left: ", err)
	}
	eventually(t, "nothing was settled", func() bool { return l.settled.Load() >= 2 })
}

// TestLoginShell: with LoginShells sessions have the account's shell as a login
// shell, and an environment of its own.
func TestLoginShell(t *testing.T) {
	const told = "echo $0,$USER,$LOGNAME,$SHELL,$HOME,$TERM,$KEPT,"
	for name, tc := range map[string]struct {
		order func(*mgs.AgentTaskContent)
		types string
		want  []string
	}{
		"a shell":   {types: told + "\nexit\n", want: []string{"-sh,me,me,/bin/sh,/,xterm-256color,,\r\n"}},
		"a command": {order: commands(mgs.SessionInteractiveCommands, `{"commands":"`+told+`"}`), want: []string{"-sh,me,me,/bin/sh,/,xterm-256color,,\r\n"}},
		"words":     {order: commands(mgs.SessionNonInteractiveCommands, `{"commands":"env"}`), want: []string{"PATH=/usr/bin:/bin\n", "USER=me\n", "SHELL=/bin/sh\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.env = append(l.env, "TEST_LOGIN=/bin/sh")
			l.node = func(n *session.Node) { n.LoginShells = true }
			m, _ := l.agent()
			l.order(m, tc.order)
			if tc.types != "" {
				l.gw.await("a prompt", func() bool { return l.gw.out.Len() > 0 })
				l.gw.typed(tc.types)
			}
			for _, w := range tc.want {
				l.gw.await(w, func() bool { return strings.Contains(l.gw.out.String(), w) })
			}
			l.ended("Success", "")
			if strings.Contains(l.gw.out.String(), "KEPT=kept") {
				t.Error("the agent's environment is there")
			}
		})
	}
}
