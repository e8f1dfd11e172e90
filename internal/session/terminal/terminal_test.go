package terminal

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"ssmagent/platform/proc"
	"ssmagent/shell"
	"ssmagent/shell/shelltest"
)

// TestMain is also the terminal's process.
func TestMain(m *testing.M) {
	if os.Args[0] == Name {
		open := shell.Open
		if os.Getenv("TEST_NO_TERMINALS") != "" {
			open = func(context.Context, shell.Spec) (shell.Terminal, error) {
				return nil, fmt.Errorf("this system is old: %w", errors.ErrUnsupported)
			}
		}
		os.Exit(Main(context.Background(), Deps{In: os.Stdin, Out: os.Stdout, Open: open, Line: func() *os.File { return os.NewFile(3, "line") }, System: system()}))
	}
	os.Exit(m.Run())
}

const patience = 20 * time.Second

// starter starts a real process with a real terminal.
type starter func(t *testing.T, script string, args ...string) *Process

// both runs a test with the screen here, and with it in the process.
func both(t *testing.T, test func(t *testing.T, start starter)) {
	t.Parallel()
	for name, begin := range map[string]func(proc.Spec) (*Process, error){
		"screen here": func(s proc.Spec) (*Process, error) { return StartOn(shell.OpenScreen, proc.Start, s) },
		"frames":      func(s proc.Spec) (*Process, error) { return Start(proc.Start, s) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, func(t *testing.T, script string, args ...string) *Process { return start(t, begin, script, args...) })
		})
	}
}

func start(t *testing.T, begin func(proc.Spec) (*Process, error), script string, args ...string) *Process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := begin(proc.Spec{Path: exe, Args: []string{Name}, Group: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, done := context.WithTimeout(context.Background(), patience)
		defer done()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	spec := Spec{Path: "/bin/sh", Args: []string{"sh"}, Env: []string{"PATH=/usr/bin:/bin", "PS1=ready> "}, Dir: "/", Rows: 33, Cols: 111}
	if script != "" {
		spec.Args = []string{"sh", "-c", script}
	}
	if len(args) > 0 {
		spec.Path = args[0]
	}
	if err := p.Open(spec); err != nil {
		t.Fatal(err)
	}
	return p
}

// until reads until text came, or the end with text empty.
func until(t *testing.T, p *Process, text string) string {
	t.Helper()
	late := time.AfterFunc(patience, func() { _ = p.p.Kill() })
	defer late.Stop()
	var out bytes.Buffer
	for text == "" || !strings.Contains(out.String(), text) {
		b, err := p.Read()
		out.Write(b)
		if err != nil {
			if text != "" {
				t.Fatalf("ended after %.200q without %q", out.String(), text)
			}
			break
		}
	}
	return out.String()
}

func TestShell(t *testing.T) {
	both(t, func(t *testing.T, start starter) {
		p := start(t, "")
		until(t, p, "ready> ")
		if err := p.Type([]byte("stty size\n")); err != nil {
			t.Fatal(err)
		}
		until(t, p, "33 111")
		if err := p.Resize(44, 222); err != nil {
			t.Fatal(err)
		}
		if err := p.Type([]byte("stty size\n")); err != nil {
			t.Fatal(err)
		}
		until(t, p, "44 222")
		if err := p.Type([]byte("exit 7\n")); err != nil {
			t.Fatal(err)
		}
		until(t, p, "")
		if e, ok := p.Exit(); !ok || !e.Started || e.Code != 7 || e.Error != "" {
			t.Errorf("%+v %v", e, ok)
		}
		if err := p.Type([]byte("x")); err == nil {
			t.Error("typed into nothing")
		}
	})
}

func TestNoShell(t *testing.T) {
	both(t, func(t *testing.T, start starter) {
		p := start(t, "", "/no/such/shell")
		until(t, p, "")
		if e, ok := p.Exit(); !ok || e.Started || !strings.Contains(e.Error, "does not exist on the node") {
			t.Errorf("%+v %v", e, ok)
		}
	})
}

// All that is printed comes, however the reads fall.
// TestNoTerminals: on a system that has none, the shell runs on pipes, and who
// sits there is told first.
func TestNoTerminals(t *testing.T) {
	t.Parallel()
	p := start(t, func(s proc.Spec) (*Process, error) {
		s.Env = []string{"TEST_NO_TERMINALS=1"}
		return Start(proc.Start, s)
	}, "read a; echo got $a; echo err >&2; exit 7")
	if s := until(t, p, "this system is old"); !strings.HasPrefix(s, "\r\n[ssmagent: there is no terminal") {
		t.Errorf("it said %q", s)
	}
	if err := p.Type([]byte("key\r")); err != nil {
		t.Fatal(err)
	}
	until(t, p, "got key\nerr\n")
	for {
		if _, err := p.Read(); err != nil {
			break
		}
	}
	if e, ok := p.Exit(); !ok || e.Code != 7 || e.Error != "" {
		t.Errorf("%+v %v", e, ok)
	}
}

func TestMuchOutput(t *testing.T) {
	both(t, func(t *testing.T, start starter) {
		p := start(t, "stty -onlcr; seq 1 300000")
		var want bytes.Buffer
		for i := 1; i <= 300000; i++ {
			want.WriteString(itoa(i))
			want.WriteByte('\n')
		}
		if got := until(t, p, ""); got != want.String() {
			t.Errorf("%d bytes for %d", len(got), want.Len())
		}
	})
}

func itoa(i int) string {
	b, _ := json.Marshal(i)
	return string(b)
}

// A paste into a program that reads at its own pace arrives whole.
func TestMuchInput(t *testing.T) {
	both(t, func(t *testing.T, start starter) {
		p := start(t, "stty raw -echo; echo go; head -c 3000000 | tail -c 5; echo; exit 0")
		until(t, p, "go")
		done := make(chan error, 1)
		go func() { done <- p.Type(append(bytes.Repeat([]byte("0123456789"), 299999), "01234the e"...)) }()
		if out := until(t, p, ""); !strings.Contains(out, "the e") {
			t.Errorf("%.100q", out)
		}
		if err := <-done; err != nil && !errors.Is(err, ErrEnded) {
			t.Error(err)
		}
	})
}

// Ten megabytes typed at a program that does not read hold nobody up but the
// one who types, and a hang-up is heard.
func TestStoppedShell(t *testing.T) {
	both(t, func(t *testing.T, start starter) {
		p := start(t, "stty raw -echo; echo go; kill -STOP $$")
		until(t, p, "go")
		typed := make(chan error, 1)
		go func() { typed <- p.Type(make([]byte, 10<<20)) }()
		select {
		case err := <-typed:
			t.Fatal("all was taken", err)
		case <-time.After(300 * time.Millisecond):
		}
		since := time.Now()
		p.Hangup()
		until(t, p, "")
		if took := time.Since(since); took > 10*time.Second {
			t.Error(took)
		}
		if err := <-typed; err == nil {
			t.Error("all was taken")
		}
		if e, ok := p.Exit(); !ok || e.Signal == "" {
			t.Errorf("%+v %v", e, ok)
		}
	})
}

// The end of the worker ends what runs in the terminal, the deaf included.
func TestOrphaned(t *testing.T) {
	both(t, func(t *testing.T, start starter) {
		p := start(t, "trap '' HUP TERM; echo pid $$; while :; do sleep 1000; done")
		out := until(t, p, "\n")
		var pid int
		if err := json.Unmarshal([]byte(strings.Fields(out)[1]), &pid); err != nil {
			t.Fatal(out, err)
		}
		ctx, done := context.WithTimeout(t.Context(), patience)
		defer done()
		if err := p.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if left, err := os.FindProcess(pid); err == nil && left.Signal(syscall.Signal(0)) == nil {
			t.Errorf("process %d lives on", pid)
		}
	})
}

func TestProcessKilled(t *testing.T) {
	both(t, func(t *testing.T, start starter) {
		p := start(t, "")
		until(t, p, "ready> ")
		if err := p.p.Kill(); err != nil {
			t.Fatal(err)
		}
		until(t, p, "")
		if e, ok := p.Exit(); ok {
			t.Errorf("it said %+v", e)
		}
	})
}

// fake runs the child's Main on a terminal in memory.
func fake(t *testing.T, f *shelltest.Fake, in io.Reader) (*reader, chan int) {
	t.Helper()
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		code := Main(context.Background(), Deps{In: in, Out: w, Open: f.Open})
		w.Close()
		ended <- code
	}()
	return newReader(r), ended
}

func opening(t *testing.T, script string) []byte {
	t.Helper()
	b, err := json.Marshal(Spec{Path: shelltest.Path, Args: []string{"sh", "-c", script}, Rows: 10, Cols: 20})
	if err != nil {
		t.Fatal(err)
	}
	return append(header(nil, kindOpen, len(b)), b...)
}

// What is no frame of ours ends the process, and all that runs in it.
func TestStrangers(t *testing.T) {
	t.Parallel()
	huge := binary.BigEndian.AppendUint32([]byte{byte(kindInput)}, 1<<31)
	for name, in := range map[string][]byte{
		"nothing":         nil,
		"no opening":      header(nil, kindHangup, 0),
		"no JSON":         append(header(nil, kindOpen, 1), '{'),
		"a huge frame":    append(opening(t, "sleep 1000"), huge...),
		"unknown":         append(opening(t, "sleep 1000"), 99, 0, 0, 0, 0),
		"a short size":    append(append(opening(t, "sleep 1000"), header(nil, kindSize, 1)...), 0),
		"an end in one":   opening(t, "sleep 1000")[:20],
		"beyond the room": append(opening(t, "sleep 1000"), bytes.Repeat(append(header(nil, kindInput, 1000), make([]byte, 1000)...), 300)...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := new(shelltest.Fake)
			r, ended := fake(t, f, bytes.NewReader(in))
			for {
				if _, _, err := r.next(); err != nil {
					break
				}
			}
			<-ended
			if n := f.Running(); n != 0 {
				t.Errorf("%d processes left", n)
			}
		})
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 1, 2, 6, 0, 0, 0, 0}, 3)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		r := newReader(&steps{b, max(step, 1)})
		total := 0
		for {
			_, p, err := r.next()
			if err != nil {
				break
			}
			total += headerSize + len(p)
		}
		if total > len(b) {
			t.Fatalf("%d bytes of frames in %d", total, len(b))
		}
	})
}

// steps gives its bytes a few at a time.
type steps struct {
	b []byte
	n int
}

func (s *steps) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.b[:min(s.n, len(s.b))])
	s.b = s.b[n:]
	return n, nil
}
