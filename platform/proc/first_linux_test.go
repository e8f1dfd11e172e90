package proc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ssmagent/platform/proc"
)

// firstVar makes this test program one that its orphans come to.
const firstVar = "SSMAGENT_PROC_FIRST"

// TestFirst is in a process of its own, for all its children are ended.
func TestFirst(t *testing.T) {
	if os.Getenv(firstVar) != "" {
		if err := firstMain(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	t.Parallel()
	if proc.First() {
		t.Error("a test is the first process")
	}
	c := exec.Command(os.Args[0], "-test.run=^TestFirst$")
	c.Env = append(os.Environ(), firstVar+"=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func firstMain() error {
	if err := proc.BecomeSubreaper(); err != nil { // as a first process is
		return err
	}
	stop := proc.TendOrphans()
	defer stop()
	if err := ownChildren(); err != nil {
		return err
	}
	if err := until(func() bool { // no child at all, also none that has ended
		return errors.Is(unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil), unix.ECHILD)
	}); err != nil {
		return fmt.Errorf("orphans are left: %w", err)
	}
	return endChildren()
}

// ownChildren makes orphans that end at once, and asks how children of our own
// have ended.
func ownChildren() error {
	for range 50 {
		var exit *exec.ExitError
		if err := exec.Command("/bin/sh", "-c", "(true &) & (exit 3) & exit 7").Run(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
			return fmt.Errorf("os/exec got %w, not code 7", err)
		}
		p, err := proc.Start(proc.Spec{Path: "/bin/sh", Args: []string{"sh", "-c", "(sleep 0 &) & exit 8"}, Env: os.Environ()})
		if err != nil {
			return err
		}
		if s, err := p.Wait(context.Background()); err != nil || s.Code != 8 {
			return fmt.Errorf("proc.Start got %+v, %w, not code 8", s, err)
		}
	}
	return nil
}

// endChildren has a child that leaves an orphan when it is asked to end.
func endChildren() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	const script = `(trap 'echo orphan asked; exit' TERM; echo ready; while :; do sleep 60 & wait $!; done) & trap 'echo child asked; exit 4' TERM; echo ready; wait`
	p, err := proc.Start(proc.Spec{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: os.Environ(), Stdout: w})
	if err != nil {
		return err
	}
	_ = w.Close()
	var said string
	for said != "ready\nready\n" {
		b := make([]byte, 100)
		n, err := r.Read(b)
		if err != nil {
			return fmt.Errorf("%q, %w", said, err)
		}
		said += string(b[:n])
	}
	ctx, done := context.WithTimeout(context.Background(), 20*time.Second)
	defer done()
	if err := proc.EndChildren(ctx); err != nil {
		return fmt.Errorf("end the children: %w", err)
	}
	b, err := io.ReadAll(r)
	if got := string(b); got != "child asked\norphan asked\n" || err != nil {
		return fmt.Errorf("they said %q, %w", got, err)
	}
	if s, err := p.Wait(ctx); err != nil || s.Code != 4 {
		return fmt.Errorf("the child ended with %+v, %w", s, err)
	}
	return nil
}

// until waits until something is so.
func until(ok func() bool) error {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-t.C:
		case <-deadline:
			return errors.New("waited in vain")
		}
	}
	return nil
}
