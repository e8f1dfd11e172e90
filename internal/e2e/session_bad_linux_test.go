package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
	"github.com/coder/websocket"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"ssmagent/internal/secret"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// handClient is a session's client played by the test: it acknowledges nothing.
type handClient struct {
	t    *testing.T
	ctx  context.Context
	conn *websocket.Conn
	next int64
}

// attach opens the session's data channel with a token.
func attach(ctx context.Context, t *testing.T, url, token string) *handClient {
	t.Helper()
	c, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	c.SetReadLimit(1 << 20)
	hello, _ := json.Marshal(mgs.OpenDataChannel{MessageSchemaVersion: mgs.SchemaVersion, RequestId: uuid.NewString(), TokenValue: secret.Text(token), ClientId: uuid.NewString(), ClientVersion: "1.2.3.4"})
	if err := c.Write(ctx, websocket.MessageText, hello); err != nil {
		t.Fatal(err)
	}
	return &handClient{t: t, ctx: ctx, conn: c}
}

// refused tries a token that must not open the data channel.
func refused(ctx context.Context, t *testing.T, url, token string) {
	t.Helper()
	_, _, err := attach(ctx, t, url, token).conn.Read(ctx)
	var closed websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != websocket.StatusPolicyViolation || !strings.Contains(closed.Reason, "token") {
		t.Errorf("%v", err)
	}
}

// sends sends a payload as the next of the stream, or as another.
func (h *handClient) sends(kind uint32, payload string, change func([]byte)) {
	h.t.Helper()
	h.frame(h.next, kind, payload, change)
	h.next++
}

func (h *handClient) frame(sequence int64, kind uint32, payload string, change func([]byte)) {
	h.t.Helper()
	m := frame.New(mgs.TypeInputStreamData, time.Now(), []byte(payload))
	m.Sequence, m.PayloadType = sequence, kind
	b, err := m.Marshal()
	if err != nil {
		h.t.Fatal(err)
	}
	if change != nil {
		change(b)
	}
	if err := h.conn.Write(h.ctx, websocket.MessageBinary, b); err != nil {
		h.t.Fatal(err)
	}
}

// shows reads until the output holds text.
func (h *handClient) shows(text string) {
	h.t.Helper()
	for all := ""; !strings.Contains(all, text); {
		_, b, err := h.conn.Read(h.ctx)
		if err != nil {
			h.t.Fatalf("%q was not shown: %v; instead: %q", text, err, all)
		}
		if m, err := frame.Unmarshal(b); err == nil && m.Type == mgs.TypeOutputStreamData && m.PayloadType == mgs.PayloadOutput {
			all += string(m.Payload)
		}
	}
}

// well opens a session that is to be unharmed; the function looks at it.
func (p *plane) well(n *node) (look func()) {
	p.t.Helper()
	pe, rounds := sit(p.t, p.shell(p.url, n.id), 80, 24), 0
	pe.sees(`[#$] $`)
	return func() {
		p.t.Helper()
		rounds++
		pe.types(fmt.Sprintf("echo $((%d))unharmed\n", rounds))
		pe.sees(fmt.Sprintf(`\n%dunharmed\r*\n`, rounds))
	}
}

// TestSessionBadClient: a client that says what it must not, and never
// acknowledges, has its shell all the same, and harms no other.
func TestSessionBadClient(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	look := p.well(n)
	out, err := p.sdk().StartSession(t.Context(), &ssm.StartSessionInput{Target: &n.id})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	h := attach(ctx, t, *out.StreamUrl, *out.TokenValue)
	if _, _, err := h.conn.Read(ctx); err != nil { // the token is taken
		t.Fatal(err)
	}
	refused(ctx, t, *out.StreamUrl, *out.TokenValue) // it was used
	refused(ctx, t, *out.StreamUrl, "made-up")
	h.sends(mgs.PayloadSize, `{"cols":0,"rows":0}`, nil)
	h.sends(mgs.PayloadSize, `{"cols":65536,"rows":65536}`, nil)
	for kind := range uint32(14) {
		if kind != mgs.PayloadOutput {
			h.sends(kind, `{garbage`, nil)
		}
	}
	for _, far := range []int64{-1, 1 << 40} {
		h.frame(far, mgs.PayloadOutput, "echo never\n", nil)
	}
	if err := h.conn.Write(ctx, websocket.MessageBinary, []byte("no frame at all")); err != nil {
		t.Fatal(err)
	}
	wrong := func(b []byte) { b[4+32+4+8+8+8+16] ^= 1 } // the first byte of the digest
	h.sends(mgs.PayloadOutput, "PS1=; echo $((6*7))digest\n", wrong)
	h.shows("42digest\r\n")
	h.sends(mgs.PayloadOutput, "echo $((6*7))again; stty size\n", wrong)
	h.shows("42again\r\n")
	look()
	n.line("kind=digest")
	if said := strings.Count(n.output(), "kind=digest"); said != 1 {
		t.Errorf("wrong digests were logged %d times", said)
	}
	p.terminate(*out.SessionId)
	look()
}

// TestSessionIDs: what is no session's id is refused and becomes no path.
func TestSessionIDs(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	for _, id := range []string{"..%2f..%2fetc", "%2e%2e", "a%2fb", strings.Repeat("x", 200)} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/v1/data-channel/"+id+"?role=publish_subscribe", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusNotFound { // a good id needs an upgrade
			t.Errorf("%s: %d", id, resp.StatusCode)
		}
	}
	for _, id := range []string{"../../etc/passwd", "..", "a/b"} {
		_, one := p.sdk().ResumeSession(t.Context(), &ssm.ResumeSessionInput{SessionId: aws.String(id)})
		_, two := p.sdk().TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: aws.String(id)})
		for _, err := range []error{one, two} {
			var refusal smithy.APIError
			if err != nil && (!errors.As(err, &refusal) || refusal.ErrorFault() == smithy.FaultServer) || err == nil && one == nil {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
}

// TestSessionStoppedShell: ten megabytes for a shell that reads nothing wait
// where they are typed, others go on, and the session can be ended.
func TestSessionStoppedShell(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	look := p.well(n)
	before := p.sessions(types.SessionStateActive, n.id)
	pe := script(t, p.shell(p.url, n.id))
	pe.types("stty raw -echo; echo $((6*7)) $$; kill -STOP $$\n")
	pid := pe.sees(`42 (\d+)`)[1]
	typed := make(chan int, 1)
	go func() {
		n, _ := pe.in.Write(make([]byte, 10<<20)) // fails when the client ends
		typed <- n
	}()
	look()
	select {
	case n := <-typed:
		t.Errorf("%d bytes were taken for a shell that reads none", n)
	default:
	}
	for _, s := range p.sessions(types.SessionStateActive, n.id) {
		if *s.SessionId != *before[0].SessionId {
			p.terminate(*s.SessionId)
		}
	}
	pe.sees(`terminated by `)
	pe.ends()
	<-typed
	look()
	eventually(t, "the stopped shell to be gone", func() bool { return !alive(pid) })
}

// TestSessionNoDescriptors: a node that can open no more files says so to the
// person and in the session's record, keeps the sessions it has, and serves again when it can.
func TestSessionNoDescriptors(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	look := p.well(n)
	var old unix.Rlimit
	if err := unix.Prlimit(n.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 4096}, &old); err != nil {
		t.Fatal(err)
	}
	pe := sit(t, p.shell(p.url, n.id), 80, 24)
	pe.sees("too many open files")
	pe.ends()
	over := p.sessions(types.SessionStateHistory, n.id)
	if len(over) != 1 || over[0].Status != types.SessionStatusFailed || !strings.Contains(aws.ToString(over[0].Details), "too many open files") {
		t.Errorf("%+v", over)
	}
	look()
	if err := unix.Prlimit(n.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1024, Max: 4096}, nil); err != nil {
		t.Fatal(err)
	}
	p.well(n)()
	look()
}

// TestSessionNoTerminals: a node has one terminal only; the second session is
// told so, the first goes on.
func TestSessionNoTerminals(t *testing.T) {
	t.Parallel()
	own := `mount -t devpts -o newinstance,ptmxmode=0666,max=1 devpts /dev/pts && mount --bind /dev/pts/ptmx /dev/ptmx && exec "$0" "$@"`
	if out, err := exec.Command("unshare", "-m", "sh", "-c", own, "true").CombinedOutput(); err != nil {
		unable(t, fmt.Sprintf("the right to make a mount namespace: %v %s", err, out))
	}
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	n.term()
	n.program = startAs(t, exec.Command("unshare", "-m", "sh", "-c", own, filepath.Join(bin, "amazon-ssm-agent"), "-root", n.root))
	n.line("control channel open")
	look := p.well(n)
	pe := sit(t, p.shell(p.url, n.id), 80, 24)
	pe.sees(`no pseudo terminal is free, end other sessions`)
	if code := pe.ends(); code != 255 {
		t.Errorf("the client ended with %d", code)
	}
	look()
}
