package proctest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ssmagent/platform/proc"
)

// Run is the contract of platform/proc.
func Run(t *testing.T) {
	t.Run("exit code", exitCode)
	t.Run("killed", killed)
	t.Run("exact environment, arguments, directory and streams", exact)
	t.Run("wait by several and with an end", waits)
	t.Run("find again", findAgain)
	t.Run("a pid alone finds nothing", pidAlone)
	t.Run("kill group", killGroup)
	t.Run("usage", usage)
	t.Run("bad specs", badSpecs)
	t.Run("self", self)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func childSpec(t *testing.T, args ...string) proc.Spec {
	t.Helper()
	s, err := spec(args...)
	must(t, err)
	return s
}

func start(t *testing.T, s proc.Spec) proc.Process {
	t.Helper()
	p, err := proc.Start(s)
	must(t, err)
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		_, _ = p.Wait(context.Background())
	})
	return p
}

// pipe returns the reading end, and the writing end for a Spec.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// hanging starts args, which bring n hanging processes, and returns their IDs.
func hanging(t *testing.T, n int, change func(*proc.Spec), args ...string) (proc.Process, map[string]proc.ID) {
	t.Helper()
	r, w := pipe(t)
	s := childSpec(t, args...)
	s.Stdout, s.Stderr = w, os.Stderr
	if change != nil {
		change(&s)
	}
	p := start(t, s)
	must(t, w.Close())
	ids, err := readIDs(r, n)
	must(t, err)
	return p, ids
}

func wait(t *testing.T, p proc.Process) proc.State {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := p.Wait(ctx)
	must(t, err)
	return s
}

func exitCode(t *testing.T) {
	for _, code := range []string{"0", "1", "42", "194", "255"} {
		s := wait(t, start(t, childSpec(t, "exit", code)))
		if want := code; s.Signal != "" || want != itoa(s.Code) {
			t.Errorf("exit %s gave %+v", want, s)
		}
	}
}

func killed(t *testing.T) {
	p, _ := hanging(t, 1, nil, "hang", "x")
	must(t, p.Kill())
	if s := wait(t, p); !wasKilled(s) {
		t.Errorf("state is %+v", s)
	}
	must(t, p.Kill()) // ending what has ended is no error
}

func exact(t *testing.T) {
	t.Setenv("SSMAGENT_PROCTEST_OURS", "not the child's")
	in, inW := pipe(t)
	outR, out := pipe(t)
	errR, errW := pipe(t)
	s := childSpec(t, "report", "two words", `quo"te`, `back\`, "")
	s.Env = append(s.Env, "A=1", "EMPTY=", "UMLAUT=ä")
	s.Dir = realPath(t, t.TempDir())
	s.Stdin, s.Stdout, s.Stderr = in, out, errW
	p := start(t, s)
	must(t, errors.Join(out.Close(), errW.Close(), in.Close()))
	_, err := inW.WriteString("to stdin")
	must(t, errors.Join(err, inW.Close()))
	var r Report
	must(t, json.NewDecoder(outR).Decode(&r))
	if text, err := io.ReadAll(errR); err != nil || string(text) != "standard error" {
		t.Errorf("stderr %q, %v", text, err)
	}
	if st := wait(t, p); st.Code != 0 {
		t.Errorf("state %+v", st)
	}
	if !slices.Equal(r.Args, s.Args) {
		t.Errorf("arguments %q, want %q", r.Args, s.Args)
	}
	if !sameEnvironment(r.Env, s.Env) {
		t.Errorf("environment %q, want %q", r.Env, s.Env)
	}
	if !strings.EqualFold(r.Dir, s.Dir) || r.Stdin != "to stdin" || r.Self != p.ID() {
		t.Errorf("directory %q, stdin %q, id %v; want %q, to stdin, %v", r.Dir, r.Stdin, r.Self, s.Dir, p.ID())
	}
}

func waits(t *testing.T) {
	p, _ := hanging(t, 1, nil, "hang", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("wait with an ended context: %v", err)
	}
	got := make(chan proc.State)
	for range 3 {
		go func() { s, _ := p.Wait(context.Background()); got <- s }()
	}
	must(t, p.Kill())
	for range 3 {
		if s := <-got; !wasKilled(s) {
			t.Errorf("state %+v", s)
		}
	}
	if _, err := p.Wait(ctx); err != nil {
		t.Errorf("an ended process is told even to an ended context: %v", err)
	}
}

func findAgain(t *testing.T) {
	p, _ := hanging(t, 1, nil, "hang", "x")
	f, err := proc.Find(p.ID())
	must(t, err)
	if f.ID() != p.ID() {
		t.Errorf("found %v, want %v", f.ID(), p.ID())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if s, err := f.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a running process gave %+v, %v", s, err)
	}
	must(t, f.Kill())
	wait(t, f)
	if s := wait(t, p); !wasKilled(s) {
		t.Errorf("state %+v", s)
	}
	if _, err := proc.Find(p.ID()); !errors.Is(err, proc.ErrGone) {
		t.Errorf("found what has gone: %v", err)
	}
	must(t, f.Kill())
}

func pidAlone(t *testing.T) {
	p, _ := hanging(t, 1, nil, "hang", "x")
	for _, id := range []proc.ID{
		{PID: p.ID().PID, Start: p.ID().Start + 1}, {PID: p.ID().PID}, {}, {PID: -1}, {PID: 1 << 30, Start: 1},
	} {
		if _, err := proc.Find(id); !errors.Is(err, proc.ErrGone) {
			t.Errorf("%v: %v", id, err)
		}
	}
}

func killGroup(t *testing.T) {
	p, ids := hanging(t, 2, func(s *proc.Spec) { s.Group = true }, "tree", "plain")
	must(t, p.KillGroup())
	wait(t, p)
	gone(t, ids)
	must(t, p.KillGroup())
}

// gone fails unless all of ids end soon.
func gone(t *testing.T, ids map[string]proc.ID) {
	t.Helper()
	for name, id := range ids {
		p, err := proc.Find(id)
		if errors.Is(err, proc.ErrGone) {
			continue
		}
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := p.Wait(ctx); err != nil {
			t.Errorf("%s (process %d) still runs", name, id.PID)
			_ = p.Kill()
		}
		cancel()
	}
}

func usage(t *testing.T) {
	p := start(t, childSpec(t, "burn"))
	wait(t, p)
	if u := p.Usage(); u < 5*time.Millisecond || u > 10*time.Second {
		t.Errorf("usage %v", u)
	}
}

func badSpecs(t *testing.T) {
	good := childSpec(t, "exit", "0")
	for _, c := range []struct {
		name   string
		change func(*proc.Spec)
		want   error
	}{
		{"no such program", func(s *proc.Spec) { s.Path += "-none" }, os.ErrNotExist},
		{"no such directory", func(s *proc.Spec) { s.Dir = s.Path + "-none" }, nil},
		{"relative program", func(s *proc.Spec) { s.Path = "true" }, nil},
		{"no argv[0]", func(s *proc.Spec) { s.Args = nil }, nil},
		{"NUL in an argument", func(s *proc.Spec) { s.Args = []string{"a\x00b"} }, nil},
		{"NUL in the environment", func(s *proc.Spec) { s.Env = []string{"A=\x00"} }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := good
			c.change(&s)
			p, err := proc.Start(s)
			if err == nil {
				wait(t, p)
				t.Fatal("it started")
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

func self(t *testing.T) {
	id, err := proc.Self()
	must(t, err)
	if id.PID != os.Getpid() || id.Start == 0 {
		t.Errorf("self is %v", id)
	}
	_, err = proc.Find(id)
	must(t, err)
}
