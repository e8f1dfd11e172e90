package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"ssmagent/platform/proc"
)

func system() System {
	return System{Start: proc.Start, Subreaper: proc.BecomeSubreaper, KillDescendants: proc.KillDescendants}
}

// pipe starts a real process that runs a script without a terminal.
func pipe(t *testing.T, pipes Pipes, script string) *Process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(proc.Start, proc.Spec{Path: exe, Args: []string{Name}, Group: true})
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
	err = p.Open(Spec{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/", Pipes: &pipes})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// all reads to the end.
func all(t *testing.T, p *Process) (out, errs string, e Exit) {
	t.Helper()
	late := time.AfterFunc(patience, func() { _ = p.p.Kill() })
	defer late.Stop()
	var o, x bytes.Buffer
	for {
		b, isError, err := p.ReadEither()
		if isError {
			x.Write(b)
		} else {
			o.Write(b)
		}
		if errors.Is(err, io.EOF) {
			break
		}
	}
	e, ok := p.Exit()
	if !ok || !e.Started {
		t.Fatalf("%+v %v", e, ok)
	}
	return o.String(), x.String(), e
}

func TestPipes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, script, input string
		pipes               Pipes
		out, errs           string
		code, signal        int
	}{
		{name: "apart", script: "echo out; echo err >&2; exit 42", out: "out\n", errs: "err\n", code: 42},
		{name: "merged", script: "echo one; echo two >&2; echo three; exit 255", pipes: Pipes{Merged: true}, out: "one\ntwo\nthree\n", code: 255},
		{name: "no input", script: "cat; [ ! -t 1 ] && echo none"},
		{name: "input", script: "cat; echo over", input: "a\x03b\x00c\n", pipes: Pipes{Input: true}, out: "a\x03b\x00c\nover\n"},
		{name: "input that nobody wants", script: "exec <&-; echo closed", input: strings.Repeat("x", 300<<10), pipes: Pipes{Input: true}, out: "closed\n"},
		{name: "killed", script: "kill -9 $$", code: -1, signal: 9},
		{name: "segmentation fault", script: "kill -SEGV $$", code: -1, signal: 11},
		{name: "true", script: "exit 0"},
		{name: "background", script: "(sleep 0.2; echo late) & echo soon", out: "soon\nlate\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := pipe(t, tc.pipes, tc.script)
			if tc.name == "no input" {
				tc.out = "none\n"
			}
			typed := make(chan struct{})
			go func() {
				defer close(typed)
				_ = p.Type([]byte(tc.input))
				_ = p.EndInput()
			}()
			out, errs, e := all(t, p)
			<-typed
			if out != tc.out || errs != tc.errs || e.Code != tc.code || e.Number != tc.signal || e.Error != "" {
				t.Errorf("%q %q %+v", out, errs, e)
			}
			if tc.signal == 9 && e.Name != "SIGKILL" {
				t.Errorf("%+v", e)
			}
		})
	}
}

// Both streams come whole, at the pace of their reader.
func TestPipesMuch(t *testing.T) {
	t.Parallel()
	p := pipe(t, Pipes{Input: true}, "seq 1 200000 & seq 1 100000 >&2 & wait; tail -c 6; exit 3")
	typed := make(chan error, 1)
	go func() {
		err := p.Type(bytes.Repeat([]byte("0123456789abcdef"), 1<<16))
		if err == nil {
			err = p.EndInput()
		}
		typed <- err
	}()
	out, errs, e := all(t, p)
	if err := <-typed; err != nil {
		t.Error(err)
	}
	var want, wantErr strings.Builder
	for i := range 200000 {
		fmt.Fprintln(&want, i+1)
		if i < 100000 {
			fmt.Fprintln(&wantErr, i+1)
		}
	}
	if out != want.String()+"abcdef" || errs != wantErr.String() || e.Code != 3 {
		t.Errorf("%d of %d and %d of %d bytes, %+v", len(out), want.Len()+6, len(errs), wantErr.Len(), e)
	}
}

func TestPipesSignals(t *testing.T) {
	t.Parallel()
	p := pipe(t, Pipes{}, "trap 'echo interrupted' INT; trap 'echo quit; exit 5' QUIT; echo ready; while :; do sleep 0.02; done")
	until(t, p, "ready\n")
	if err := p.Signal(proc.Interrupt); err != nil {
		t.Fatal(err)
	}
	until(t, p, "interrupted\n")
	if err := p.Signal(proc.Quit); err != nil {
		t.Fatal(err)
	}
	if out, _, e := all(t, p); !strings.HasSuffix(out, "quit\n") || e.Code != 5 {
		t.Errorf("%q %+v", out, e)
	}
}

// A hang-up ends everything, also what left the process group.
func TestPipesHangup(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"obedient": "echo $$; exec sleep 1000",
		"stubborn": "trap '' HUP; echo $$; sleep 1000; sleep 1000",
		"detached": "trap '' HUP; setsid sh -c 'echo $$; sleep 1000' & wait",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pipe(t, Pipes{Input: true}, script)
			b, err := p.Read()
			for err == nil && len(b) == 0 {
				b, err = p.Read()
			}
			pid, aerr := strconv.Atoi(strings.TrimSpace(string(b)))
			if err != nil || aerr != nil {
				t.Fatal(err, aerr)
			}
			p.Hangup()
			if _, _, e := all(t, p); e.Code != -1 {
				t.Errorf("%+v", e)
			}
			if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(b), ") Z ") {
				t.Errorf("it lives on: %s", b)
			}
		})
	}
}

func TestPipesNoProgram(t *testing.T) {
	t.Parallel()
	p := pipe(t, Pipes{}, "")
	until(t, p, "")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	q, err := Start(proc.Start, proc.Spec{Path: exe, Args: []string{Name}, Group: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Open(Spec{Path: "/no/such/program", Args: []string{"x"}, Dir: "/", Pipes: &Pipes{}}); err != nil {
		t.Fatal(err)
	}
	until(t, q, "")
	if e, ok := q.Exit(); !ok || e.Started || !strings.Contains(e.Error, "no such file") {
		t.Errorf("%+v %v", e, ok)
	}
	ctx, done := context.WithTimeout(t.Context(), patience)
	defer done()
	if err := q.Close(ctx); err != nil {
		t.Error(err)
	}
}
