package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"ssmagent/internal/client/clienttest"
)

// listener is a destination: every connection is given to handle. It returns
// its port.
func listener(t *testing.T, handle func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })()
				handle(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { l.Close(); stop(); wg.Wait() })
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	return port
}

// echoes says what it hears, and then its end.
func echoes(c *net.TCPConn) { _, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) }

// forward starts `ssm-local forward` and returns where it listens, in order.
func (p *plane) forward(url string, n *node, ways ...string) (*person, []string) {
	p.t.Helper()
	return p.forwardBy(url, n, "", ways...)
}

// forwardBy is forward by a session document, "" for the service's.
func (p *plane) forwardBy(url string, n *node, document string, ways ...string) (*person, []string) {
	p.t.Helper()
	pe := script(p.t, p.local(url, append([]string{"forward", "-output", "json", "-document", document, n.id}, ways...)...))
	at := map[string]string{}
	for len(at) < len(ways) {
		m := pe.sees(`"event":"open".*?"local":"([^"]+)".*? port (\d+)"`)
		at[m[2]] = m[1]
	}
	local := make([]string, len(ways))
	for i, w := range ways {
		local[i] = at[w[strings.LastIndexByte(w, ':')+1:]]
	}
	return pe, local
}

// reach connects to where a forward listens.
func reach(t *testing.T, addr string) net.Conn {
	t.Helper()
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c
}

// bounce says b, and wants to hear it, until both have ended.
func bounce(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	var up sync.WaitGroup
	up.Go(func() {
		if _, err := c.Write(b); err != nil {
			t.Error(err)
		}
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
	})
	got, err := io.ReadAll(c)
	up.Wait()
	if err != nil || !bytes.Equal(got, b) {
		t.Errorf("%d bytes of %d came back: %v", len(got), len(b), err)
	}
}

// TestForward: fifty connections at once, a Unix socket, a port that is closed
// and a destination that is forbidden; ^C ends the session at the service and
// on the node.
func TestForward(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	port := listener(t, echoes)
	socket := filepath.Join(t.TempDir(), "s")
	pe, at := p.forward(p.url, n, "0:"+port, socket+":"+listener(t, echoes))
	var wg sync.WaitGroup
	for i := range 50 {
		c := reach(t, at[i%2])
		wg.Go(func() { bounce(t, c, noise(uint64(i), 1<<20+i)) })
	}
	wg.Wait()
	if err := pe.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := pe.ends(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket is left")
	}
	eventually(t, "the workers to be gone", func() bool {
		return len(processes(n.root)) == 1 // the agent
	})

	closed := listener(t, echoes)
	pe, at = p.forward(p.url, n, "0:"+closed, "0:1")
	if b, _ := exchange(t, at[1]); len(b) > 0 {
		t.Errorf("port 1 says %q", b)
	}
	pe.sees(`"event":"refused"`)
	bounce(t, reach(t, at[0]), []byte("the other one goes on"))
	_ = pe.cmd.Process.Signal(syscall.SIGTERM)
	pe.ends()

	_, e, code := ends(t, p.local(p.url, "forward", n.id, "0:169.254.169.254:80"), nil)
	o, _, _ := ends(t, p.local(p.url, "forward", n.id, "0:169.254.169.254:80"), nil)
	if code != 255 || !strings.Contains(o, "Forwarding to IP address 169.254.169.254 is forbidden.") {
		t.Errorf("exit %d, %s%s", code, o, e)
	}
}

// TestForwardAbandoned: who reads a destination no more that goes on talking
// does not keep it.
func TestForwardAbandoned(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	freed := make(chan struct{}, 10)
	_, at := p.forward(p.url, n, "0:"+listener(t, func(c *net.TCPConn) {
		for b := make([]byte, 64<<10); ; {
			if _, err := c.Write(b); err != nil {
				freed <- struct{}{}
				return
			}
		}
	}))
	for range 10 {
		c := reach(t, at[0])
		if _, err := io.ReadFull(c, make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	for i := range 10 {
		select {
		case <-freed:
		case <-time.After(patience):
			t.Fatalf("%d of 10 destinations talk on", 10-i)
		}
	}
}

// TestForwardCuts carries 64 MiB each way while both sides' connections are cut
// again and again.
func TestForwardCuts(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	agent := p.through(n, 7)
	client := clienttest.NewProxy(t, strings.TrimPrefix(p.url, "http://"), 8)
	content := noise(9, 64<<20)
	heard := make(chan string, 1)
	down := listener(t, func(c *net.TCPConn) { _, _ = c.Write(content) })
	up := listener(t, func(c *net.TCPConn) {
		b, _ := io.ReadAll(c)
		heard <- digest(b)
		fmt.Fprint(c, len(b))
	})
	for _, x := range []*clienttest.Proxy{agent, client} {
		x.CutEvery(16<<10, 128<<10, 1<<20) // from the next connection on
	}
	_, at := p.forward("http://"+client.Addr(), n, "0:"+down, "0:"+up)
	for i := 0; ; i++ {
		c := reach(t, at[0])
		b, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(b, content) {
			t.Fatalf("down: %d bytes of %d, %v", len(b), len(content), err)
		}
		c = reach(t, at[1])
		if _, err := c.Write(content); err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		b, err = io.ReadAll(c)
		if err != nil || string(b) != fmt.Sprint(len(content)) || <-heard != digest(content) {
			t.Fatalf("up: the destination heard %s bytes of %d, %v", b, len(content), err)
		}
		if agent.Cuts() >= 20 && client.Cuts() >= 20 {
			break
		}
		if i == 5 {
			t.Fatalf("%d and %d cuts: too few, nothing was tested", agent.Cuts(), client.Cuts())
		}
	}
	t.Logf("%d and %d cuts", agent.Cuts(), client.Cuts())
}

// TestSSH: ssh, scp and rsync to a real sshd, through our client and through
// the AWS CLI with the official plugin.
func TestSSH(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"ssh", "scp", "rsync", "ssh-keygen"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("needs %s: run `make test`, which installs it", tool)
		}
	}
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	d := newSSHD(t, t.TempDir(), "")
	port := d.listen()
	size := map[string]int{"ours": 16 << 20, "stock": 512 << 10} // the plugin takes a pause after each KiB
	for name, c := range map[string]struct {
		env   []string
		proxy string
	}{
		"ours": {p.local(p.url, "x").Env, filepath.Join(bin, "ssm-local") + " ssh-proxy -endpoint-url " + p.url + " %h " + port},
		"stock": {p.stock(n.id).Env, "/usr/bin/aws ssm start-session --target %h --document-name AWS-StartSSHSession --parameters portNumber=" +
			port + " --endpoint-url " + p.url},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := append(append([]string(nil), d.client...), "-o", "ProxyCommand="+c.proxy)
			tool := func(in io.Reader, argv ...string) (stdout, stderr string, code int) {
				cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
				cmd.Env = c.env
				return ends(t, cmd, in)
			}
			o, e, code := tool(strings.NewReader("typed"), append(append([]string{"ssh"}, options...), n.id, "cat; echo err >&2; exit 42")...)
			if code != 42 || o != "typed" || !strings.Contains(e, "err\n") {
				t.Fatalf("ssh: exit %d, %q, %q", code, o, e)
			}
			dir := t.TempDir()
			content := noise(4, size[name])
			if err := os.WriteFile(filepath.Join(dir, "f"), content, 0o600); err != nil {
				t.Fatal(err)
			}
			same := func(what, file string) {
				if b, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !bytes.Equal(b, content) {
					t.Errorf("%s: %d bytes of %d, %v", what, len(b), len(content), err)
				}
			}
			if _, e, code := tool(nil, append(append([]string{"scp"}, options...), dir+"/f", n.id+":"+dir+"/up")...); code != 0 {
				t.Errorf("scp: exit %d, %s", code, e)
			}
			same("scp up", "up")
			if _, e, code := tool(nil, append(append([]string{"scp"}, options...), n.id+":"+dir+"/f", dir+"/down")...); code != 0 {
				t.Errorf("scp: exit %d, %s", code, e)
			}
			same("scp down", "down")
			shell := "ssh"
			for _, o := range options {
				shell += " '" + o + "'"
			}
			if _, e, code := tool(nil, "rsync", "-a", "-e", shell, dir+"/f", n.id+":"+dir+"/synced"); code != 0 {
				t.Errorf("rsync: exit %d, %s", code, e)
			}
			same("rsync", "synced")
		})
	}
}

// TestSSHProxyEnds: what ssh-proxy says when there is no way.
func TestSSHProxyEnds(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	o, e, code := ends(t, p.local(p.url, "ssh-proxy", n.id, "1"), strings.NewReader("SSH-2.0-x\r\n"))
	if code != 255 || o != "" || e == "" {
		t.Errorf("exit %d, %q, %q", code, o, e)
	}
	var said struct{ Event string }
	if json.Unmarshal([]byte(o), &said) == nil {
		t.Errorf("standard output is the server's: %q", o)
	}
}
