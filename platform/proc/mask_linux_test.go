package proc

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestForkMasked is the way where a thread may have no umask of its own: the
// child has it, and we have ours again.
func TestForkMasked(t *testing.T) {
	before := unix.Umask(0o27)
	defer unix.Umask(before)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	pid, err := forkMasked(Spec{Path: "/bin/sh", Args: []string{"sh", "-c", "umask"}, Umask: 0o1135}, &syscall.ProcAttr{Files: []uintptr{0, w.Fd(), 2}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(r)
	if err != nil || strings.TrimSpace(string(said)) != "0135" {
		t.Errorf("the child has %q, %v", said, err)
	}
	if st, err := awaitExit(pid); err != nil || st != (State{}) {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
		t.Error(err)
	}
	if ours := unix.Umask(0o27); ours != 0o27 {
		t.Errorf("ours is %04o", ours)
	}
}
