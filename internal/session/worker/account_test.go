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

// TestToken: an account that has a token brings its profile, which is given back
// when nothing runs by it any more, and before the token.
func TestToken(t *testing.T) {
	for name, want := range map[string]string{"": "", "poor": "the hive is damaged", "unborn": "a program ended before its first instruction: no desktop"} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			file := filepath.Join(t.TempDir(), "order")
			l.env = append(l.env, "TEST_ACCOUNT=token", "TEST_LEFT="+file, "TEST_PROFILE="+name)
			asRoot(l)
			m, _ := l.agent()
			l.order(m, nil)
			order := "unloaded\nleft\n"
			if name == "unborn" {
				l.ended("Failed", want)
			} else {
				order = "started in /tmp\n" + order
				l.gw.expect("ready> ")
				l.gw.await(want, func() bool { return strings.Contains(l.gw.out.String(), want) })
				l.gw.typed("echo $OWN,$KEPT,$(pwd); exit\n")
				l.gw.expect("own,,/tmp\r\n")
				l.ended("Success", "")
			}
			if b, err := os.ReadFile(file); err != nil || string(b) != order {
				t.Errorf("%q %v, want %q", b, err, order)
			}
		})
	}
}

// TestCmd: the document says which of Windows' shells sessions run. A command
// is cmd's to take apart, so it goes there in one piece, which only Windows takes.
func TestCmd(t *testing.T) {
	for name, tc := range map[string]struct {
		inputs, commands, types, status, want string
	}{
		"a shell":      {inputs: `{"ssmagent":{"windowsShell":"cmd"}}`, types: "echo $0; exit\n", want: "cmd.exe\r\n", status: "Success"},
		"a command":    {inputs: `{"ssmagent":{"windowsShell":"cmd"}}`, commands: "dir", status: "Failed"},
		"PowerShell":   {inputs: `{"ssmagent":{"windowsShell":"powershell"}}`, types: "echo $0; exit\n", want: "powershell.exe\r\n", status: "Success"},
		"another word": {inputs: `{"ssmagent":{"windowsShell":"bash"}}`, status: "Failed"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.env = append(l.env, "TEST_POWERSHELL=/bin/sh", "TEST_CMD=/bin/sh")
			l.node = func(n *session.Node) { n.Platform = session.Windows }
			m, _ := l.agent()
			l.order(m, func(c *mgs.AgentTaskContent) {
				if tc.commands != "" {
					c.DocumentContent.SessionType = mgs.SessionInteractiveCommands
					c.DocumentContent.Properties = []byte(`{"windows":{"commands":"` + tc.commands + `"}}`)
				}
				inputs(tc.inputs)(c)
			})
			if tc.types != "" {
				l.gw.expect("ready> ")
				l.gw.typed(tc.types)
				l.gw.expect(tc.want)
			}
			l.ended(tc.status, map[string]string{"a command": "command lines exist on Windows only", "another word": `ssmagent.windowsShell is "bash"`}[name])
		})
	}
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
