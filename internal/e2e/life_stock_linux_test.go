package e2e

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// stock puts a package in our place that has the stock agent's names, paths and
// scripts, and ours in its place again.
func (l *life) stock() {
	l.becomesStock()
	l.m.do("sh", "-c", "echo '# mine' >>"+l.stockUnit())
	worker := l.m.do("pgrep", "-f", "^/bin/sh /usr/bin/ssm-document-worker|^sleep infinity")
	began, waits := l.unfinished("current", "InProgress", strings.Fields(worker)[0]), l.unfinished("pending", "NotStarted", "0")
	l.put(l.keeping, "new")
	l.version(newVersion)
	l.isFailed(began, "current", "interrupted by the replacement of the stock agent")
	l.isFailed(waits, "pending", "the stock agent was replaced before this command began")
	if got := l.m.do("systemctl", "is-enabled", "amazon-ssm-agent"); got != "enabled" {
		l.t.Errorf("in the stock package's place the unit is %s", got)
	}
	kept := l.stockUnit() // and it serves with ours
	if l.suffix == ".rpm" {
		kept += ".rpmsave"
	}
	if text := l.m.do("cat", kept); !strings.Contains(text, "# mine") {
		l.t.Errorf("the administrator's unit was kept as\n%s", text)
	}
	if l.m.exists("/etc/init/amazon-ssm-agent.conf") || l.m.exists("/usr/bin/ssm-agent-worker") {
		l.t.Error("something of the stock package is left")
	}
	left := l.m.do("pgrep", "-f", "^/bin/sh /usr/bin/ssm-document-worker|^sleep infinity")
	for _, pid := range strings.Fields(left) {
		if !strings.Contains(worker, pid) {
			l.t.Errorf("process %s was not there", pid)
		}
	}
	if left == "" {
		l.t.Error("the stock worker was ended")
	}
	l.stage("in the stock package's place, its worker left alone")
	if l.suffix == ".deb" {
		l.m.do("dpkg", "--force-confnew", "--force-confask", "--install", l.file("new"))
	}

	if l.suffix == ".rpm" { // the stock deb's scripts disable the unit themselves
		l.becomesStock()
		l.m.do("systemctl", "disable", "amazon-ssm-agent")
		l.put(l.install, "new")
		l.version(newVersion) // it ran, so it runs
		if got, _ := l.m.try("systemctl", "is-enabled", "amazon-ssm-agent"); got != "disabled" {
			l.t.Errorf("disabled under the stock package, the unit is %s", got)
		}
		l.m.do("systemctl", "enable", "amazon-ssm-agent")
		l.stage("disabled under the stock package stays so")
		return // its unit stands where a mask would
	}
	l.becomesStock()
	l.m.do("systemctl", "mask", "--now", "amazon-ssm-agent")
	l.put(l.install, "new")
	if got, _ := l.m.try("systemctl", "is-enabled", "amazon-ssm-agent"); got != "masked" || l.m.agent() != 0 {
		l.t.Errorf("masked under the stock package, the unit is %s and runs as %d", got, l.m.agent())
	}
	l.m.do("systemctl", "unmask", "amazon-ssm-agent")
	l.m.do("systemctl", "enable", "--now", "amazon-ssm-agent")
	l.version(newVersion)
	l.stage("masked under the stock package stays so")
}

// stockUnit is where the stock package has its unit.
func (l *life) stockUnit() string {
	if l.suffix == ".rpm" {
		return "/etc/systemd/system/amazon-ssm-agent.service"
	}
	return "/lib/systemd/system/amazon-ssm-agent.service"
}

// becomesStock goes back to the stock package.
func (l *life) becomesStock() {
	l.put(l.downgrade, "stock")
	if got := l.m.do("systemctl", "is-enabled", "amazon-ssm-agent"); got != "enabled" {
		l.t.Errorf("back at the stock package the unit is %s", got)
	}
	eventually(l.t, "the stock agent", func() bool { return l.m.agent() != 0 })
	if got := l.m.unit("Type"); got != "simple" {
		l.t.Errorf("back at the stock package the unit is of type %s", got)
	}
	if !l.m.exists("/var/lib/amazon/ssm/registration") {
		l.t.Error("the registration is gone")
	}
	l.stage("back to the stock package")
}

// unfinished is a command as the stock agent keeps it that has not ended.
func (l *life) unfinished(folder, status, pid string) string {
	command := l.p.send(l.id, "touch /root/ran-again")
	l.m.write(l.stateOf(folder, command), fmt.Sprintf(`{"DocumentInformation":{"DocumentID":%[1]q,"CommandID":%[1]q,"MessageID":"aws.ssm.%[1]s.%[2]s","InstanceID":%[2]q,
		"DocumentName":"AWS-RunShellScript","DocumentStatus":"InProgress","ProcInfo":{"Pid":%[4]s}},"DocumentType":"SendCommand","SchemaVersion":"1.2",
		"InstancePluginsInformation":[{"Name":"aws:runShellScript","Id":"aws:runShellScript","Result":{"pluginName":"aws:runShellScript","status":%[3]q,"code":0}}],
		"UpstreamServiceName":"MessageGatewayService"}`, command, l.id, status, pid))
	return command
}

// stateOf is the stock agent's file of a command.
func (l *life) stateOf(folder, command string) string {
	return "/var/lib/amazon/ssm/" + l.id + "/document/state/" + folder + "/" + command
}

// isFailed checks that the service knows why a command of the stock agent
// failed, and that it is not run.
func (l *life) isFailed(command, folder, why string) {
	l.t.Helper()
	got := l.p.invocation(command, l.id)
	if got.Status != types.CommandInvocationStatusFailed || !strings.Contains(*got.StandardErrorContent, why) {
		l.t.Errorf("a command in %s of the stock agent: %s %q", folder, got.Status, *got.StandardErrorContent)
	}
	if l.m.exists(l.stateOf(folder, command)) || !l.m.exists(l.stateOf("corrupt", command)) || l.m.exists("/root/ran-again") {
		l.t.Errorf("a command in %s of the stock agent was not moved aside, or run", folder)
	}
}
