package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// manager is the socket at which a service manager hears how a service is.
type manager struct {
	t    *testing.T
	sock *net.UnixConn
	path string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &manager{t: t, path: filepath.Join(dir, "s")}
	if m.sock, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.sock.Close() })
	return m
}

// hears waits for a message that begins so and returns it.
func (m *manager) hears(prefix string) string {
	m.t.Helper()
	if err := m.sock.SetReadDeadline(time.Now().Add(patience)); err != nil {
		m.t.Fatal(err)
	}
	for b := make([]byte, 4096); ; {
		n, err := m.sock.Read(b)
		if err != nil {
			m.t.Fatalf("waiting for %q: %v", prefix, err)
		}
		if text := string(b[:n]); strings.HasPrefix(text, prefix) {
			return text
		}
	}
}

// TestWaitsForRegistration: under a service manager an agent that is nobody
// says so and waits; it notices its registration, and reads the configuration
// that has come meanwhile. Nowhere else does it wait.
func TestWaitsForRegistration(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := &node{t: t, root: t.TempDir()}
	n.endAll()
	if _, e, code := run(t, "amazon-ssm-agent", "-root", n.root); code == 0 || !strings.Contains(e, "this machine is not registered") {
		t.Errorf("in the foreground: exit %d, %s", code, e)
	}
	m := newManager(t)
	n.program = startAs(t, exec.Command("env", "NOTIFY_SOCKET="+m.path, filepath.Join(bin, "amazon-ssm-agent"), "-root", n.root))
	m.hears("READY=1")
	if s := m.hears("STATUS="); !strings.HasPrefix(s, "STATUS=waits for a registration: ") || !strings.Contains(s, "amazon-ssm-agent -register -code") {
		t.Errorf("its status is %q", s)
	}
	code, id := p.activation(&ssm.CreateActivationInput{})
	p.configure(n.root, nil)
	if _, e, rc := run(t, "amazon-ssm-agent", "-root", n.root, "-register", "-code", code, "-id", id, "-region", "us-east-1"); rc != 0 {
		t.Fatalf("register: exit %d\n%s", rc, e)
	}
	if s := m.hears("STATUS="); s != "STATUS=" {
		t.Errorf("its status is %q", s)
	}
	n.id = registeredID(t, n.root)
	p.online(n.id)
	p.works(n)
	n.term()
	m.hears("STOPPING=1")
}
