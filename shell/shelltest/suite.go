package shelltest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"ssmagent/platform/proc"
	"ssmagent/shell"
)

// patience is what a test waits at most for what should come at once.
const patience = 20 * time.Second

// Suite runs what every Terminal has to do.
type Suite struct {
	Open func(context.Context, shell.Spec) (shell.Terminal, error)
	// Alive says whether a process that a script told the pid of still runs.
	Alive func(pid int) bool
}

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	for name, test := range map[string]func(*testing.T, Suite){
		"output and exit code":           testExit,
		"end by signal":                  testSignal,
		"size before the first output":   testSize,
		"resize":                         testResize,
		"echo and end of file":           testEcho,
		"interrupt key":                  testInterrupt,
		"interactive shell":              testInteractive,
		"large output is whole":          testLargeOutput,
		"large output, slow reader":      testSlowReader,
		"hang-up ends the session":       testHangup,
		"hang-up of what ignores it":     testHangupIgnored,
		"hang-up after the end":          testHangupAfterEnd,
		"end with a background process":  testBackgroundHoldsTerminal,
		"context hangs up":               testContext,
		"input that nobody reads":        testNonReader,
		"state comes after the output":   testWaitAfterOutput,
		"close ends all and is repeated": testClose,
		"shell that does not exist":      testMissing,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// session is an open terminal with its output.
type session struct {
	*testing.T
	shell.Terminal
	seen []byte
}

func (s Suite) open(t *testing.T, spec shell.Spec) *session {
	t.Helper()
	spec.Path = Path
	if spec.Env == nil {
		spec.Env = []string{"PATH=/usr/bin:/bin", "PS1=ready> "}
	}
	if spec.Grace == 0 {
		spec.Grace = 100 * time.Millisecond
	}
	term, err := s.Open(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { term.Close() })
	return &session{T: t, Terminal: term}
}

func (s Suite) script(t *testing.T, text string) *session {
	t.Helper()
	return s.open(t, shell.Spec{Args: []string{"sh", "-c", text}})
}

// mortal is script for what a hang-up ends, however busy the machine is: it is
// not killed before.
func (s Suite) mortal(t *testing.T, text string) *session {
	t.Helper()
	return s.open(t, shell.Spec{Args: []string{"sh", "-c", text}, Grace: patience})
}

// until reads until text was seen and returns all before and with it.
func (s *session) until(text string) string {
	s.Helper()
	buf := make([]byte, 4096)
	for !bytes.Contains(s.seen, []byte(text)) {
		n, err := s.Read(buf)
		s.seen = append(s.seen, buf[:n]...)
		if err != nil {
			s.Fatalf("%v after %q, before %q", err, s.seen, text)
		}
	}
	i := bytes.Index(s.seen, []byte(text)) + len(text)
	head := string(s.seen[:i])
	s.seen = s.seen[i:]
	return head
}

// rest reads to the end.
func (s *session) rest() string {
	s.Helper()
	b, err := io.ReadAll(s)
	if err != nil {
		s.Fatal(err)
	}
	return string(s.seen) + string(b)
}

func (s *session) pressed(keys string) {
	s.Helper()
	if n, err := s.Write([]byte(keys)); n != len(keys) || err != nil {
		s.Fatalf("typed %d of %q: %v", n, keys, err)
	}
}

func (s *session) ends(want proc.State) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	got, err := s.Wait(ctx)
	if err != nil || got != want {
		s.Errorf("ended %+v, %v; want %+v", got, err, want)
	}
}

func (s *session) prints(want string) {
	s.Helper()
	if got := s.rest(); got != want {
		s.Errorf("printed %q, want %q", got, want)
	}
}

func (s *session) pid() int {
	s.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(s.until("\n")))
	if err != nil {
		s.Fatal(err)
	}
	return pid
}

func testExit(t *testing.T, s Suite) {
	x := s.script(t, "echo hello; exit 7")
	x.prints("hello\r\n")
	x.ends(proc.State{Code: 7})
	x.ends(proc.State{Code: 7})
	if _, err := x.Write([]byte("x")); !errors.Is(err, shell.ErrEnded) {
		t.Errorf("typing after the end: %v", err)
	}
	if n, err := x.Read(make([]byte, 9)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("reading after the end: %d, %v", n, err)
	}
}

func testSignal(t *testing.T, s Suite) {
	x := s.script(t, "kill -KILL $$")
	x.prints("")
	x.ends(proc.State{Code: -1, Signal: "killed"})
}

func testSize(t *testing.T, s Suite) {
	x := s.open(t, shell.Spec{Args: []string{"sh", "-c", "stty size"}, Rows: 33, Cols: 101})
	x.prints("33 101\r\n")
	s.script(t, "stty size").prints("24 80\r\n")
}

func testResize(t *testing.T, s Suite) {
	x := s.script(t, "echo ready; read x; stty size")
	x.until("ready\r\n")
	for _, size := range [][2]uint16{{50, 132}, {0, 0}, {0, 7}, {50, 132}} {
		if err := x.Resize(size[0], size[1]); err != nil {
			t.Error(err)
		}
	}
	x.pressed("\r")
	x.prints("\r\n50 132\r\n")
	big := s.script(t, "echo ready; read x; stty size")
	big.until("ready\r\n")
	if err := big.Resize(shell.Cap(65536), shell.Cap(1<<32-1)); err != nil {
		t.Error(err)
	}
	big.pressed("\r")
	big.prints("\r\n65535 65535\r\n")
}

func testEcho(t *testing.T, s Suite) {
	x := s.script(t, "cat")
	x.pressed("h\u00e9llo \xff\u6f22\U0001f642\r")
	line := "h\u00e9llo \xff\u6f22\U0001f642\r\n"
	if got := x.until(line) + x.until(line); got != line+line {
		t.Errorf("%q", got)
	}
	x.pressed("\x04")
	x.prints("")
	x.ends(proc.State{})
}

func testInterrupt(t *testing.T, s Suite) {
	x := s.script(t, "cat; echo never")
	x.pressed("x\r")
	x.until("x\r\nx\r\n") // it runs; a key in the midst of its start may get lost
	x.pressed("\x03")
	x.prints("^C")
	x.ends(proc.State{Code: -1, Signal: "interrupt"})
}

func testInteractive(t *testing.T, s Suite) {
	x := s.open(t, shell.Spec{Args: []string{"sh"}})
	x.until("ready> ")
	x.pressed("echo hi\r")
	x.until("\r\nhi\r\nready> ")
	x.pressed("cat\r")
	x.pressed("x\r")
	x.until("x\r\nx\r\n") // as above
	x.pressed("\x03")
	x.until("ready> ")
	x.pressed("exit 3\r")
	x.rest()
	x.ends(proc.State{Code: 3})
}

func testHangup(t *testing.T, s Suite) {
	x := s.mortal(t, "sleep 1000 & echo $!; echo ready; sleep 1000")
	pid := x.pid()
	x.until("ready\r\n")
	if !s.Alive(pid) {
		t.Errorf("process %d does not run", pid)
	}
	if err := x.Hangup(); err != nil || s.Alive(pid) {
		t.Errorf("it still runs: %v", err)
	}
	x.rest()
	x.ends(proc.State{Code: -1, Signal: "hangup"})
	if err := x.Hangup(); err != nil {
		t.Errorf("again: %v", err)
	}
}

func testHangupIgnored(t *testing.T, s Suite) {
	x := s.script(t, "nohup sleep 1000 >/dev/null 2>&1 & echo $!; echo ready; sleep 1000")
	pid := x.pid()
	x.until("ready\r\n")
	if !s.Alive(pid) {
		t.Errorf("process %d does not run", pid)
	}
	if err := x.Hangup(); err != nil || s.Alive(pid) {
		t.Errorf("it still runs: %v", err)
	}
	x.rest()
}

func testHangupAfterEnd(t *testing.T, s Suite) {
	x := s.script(t, "trap '' HUP; sleep 1000 </dev/null >/dev/null 2>&1 & echo $!; exit 4")
	pid := x.pid()
	x.rest()
	x.ends(proc.State{Code: 4})
	if !s.Alive(pid) {
		t.Error("what was to outlive the shell did not")
	}
	if err := x.Hangup(); err != nil || s.Alive(pid) {
		t.Errorf("it still runs: %v", err)
	}
}

func testBackgroundHoldsTerminal(t *testing.T, s Suite) {
	x := s.script(t, "trap '' HUP; sleep 1000 & echo $!; echo bye")
	pid := x.pid()
	if got := x.rest(); !strings.HasSuffix(got, "bye\r\n") {
		t.Errorf("printed %q", got)
	}
	x.ends(proc.State{})
	if err := x.Hangup(); err != nil || s.Alive(pid) {
		t.Errorf("it still runs: %v", err)
	}
}

func testContext(t *testing.T, s Suite) {
	ctx, cancel := context.WithCancel(t.Context())
	term, err := s.Open(ctx, shell.Spec{Path: Path, Args: []string{"sh", "-c", "echo ready; sleep 1000"}, Env: []string{"PATH=/usr/bin:/bin"}, Grace: patience})
	if err != nil {
		t.Fatal(err)
	}
	x := &session{T: t, Terminal: term}
	defer x.Close()
	x.until("ready\r\n")
	cancel()
	x.prints("")
	x.ends(proc.State{Code: -1, Signal: "hangup"})
	if _, err := s.Open(ctx, shell.Spec{Path: Path}); !errors.Is(err, context.Canceled) {
		t.Errorf("opened after the context's end: %v", err)
	}
}

// testNonReader: 10 MB for a program that reads nothing fill its terminal, and
// block no longer than it lives.
func testNonReader(t *testing.T, s Suite) {
	x := s.mortal(t, "stty raw -echo; echo ready; sleep 1000")
	x.until("ready")
	wrote := make(chan error, 1)
	go func() {
		n, err := x.Write(make([]byte, 10<<20))
		if n == 10<<20 {
			err = errors.New("all was taken")
		}
		wrote <- err
	}()
	if err := x.Resize(11, 12); err != nil { // nothing else is blocked by it
		t.Error(err)
	}
	if err := x.Hangup(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-wrote:
		if !errors.Is(err, shell.ErrEnded) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the writer is still blocked")
	}
	x.rest()
	x.ends(proc.State{Code: -1, Signal: "hangup"})
}

func testWaitAfterOutput(t *testing.T, s Suite) {
	x := s.script(t, "echo last words")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := x.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a state before the output was read: %v", err)
	}
	x.prints("last words\r\n")
	x.ends(proc.State{})
}

func testClose(t *testing.T, s Suite) {
	x := s.mortal(t, "sleep 1000 & echo $!; sleep 1000")
	pid := x.pid()
	read := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, x)
		read <- err
	}()
	for range 2 {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-read; err != nil {
		t.Errorf("the reader ended with %v", err)
	}
	if s.Alive(pid) {
		t.Error("a process still runs")
	}
	x.ends(proc.State{Code: -1, Signal: "hangup"})
	if err := x.Resize(5, 5); !errors.Is(err, shell.ErrEnded) {
		t.Errorf("resize after Close: %v", err)
	}
	if _, err := x.Write([]byte("x")); !errors.Is(err, shell.ErrEnded) {
		t.Errorf("write after Close: %v", err)
	}
}

func testMissing(t *testing.T, s Suite) {
	_, err := s.Open(t.Context(), shell.Spec{Path: "/no/such/shell"})
	if err == nil || !strings.Contains(err.Error(), "/no/such/shell: this shell does not exist") {
		t.Errorf("%v", err)
	}
}
