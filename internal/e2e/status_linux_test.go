package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"ssmagent/platform/proc/proctest"
)

// adminSocket is where the agent below root is asked how it is.
func adminSocket(root string) string {
	return filepath.Join(root, "var", "lib", "amazon", "ssm", "ipc", "admin")
}

// statusOf asks ssm-cli for the status as JSON.
func statusOf(t *testing.T, root string) map[string]any {
	t.Helper()
	o, e, code := run(t, "ssm-cli", "-root", root, "status", "--output", "json")
	var s map[string]any
	if err := json.Unmarshal([]byte(o), &s); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s%s", code, err, o, e)
	}
	return s
}

// TestStatus: how the node is, and what monitoring is told, through the life of
// an agent.
func TestStatus(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	eventually(t, "the status to be online", func() bool { return statusOf(t, n.root)["State"] == "online" })
	s := statusOf(t, n.root)
	if s["InstanceID"] != n.id || s["ChannelOpen"] != true || s["Ready"] != true || s["CredentialsExpire"] == nil || s["Heartbeat"].(map[string]any)["Answered"] == nil {
		t.Errorf("the status is %v", s)
	}
	o, _, code := run(t, "ssm-cli", "-root", n.root, "status")
	for _, want := range []string{"State", "online", n.id + " in us-east-1", "Heartbeat", "answered ", "Clock", "right", "Credentials", "until "} {
		if !strings.Contains(o, want) || code != 0 {
			t.Errorf("exit %d, no %q in\n%s", code, want, o)
		}
	}
	if o, e, code := run(t, "ssm-cli", "-root", n.root, "readyz"); code != 0 || o != "ready: online\n" {
		t.Errorf("readyz: exit %d, %s%s", code, o, e)
	}
	n.term()
	for _, verb := range [][]string{{"status"}, {"readyz"}} {
		if _, e, code := run(t, "ssm-cli", append([]string{"-root", n.root}, verb...)...); code != 3 || !strings.Contains(e, "the agent is not running") {
			t.Errorf("%v without an agent: exit %d, %s", verb, code, e)
		}
	}
	p.term()
	n.start()
	eventually(t, "the agent to say that it is not ready", func() bool {
		o, _, code := run(t, "ssm-cli", "-root", n.root, "readyz")
		return code == 1 && strings.HasPrefix(o, "not ready: ")
	})
}

// TestMetricsForScrapers: the socket speaks HTTP, as scrapers do.
func TestMetricsForScrapers(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	o, e, code := run(t, "ssm-cli", "-root", n.root, "metrics")
	if code != 0 || !strings.Contains(o, `instance_id="`+n.id+`"`) || !strings.Contains(o, "# TYPE process_open_fds gauge\n") {
		t.Errorf("exit %d\n%s%s", code, o, e)
	}
	h := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", adminSocket(n.root))
	}}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://agent/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := h.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(b), "ssmagent_heartbeats_total{result=\"answered\"}") {
		t.Errorf("%s, %v\n%s", resp.Status, err, b)
	}
}

// TestSetLogLevel: it counts at once, and no longer than the agent lives.
func TestSetLogLevel(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	if o, e, code := run(t, "ssm-cli", "-root", n.root, "set-log-level", "debug"); code != 0 || !strings.Contains(o, "from debug on") {
		t.Fatalf("exit %d, %s%s", code, o, e)
	}
	n.line("the log's level was changed")
	if o, e, code := run(t, "ssm-local", "exec", "-root", p.root, n.id, "--", "true"); code != 0 {
		t.Fatalf("exit %d, %s%s", code, o, e)
	}
	n.line("session worker started") // is of level debug
	if level := statusOf(t, n.root)["LogLevel"]; level != "debug" {
		t.Errorf("the status says %v", level)
	}
	if _, e, code := run(t, "ssm-cli", "-root", n.root, "set-log-level", "loud"); code != 2 || !strings.Contains(e, "use debug, info, warn or error") {
		t.Errorf("exit %d, %s", code, e)
	}
	n.term()
	n.start()
	eventually(t, "the new agent", func() bool {
		o, _, code := run(t, "ssm-cli", "-root", n.root, "status")
		return code == 0 && strings.Contains(o, "Log level    info")
	})
}

// TestDebug: what the running agent does, for people who look for faults.
func TestDebug(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	if o, e, code := run(t, "ssm-cli", "-root", n.root, "debug", "stacks"); code != 0 || !strings.Contains(o, "control.(*Control).Run") {
		t.Errorf("exit %d, %.300s%s", code, o, e)
	}
	for _, args := range [][]string{{"heap"}, {"profile", "-seconds", "1"}} {
		file := filepath.Join(t.TempDir(), "p")
		_, e, code := run(t, "ssm-cli", append([]string{"-root", n.root, "debug"}, append(args, "-o", file)...)...)
		fi, err := os.Stat(file)
		if code != 0 || err != nil || fi.Mode().Perm() != 0o600 || fi.Size() == 0 {
			t.Errorf("%v: exit %d, %v, %s", args, code, err, e)
		}
		if _, e, code := run(t, "ssm-cli", append([]string{"-root", n.root, "debug"}, append(args, "-o", file)...)...); code != 255 || !strings.Contains(e, "exists") {
			t.Errorf("%v: a file was written over: exit %d, %s", args, code, e)
		}
	}
}

// TestAdminSocketIsForRoot: another user reaches neither the socket nor, by a
// way round its rights, an answer.
func TestAdminSocketIsForRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		unable(t, "root, to become another user")
	}
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	socket := adminSocket(n.root)
	if fi, err := os.Stat(filepath.Dir(socket)); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("the socket's folder: %v, %v", fi.Mode(), err)
	}
	if fi, err := os.Stat(socket); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", fi.Mode(), err)
	}
	cli := filepath.Join(t.TempDir(), "ssm-cli") // where another user may run it
	b, err := os.ReadFile(filepath.Join(bin, "ssm-cli"))
	if err != nil {
		t.Fatal(err)
	}
	proctest.Plant(t, cli, b)
	if err := os.Chmod(filepath.Dir(filepath.Dir(cli)), 0o755); err != nil {
		t.Fatal(err)
	}
	ask := func() string {
		cmd := exec.CommandContext(t.Context(), cli, "-root", n.root, "status")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if _, ended := errors.AsType[*exec.ExitError](err); !ended {
			t.Errorf("another user was answered, or could not ask: %v", err)
		}
		return string(out)
	}
	stock := exec.CommandContext(t.Context(), cli, "get-diagnostics")
	stock.Dir = "/"
	stock.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := stock.CombinedOutput(); err != nil || string(out) != "binary needs to be executed by root\n" {
		t.Errorf("diagnostics of another user: %v, %s", err, out)
	}
	if got := ask(); !strings.Contains(got, "permission denied") {
		t.Errorf("another user got to the socket: %s", got)
	}
	for dir := filepath.Dir(socket); dir != filepath.Dir(n.root); dir = filepath.Dir(dir) { // as a careless administrator might
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := ask(); !strings.Contains(got, "user 65534 may not") || strings.Contains(got, n.id) {
		t.Errorf("another user was answered: %s", got)
	}
}

// TestWhatChildrenInherit: the agent raises its own limit of open files; its
// children have the machine's umask and limits, and its files their own rights.
func TestWhatChildrenInherit(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	n.term()
	n.program = startAs(t, exec.Command("sh", "-c", `ulimit -S -n 500 && umask 027 && exec "$0" "$@"`, filepath.Join(bin, "amazon-ssm-agent"), "-root", n.root))
	n.line("control channel open")
	s := statusOf(t, n.root)
	if limit, _ := s["FileLimit"].(float64); limit <= 500 {
		t.Errorf("the agent may open %v files", limit)
	}
	if limit, _ := s["MemoryLimitBytes"].(float64); limit != 256<<20 {
		t.Errorf("the agent's memory is limited to %v", limit)
	}
	out := p.invocation(p.send(n.id, "umask; ulimit -n; env | grep -c '^\\(SSMAGENT_\\|NOTIFY_\\|WATCHDOG_\\|GOMEMLIMIT\\)'"), n.id)
	if got := *out.StandardOutputContent; got != "0027\n500\n0\n" {
		t.Errorf("scripts inherit %q", got)
	}
	for name, want := range map[string]os.FileMode{"var/lib/amazon/ssm/Vault/Store/RegistrationKey": 0o600, "var/lib/amazon/ssm/Vault": 0o700} {
		if fi, err := os.Stat(filepath.Join(n.root, name)); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, fi, err)
		}
	}
}

// TestHibernation: a node that the service refuses says so to monitoring, and in
// the log that stock agents have for it.
func TestHibernation(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	n.term()
	if _, err := p.sdk().DeregisterManagedInstance(t.Context(), &ssm.DeregisterManagedInstanceInput{InstanceId: &n.id}); err != nil {
		t.Fatal(err)
	}
	n.start()
	eventually(t, "monitoring to hear of it", func() bool {
		o, _, code := run(t, "ssm-cli", "-root", n.root, "readyz")
		return code == 1 && strings.HasPrefix(o, "not ready: hibernating ")
	})
	eventually(t, "the log of hibernation", func() bool {
		b, err := os.ReadFile(filepath.Join(n.root, "var/log/amazon/ssm/hibernate.log"))
		return err == nil && strings.Contains(string(b), " WARN the service does not take this node's ping")
	})
	diagnostics(t, n.root).expect(t, "Last heartbeat", "Failed", "the node is hibernating")
}
