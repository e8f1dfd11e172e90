package reboot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ssmagent/platform/proc/proctest"
)

// TestMain makes a copy of the test binary the program that restarts the
// machine: it notes its words beside itself, or refuses as it finds written there.
func TestMain(m *testing.M) {
	exe, err := os.Executable()
	if err == nil && strings.HasPrefix(filepath.Base(exe), "shutdown") {
		os.Exit(shutdown(filepath.Dir(exe)))
	}
	os.Exit(m.Run())
}

func shutdown(dir string) int {
	if why, err := os.ReadFile(filepath.Join(dir, "refusal")); err == nil {
		fmt.Fprintf(os.Stderr, "%s\n", why)
		return 1
	}
	if err := os.WriteFile(filepath.Join(dir, "noted"), []byte(strings.Join(os.Args[1:], " ")), 0o600); err != nil {
		return 2
	}
	return 0
}

// plant makes the program below root, and returns its directory.
func plant(t *testing.T, root string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	path := below(root, commands()[0][0])
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	proctest.Plant(t, path, b)
	return filepath.Dir(path)
}

func TestTheSystemIsAsked(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := plant(t, root)
	if err := Below(root)(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "noted"))
	if want := strings.Join(commands()[0][1:], " "); err != nil || string(b) != want {
		t.Errorf("%q %v, want %q", b, err, want)
	}
}

func TestRefusalsSayWhy(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := Below(root)(t.Context()); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "no program for it is installed") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(plant(t, root), "refusal"), []byte("the host forbids it"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Below(root)(t.Context()); err == nil || !strings.Contains(err.Error(), "the host forbids it") {
		t.Errorf("%v", err)
	}
}
