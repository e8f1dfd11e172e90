package e2e

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// TestClockMoves: a node registers with a service whose clock is an hour ahead,
// and is back when that clock is an hour behind.
func TestClockMoves(t *testing.T) {
	t.Parallel()
	p := newPlane(t, "-test-clock-offset", "1h")
	n := p.node(&ssm.CreateActivationInput{})
	if out := p.invocation(p.send(n.id, "echo ahead"), n.id); *out.StandardOutputContent != "ahead\n" {
		t.Errorf("%+v", out)
	}
	p.kill()
	p.args = []string{"-test-clock-offset", "-1h"}
	p.restart()
	back := time.Now()
	if out := p.invocation(p.send(n.id, "echo behind"), n.id); *out.StandardOutputContent != "behind\n" {
		t.Errorf("%+v", out)
	}
	t.Logf("a command was through %v after the service was back, two hours earlier", time.Since(back).Round(time.Millisecond))
	if !strings.Contains(n.output(), "this machine's clock is wrong") {
		t.Error("the agent's log does not say that the clocks differ")
	}
}

// outside is an address that is not loopback, for a control plane behind a
// proxy.
const outside = "192.0.2.80"

// TestProxies: registration, calls and the control channel's socket go through
// each kind of proxy, and past it where no_proxy has the service's prefix.
func TestProxies(t *testing.T) {
	t.Parallel()
	if !inOwnNetwork(t) {
		return
	}
	if out, err := exec.CommandContext(t.Context(), "ip", "addr", "add", outside+"/32", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	p := newPlane(t, "-tls-listen", outside+":8443", "-tls-name", outside)
	ca := filepath.Join(filepath.Dir(p.creds), "ca.pem")
	for name, tc := range map[string]struct {
		serve   func(net.Conn) (target string, err error)
		scheme  string
		noProxy string
		used    bool
	}{
		"http":     {connectTarget, "http", "", true},
		"socks5":   {socksTarget, "socks5", "", true},
		"no proxy": {connectTarget, "http", "10.0.0.0/8,192.0.2.0/24", false},
	} {
		t.Run(name, func(t *testing.T) {
			hops := new(atomic.Int32)
			address := relay(t, hops, tc.serve)
			n := &node{t: t, root: t.TempDir()}
			n.endAll()
			at := map[string]any{"Endpoint": "https://" + outside + ":8443"}
			p.configure(n.root, map[string]any{"Ssm": at, "Mds": at, "Mgs": at, "ssmagent": map[string]any{"CABundle": ca}})
			env := []string{"https_proxy=" + tc.scheme + "://" + address, "no_proxy=" + tc.noProxy}
			agent := func(args ...string) *exec.Cmd {
				return exec.Command("env", append(append(env, filepath.Join(bin, "amazon-ssm-agent"), "-root", n.root), args...)...)
			}
			code, id := p.activation(&ssm.CreateActivationInput{})
			if out, err := agent("-register", "-code", code, "-id", id, "-region", "us-east-1", "-y").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			b, err := os.ReadFile(filepath.Join(n.root, "var/lib/amazon/ssm/registration"))
			if err != nil {
				t.Fatal(err)
			}
			_, rest, _ := strings.Cut(string(b), `"ManagedInstanceID":"`)
			n.id, _, _ = strings.Cut(rest, `"`)
			before := hops.Load()
			n.program = startAs(t, agent())
			p.online(n.id)
			n.line("control channel open")
			if out := p.invocation(p.send(n.id, "echo through"), n.id); *out.StandardOutputContent != "through\n" {
				t.Errorf("%+v", out)
			}
			// Of the agent at least one connection of calls and the socket.
			if got := hops.Load(); tc.used && (before < 1 || got-before < 2) || !tc.used && got > 0 {
				t.Errorf("%d connections of the registration went through the proxy, %d of the agent", before, got-before)
			}
			n.term()
		})
	}
}

// relay is a proxy on loopback that counts the connections which serve finds a
// target for.
func relay(t *testing.T, hops *atomic.Int32, serve func(net.Conn) (string, error)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				target, err := serve(c)
				if err != nil || target == "" {
					return
				}
				far, err := net.Dial("tcp", target)
				if err != nil {
					return
				}
				defer far.Close()
				hops.Add(1)
				go func() { defer c.Close(); _, _ = io.Copy(c, far) }()
				_, _ = io.Copy(far, c)
			}()
		}
	}()
	return l.Addr().String()
}

// connectTarget reads a CONNECT byte by byte, so that nothing behind it is lost,
// and grants it.
func connectTarget(c net.Conn) (string, error) {
	var head []byte
	for b := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, b...) {
		if _, err := io.ReadFull(c, b); err != nil {
			return "", err
		}
	}
	words := strings.Fields(string(head))
	if words[0] != http.MethodConnect {
		return "", io.ErrUnexpectedEOF
	}
	_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	return words[1], err
}

// socksTarget serves the handshake of SOCKS 5 without authentication, for an
// address or a name.
func socksTarget(c net.Conn) (string, error) {
	b := make([]byte, 260)
	if _, err := io.ReadFull(c, b[:2]); err != nil {
		return "", err
	}
	if _, err := io.ReadFull(c, b[:b[1]]); err != nil {
		return "", err
	}
	if _, err := c.Write([]byte{5, 0}); err != nil {
		return "", err
	}
	if _, err := io.ReadFull(c, b[:5]); err != nil { // the last is an address's first byte, or a name's length
		return "", err
	}
	size, host := 4, func(b []byte) string { return net.IP(b[4:8]).String() }
	if b[3] == 3 {
		size, host = 1+int(b[4]), func(b []byte) string { return string(b[5 : 5+int(b[4])]) }
	}
	if _, err := io.ReadFull(c, b[5:4+size+2]); err != nil {
		return "", err
	}
	target := net.JoinHostPort(host(b), strconv.Itoa(int(binary.BigEndian.Uint16(b[4+size:]))))
	_, err := c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return target, err
}
