package proctest

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// Plant writes a program that the test then runs. A child that another test
// forks meanwhile would hold the file open for writing until it is a program of
// its own, and Linux runs no file that somebody writes: so nobody forks.
func Plant(t testing.TB, path string, content []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := errors.Join(os.WriteFile(path, content, 0o755), os.Chmod(path, 0o755)); err != nil {
		t.Fatal(err)
	}
}
