package proc_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/windows"

	"ssmagent/platform/proc"
)

// TestCommandLine: a program sees the line as it was given.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	system, err := windows.GetSystemDirectory()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := filepath.Join(system, "cmd.exe")
	p, err := proc.Start(proc.Spec{Path: cmd, Args: []string{cmd}, CommandLine: `cmd.exe /c echo A="x y"  B=\"`, Env: os.Environ(), Stdout: w, Group: true})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if got := strings.TrimRight(string(out), "\r\n "); err != nil || got != `A="x y"  B=\"` {
		t.Errorf("%q %v", got, err)
	}
	if state, err := p.Wait(t.Context()); err != nil || state.Code != 0 {
		t.Errorf("%+v %v", state, err)
	}
}
