package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"ssmagent/internal/client/clienttest"
)

// with is the AWS CLI's way to name a document and its parameters.
func with(t *testing.T, document string, parameters map[string]string) []string {
	t.Helper()
	lists := map[string][]string{}
	for k, v := range parameters {
		lists[k] = []string{v}
	}
	b, err := json.Marshal(lists)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"--document-name", document, "--parameters", string(b)}
}

func TestStockCommands(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})

	pe := sit(t, p.stock(n.id, with(t, "AWS-StartInteractiveCommand", map[string]string{"command": "stty size; read x; echo \"got $x\"; exit 3"})...), 121, 41)
	pe.sees(`41 121\r*\n`)
	pe.types("a word\n")
	pe.sees(`got a word\r*\n`)
	pe.sees(`Exiting session with sessionId`)
	pe.ends()

	t.Run("all", func(t *testing.T) { p.stockCommands(t, n) })
	p.history(n.id, 5)
	n.noShells()
}

func (p *plane) stockCommands(t *testing.T, n *node) {
	for name, tc := range map[string]struct {
		parameters map[string]string
		sees       []string
		never      string
	}{
		"merged": {map[string]string{"command": `sh -c 'echo one; echo two >&2; exit 42'`}, []string{`one\ntwo\n`}, "EXIT_CODE"},
		"apart": {map[string]string{"command": `sh -c 'echo one; sleep 0.3; echo two >&2; exit 42'`, "separateOutputStream": "true",
			"stdoutSeparatorPrefix": "OUT:", "stderrSeparatorPrefix": "ERR:"}, []string{`OUT:one\n`, `ERR:two\n`, `EXIT_CODE: 42`}, ""},
		"killed":    {map[string]string{"command": `sh -c 'kill -9 $$'`, "separateOutputStream": "true"}, []string{`EXIT_CODE: -1`}, ""},
		"not there": {map[string]string{"command": "/no/such/program"}, []string{`Unable to start command: .*no such file`}, "EXIT_CODE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pe := script(t, p.stock(n.id, with(t, "AWS-StartNonInteractiveCommand", tc.parameters)...))
			for _, s := range tc.sees {
				pe.sees(s)
			}
			pe.ends()
			if tc.never != "" && bytes.Contains(pe.out, []byte(tc.never)) {
				t.Errorf("%q was shown", tc.never)
			}
		})
	}
}

// bulk serves text that nobody could make up, and small pages.
func bulk(t *testing.T, size int) (srv *httptest.Server, sum [32]byte) {
	t.Helper()
	text := make([]byte, size)
	rnd := rand.NewChaCha8([32]byte{1})
	_, _ = rnd.Read(text)
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bulk":
			_, _ = w.Write(text)
		case "/sum":
			h := sha256.New()
			_, _ = io.Copy(h, r.Body)
			fmt.Fprintf(w, "%x", h.Sum(nil))
		default:
			fmt.Fprintf(w, "page %s", r.URL.Path)
		}
	}))
	t.Cleanup(srv.Close)
	return srv, sha256.Sum256(text)
}

func portOf(t *testing.T, url string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// browser asks through a forwarded port; each question has a connection of its
// own.
func browser(dial func(context.Context) (net.Conn, error)) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}}
}

func to(network, address string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, network, address) }
}

func get(t *testing.T, c *http.Client, path string) []byte {
	t.Helper()
	resp, err := c.Get("http://forwarded" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestStockForward: the official plugin forwards a port, byte for byte, through
// the death of the agent.
func TestStockForward(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	srv, sum := bulk(t, 64<<20)
	pe := script(t, p.stock(n.id, with(t, "AWS-StartPortForwardingSession", map[string]string{"portNumber": portOf(t, srv.URL)})...))
	local := pe.sees(`Port (\d+) opened for sessionId`)[1]
	pe.sees(`Waiting for connections`)
	c := browser(to("tcp", "127.0.0.1:"+local))
	if got := get(t, c, "/first"); string(got) != "page /first" {
		t.Fatalf("%q", got)
	}
	start := time.Now()
	if got := sha256.Sum256(get(t, c, "/bulk")); got != sum {
		t.Error("what came is not what was sent")
	}
	t.Logf("64 MiB down in %v", time.Since(start))
	up := bytes.Repeat([]byte("up and up "), 100_000)
	resp, err := c.Post("http://forwarded/sum", "", bytes.NewReader(up))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); string(b) != fmt.Sprintf("%x", sha256.Sum256(up)) {
		t.Errorf("the sum of what went up is %s", b)
	}

	// The agent dies in the middle of a transfer and nobody notices.
	body, err := c.Get("http://forwarded/bulk")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Body.Close()
	h := sha256.New()
	if _, err := io.CopyN(h, body.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	n.kill()
	if _, err := io.Copy(h, body.Body); err != nil || [32]byte(h.Sum(nil)) != sum {
		t.Errorf("with the agent dead: %v", err)
	}
	if got := get(t, c, "/orphan"); string(got) != "page /orphan" {
		t.Errorf("%q", got)
	}
	n.start()
	p.online(n.id)

	// Fifty at once.
	results := make(chan string, 50)
	for i := range cap(results) {
		go func() {
			resp, err := c.Get(fmt.Sprintf("http://forwarded/%d", i))
			if err != nil {
				results <- err.Error()
				return
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			if want := fmt.Sprintf("page /%d", i); string(b) != want {
				results <- fmt.Sprintf("%q, not %q", b, want)
				return
			}
			results <- ""
		}()
	}
	for range cap(results) {
		if r := <-results; r != "" {
			t.Error(r)
		}
	}
	if err := syscall.Kill(-pe.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	pe.sees(`Exiting session with sessionId`)
	pe.ends()
	p.history(n.id, 1)
	n.noShells()
}

// TestStockForwardOddPorts: destinations that are not there, that end at once,
// and those that nobody may reach.
func TestStockForwardOddPorts(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-served })
	go func() { // says a word and resets, in turn with an orderly end
		defer close(served)
		for i := 0; ; i++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello")
			if i%2 == 0 {
				_, _ = c.Read(make([]byte, 1))
				_ = c.(*net.TCPConn).SetLinger(0)
			}
			c.Close()
		}
	}()
	socket := filepath.Join(t.TempDir(), "s")
	pe := script(t, p.stock(n.id, with(t, "AWS-StartPortForwardingSessionToSocket", map[string]string{"portNumber": portOf(t, ln.Addr().String()), "localUnixSocket": socket})...))
	pe.sees(`Unix socket ` + socket + ` opened`)
	pe.sees(`Waiting for connections`)
	for i := range 6 {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
			t.Fatalf("connection %d: %q %v", i, b, err)
		}
		_, _ = c.Write([]byte("x"))
		if _, err := c.Read(b); err == nil {
			t.Errorf("connection %d does not end", i)
		}
		c.Close()
	}

	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	pe = script(t, p.stock(n.id, with(t, "AWS-StartPortForwardingSession", map[string]string{"portNumber": portOf(t, nobody.Addr().String())})...))
	local := pe.sees(`Port (\d+) opened for sessionId`)[1]
	pe.sees(`Waiting for connections`)
	if b, _ := exchange(t, "127.0.0.1:"+local); len(b) > 0 {
		t.Errorf("a refused connection says %q", b)
	}
	pe.sees(`Connection to destination port failed`)

	for _, host := range []string{"127.0.0.1", "localhost", "0xa9fea9fe", "::ffff:169.254.169.254", "fd00:ec2::254"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			pe := script(t, p.stock(n.id, with(t, "AWS-StartPortForwardingSessionToRemoteHost", map[string]string{"host": host, "portNumber": "80"})...))
			pe.sees(`Forwarding to IP address ` + host + ` is forbidden\.`)
			pe.ends()
		})
	}
}

// TestStockSSHStyle: one connection over the plugin's own input and output.
func TestStockSSHStyle(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "SSH-2.0-test\r\n")
		b := make([]byte, 6)
		_, _ = io.ReadFull(c, b)
		_, _ = io.WriteString(c, "heard "+string(b)+"\n")
	}()
	pe := script(t, p.stock(n.id, with(t, "AWS-StartSSHSession", map[string]string{"portNumber": portOf(t, ln.Addr().String())})...))
	pe.sees(`SSH-2\.0-test\r\n`)
	pe.types("hello\n")
	pe.sees(`heard hello\n`)
	pe.sees(`Exiting session`)
	pe.ends()
	p.history(n.id, 1)
	n.noShells()
}

// cutting cuts whenever so many more bytes were read.
type cutting struct {
	io.Reader
	proxy       *clienttest.Proxy
	every, left int
}

func (c *cutting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if c.left -= n; c.left <= 0 {
		c.left = c.every
		c.proxy.Cut()
	}
	return n, err
}

// TestStockForwardCuts: the agent's socket is cut again and again while the
// official plugin carries 64 MiB down and 4 MiB up; not a byte is lost or comes
// twice.
func TestStockForwardCuts(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	agent := p.through(n, 11)
	srv, sum := bulk(t, 64<<20)
	pe := script(t, p.stock(n.id, with(t, "AWS-StartPortForwardingSession", map[string]string{"portNumber": portOf(t, srv.URL)})...))
	local := pe.sees(`Port (\d+) opened for sessionId`)[1]
	pe.sees(`Waiting for connections`)
	c := browser(to("tcp", "127.0.0.1:"+local))
	c.Timeout = 0
	before := agent.Cuts()
	resp, err := c.Get("http://forwarded/bulk")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	h := sha256.New()
	if _, err := io.Copy(h, &cutting{resp.Body, agent, 3 << 20, 3 << 20}); err != nil || [32]byte(h.Sum(nil)) != sum {
		t.Errorf("what came is not what was sent: %v", err)
	}
	if cuts := agent.Cuts() - before; cuts < 20 {
		t.Errorf("%d cuts: too few, nothing was tested", cuts)
	}
	// Few cuts on the way up: what they cost the plugin sends again one frame
	// at a time.
	up := noise(12, 4<<20)
	resp, err = c.Post("http://forwarded/sum", "", &cutting{bytes.NewReader(up), agent, 3 << 19, 3 << 19})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != digest(up) {
		t.Errorf("the sum of what went up is %s, %v", b, err)
	}
}
