package service_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// hosted is a process that hosts a core.
type hosted struct {
	cmd *exec.Cmd
	out *bufio.Scanner
	err *bytes.Buffer
}

func start(t *testing.T, kind string, env ...string) *hosted {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &hosted{cmd: exec.Command(self), err: new(bytes.Buffer)}
	c.cmd.Env = append(append(os.Environ(), core+"="+kind, "GORACE=atexit_sleep_ms=0"), env...)
	c.cmd.Stderr = c.err
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // ended already, unless the test failed
		_ = c.cmd.Wait()
	})
	c.expect(t, "ready")
	return c
}

func (c *hosted) expect(t *testing.T, line string) {
	t.Helper()
	if !c.out.Scan() || c.out.Text() != line {
		t.Fatalf("got line %q, want %q", c.out.Text(), line)
	}
}

func (c *hosted) wait(t *testing.T) int {
	t.Helper()
	timer := time.AfterFunc(20*time.Second, func() { c.cmd.Process.Kill() })
	defer timer.Stop()
	_ = c.cmd.Wait() // the code says it
	return c.cmd.ProcessState.ExitCode()
}

func (c *hosted) errText() string { return c.err.String() }

func (c *hosted) said(text string) bool { return strings.Contains(c.errText(), text) }
