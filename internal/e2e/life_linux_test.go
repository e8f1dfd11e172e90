package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// format is how a kind of package is put on a machine and taken off.
type format struct {
	suffix             string
	install, downgrade []string // the file's path follows
	keeping            []string // install, and keep an edited configuration file
	remove             []string
}

// formats are the kinds, each with a life of its own.
var formats = map[string]format{
	"deb": {".deb", []string{"dpkg", "--install"}, []string{"dpkg", "--force-downgrade", "--install"},
		[]string{"dpkg", "--force-confold", "--install"}, []string{"dpkg", "--remove", "amazon-ssm-agent"}},
	// No dependencies: rpm's own database knows nothing of a Debian.
	"rpm": {".rpm", []string{"rpm", "-U", "--nodeps"}, []string{"rpm", "-U", "--nodeps", "--oldpackage"}, []string{"rpm", "-U", "--nodeps"}, []string{"rpm", "-e", "amazon-ssm-agent"}},
}

// life is a machine whose package lives and dies.
type life struct {
	format
	t    *testing.T
	p    *plane
	m    *machine
	id   string
	last time.Time
}

// TestPackageLife is the life of each kind of package on a real systemd: `make
// test-install` makes what it needs.
func TestPackageLife(t *testing.T) {
	image, packages := made(t)
	for name, f := range formats {
		t.Run(name, func(t *testing.T) { // one after the other: they share the image
			l := &life{format: f, t: t, p: newPlane(t), last: time.Now()}
			l.m = boot(t, image, packages)
			l.stage("the machine is up")
			l.arrives()
			l.idles()
			l.serves()
			l.reloads()
			l.upgrades()
			l.isKilled()
			l.staysDisabled()
			l.stock()
			l.goes()
		})
	}
}

// made are the root for a container and the packages that `make test-install`
// makes.
func made(t *testing.T) (image, packages string) {
	t.Helper()
	image, packages = os.Getenv("SSMAGENT_IMAGE"), os.Getenv("SSMAGENT_PACKAGES")
	if image == "" || packages == "" {
		unable(t, "packages and a root for a container: run make test-install")
	}
	return image, packages
}

// stage tells what was done and how long it took.
func (l *life) stage(what string) {
	now := time.Now()
	l.t.Logf("%-60s %6.2f s", what, now.Sub(l.last).Seconds())
	l.last = now
}

// file is a package's path inside; old and new are versions of ours.
func (l *life) file(which string) string { return "/packages/" + which + l.suffix }

func (l *life) put(how []string, which string) {
	l.t.Helper()
	l.m.do(append(append([]string{}, how...), l.file(which))...)
}

// version waits for a version of the agent at the service.
func (l *life) version(want string) {
	l.t.Helper()
	c := l.p.sdk()
	eventually(l.t, "version "+want, func() bool {
		out, err := c.DescribeInstanceInformation(l.t.Context(), &ssm.DescribeInstanceInformationInput{
			Filters: []types.InstanceInformationStringFilter{{Key: aws.String("InstanceIds"), Values: []string{l.id}}}})
		return err == nil && len(out.InstanceInformationList) == 1 && aws.ToString(out.InstanceInformationList[0].AgentVersion) == want &&
			out.InstanceInformationList[0].PingStatus == types.PingStatusOnline
	})
}

const (
	oldVersion = "3.3.9000.0"
	newVersion = "3.3.9001.0"
)

// arrives installs the package, registers the machine and waits for it.
func (l *life) arrives() {
	code, id := l.p.activation(&ssm.CreateActivationInput{})
	l.p.configure(l.m.root(), nil)
	l.put(l.install, "old")
	if got := l.m.do("systemctl", "is-enabled", "amazon-ssm-agent"); got != "enabled" {
		l.t.Errorf("after the installation the unit is %s", got)
	}
	l.waits()
	l.m.do("amazon-ssm-agent", "-register", "-code", code, "-id", id, "-region", "us-east-1", "-y")
	l.id = l.registration()
	l.version(oldVersion)
	l.stays()
	l.stage("registered, noticed, online")
}

// registration is the node that the machine is.
func (l *life) registration() string {
	l.t.Helper()
	var reg struct{ ManagedInstanceID string }
	b, err := os.ReadFile(filepath.Join(l.m.root(), "var/lib/amazon/ssm/registration"))
	if err == nil {
		err = json.Unmarshal(b, &reg)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return reg.ManagedInstanceID
}

// serves runs a command and a shell by stock clients.
func (l *life) serves() {
	o, e, code := l.p.aws("ssm", "send-command", "--document-name", "AWS-RunShellScript", "--instance-ids", l.id, "--parameters", `commands=["id -un; until grep -q /ssmagent-command-.*scope /proc/self/cgroup; do sleep 0.1; done"]`, "--query", "Command.CommandId", "--output", "text")
	if code != 0 {
		l.t.Fatal(e)
	}
	if got := l.p.invocation(strings.TrimSpace(o), l.id); got.Status != types.CommandInvocationStatusSuccess || *got.StandardOutputContent != "root\n" {
		l.t.Errorf("%s: %s", got.Status, *got.StandardOutputContent)
	}
	l.stage("a command by the stock CLI, in a scope of its own")
	pe := sit(l.t, l.p.stock(l.id), 80, 24)
	pe.sees(`[#$] $`)
	l.stage("the first shell's prompt, the account made")
	pe.types("id -un; sudo -n id -u; stty size\n")
	pe.sees(`\nssm-user\r*\n0\r*\n24 80\r*\n`)
	pe.types("until grep -q /ssmagent-session-.*scope /proc/self/cgroup; do sleep 0.1; done; echo in a $((1)) scope\n")
	pe.sees(`in a 1 scope`)
	pe.types("exit\n")
	pe.ends()
	l.stage("a shell by the stock plugin, with sudo, in a scope of its own")
}

// busy is what goes on while the package changes.
type busy struct {
	l     *life
	shell *person
	pid   string // of the shell
	ports *person
	conn  net.Conn
	gate  gate
	cmd   string
}

// begin opens a shell and a forward and starts a command.
func (l *life) begin() *busy {
	b := &busy{l: l, shell: sit(l.t, l.p.stock(l.id), 80, 24), gate: gate{"/root/ran", "/root/open"}}
	b.shell.sees(`[#$] $`)
	b.shell.types("kept=here; echo $((6*7)) $$\n")
	b.pid = b.shell.sees(`\n42 (\d+)\r*\n`)[1]
	ports, at := l.p.forward(l.p.url, &node{id: l.id, t: l.t}, "0:"+listener(l.t, echoes))
	b.ports, b.conn = ports, reach(l.t, at[0])
	b.cmd = l.p.send(l.id, b.gate.script()...)
	eventually(l.t, "the command to run", func() bool { return l.m.exists(b.gate.ran) })
	return b
}

// end checks that all of it went on.
func (b *busy) end() {
	l := b.l
	b.shell.types("echo still $kept $$\n")
	b.shell.sees(`\nstill here ` + b.pid + `\r*\n`)
	bounce(l.t, b.conn, []byte("through the same connection"))
	l.m.write(b.gate.open, "")
	got := l.p.invocation(b.cmd, l.id)
	if got.Status != types.CommandInvocationStatusSuccess || *got.StandardOutputContent != "finished\n" {
		l.t.Errorf("%s: %q %q", got.Status, *got.StandardOutputContent, *got.StandardErrorContent)
	}
	if ran := l.m.do("cat", b.gate.ran); strings.Count(ran, "\n") != 0 {
		l.t.Errorf("the script ran as %q", ran)
	}
	b.shell.types("exit\n")
	b.shell.ends()
	_ = b.ports.cmd.Process.Signal(os.Interrupt)
	b.ports.ends()
	l.m.do("rm", b.gate.ran, b.gate.open)
}

// upgrades changes the version up and down with work going on.
func (l *life) upgrades() {
	b := l.begin()
	l.stage("a shell, a forward and a command begun")
	l.put(l.install, "new")
	l.version(newVersion)
	b.end()
	l.stage("upgrade: shell, forward and command live on")
	b = l.begin()
	l.put(l.downgrade, "old")
	l.version(oldVersion)
	b.end()
	l.stage("downgrade: shell, forward and command live on")
}

// isKilled has systemd start the agent again, once killed and once stuck.
func (l *life) isKilled() {
	l.m.write("/etc/systemd/system/amazon-ssm-agent.service.d/soon.conf", "[Service]\nRestartSec=2\nWatchdogSec=2\n")
	l.m.do("systemctl", "daemon-reload")
	l.m.do("systemctl", "restart", "amazon-ssm-agent")
	for _, signal := range []string{"KILL", "STOP"} {
		before := l.m.agent()
		l.m.do("kill", "-s", signal, fmt.Sprint(before))
		eventually(l.t, "another agent after SIG"+signal, func() bool {
			now := l.m.agent()
			return now != 0 && now != before && l.m.unit("ActiveState") == "active"
		})
		l.version(oldVersion)
		l.stage("started again after SIG" + signal)
	}
	if journal := l.m.do("journalctl", "--no-pager", "--unit=amazon-ssm-agent", "--output=cat"); !strings.Contains(journal, "control channel open") || !strings.Contains(journal, "watchdog") {
		l.t.Errorf("the journal:\n%s", journal)
	}
	l.m.do("rm", "/etc/systemd/system/amazon-ssm-agent.service.d/soon.conf")
	l.m.do("systemctl", "daemon-reload")
}

// staysDisabled: what an administrator disabled or stopped stays so.
func (l *life) staysDisabled() {
	l.m.do("systemctl", "disable", "amazon-ssm-agent")
	l.m.do("systemctl", "stop", "amazon-ssm-agent")
	l.put(l.install, "new")
	if got, _ := l.m.try("systemctl", "is-enabled", "amazon-ssm-agent"); got != "disabled" {
		l.t.Errorf("after an upgrade the disabled unit is %s", got)
	}
	if pid := l.m.agent(); pid != 0 {
		l.t.Errorf("after an upgrade the stopped agent runs as %d", pid)
	}
	l.m.do("systemctl", "enable", "--now", "amazon-ssm-agent")
	l.version(newVersion)
	l.stage("disabled and stopped stay so")
}

// goes removes the package, puts it back, and at last purges it.
func (l *life) goes() {
	l.m.do(l.remove...)
	if pid := l.m.agent(); pid != 0 {
		l.t.Errorf("after the removal the agent runs as %d", pid)
	}
	for _, kept := range []string{"/var/lib/amazon/ssm/registration", "/etc/amazon/ssm/amazon-ssm-agent.json"} {
		if !l.m.exists(kept) {
			l.t.Errorf("the removal took %s", kept)
		}
	}
	l.put(l.install, "new")
	l.version(newVersion)
	l.stage("removed and installed again: the same node")
	if l.suffix == ".deb" {
		l.m.do("dpkg", "--purge", "amazon-ssm-agent")
		for _, gone := range []string{"/var/lib/amazon", "/var/log/amazon", "/etc/amazon", "/etc/systemd/system/multi-user.target.wants/amazon-ssm-agent.service"} {
			if l.m.exists(gone) {
				l.t.Errorf("the purge left %s", gone)
			}
		}
	} else {
		l.m.do(l.remove...)
	}
	if _, code := l.m.try("id", "ssm-user"); code != 0 {
		l.t.Error("the account ssm-user is gone")
	}
	l.stage("purged; ssm-user stays")
}
