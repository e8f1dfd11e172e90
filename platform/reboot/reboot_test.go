package reboot

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// plant makes a program below root that notes its words and says what it is told.
func plant(t *testing.T, root, script string) (noted string) {
	t.Helper()
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("needs /bin/sh")
	}
	path := below(root, commands()[0][0])
	noted = filepath.Join(root, "noted")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho \"$*\" >"+noted+"\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return noted
}

func TestTheSystemIsAsked(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	noted := plant(t, root, "exit 0")
	if err := Below(root)(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(noted)
	if want := strings.Join(commands()[0][1:], " ") + "\n"; err != nil || string(b) != want {
		t.Errorf("%q %v, want %q", b, err, want)
	}
}

func TestRefusalsSayWhy(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := Below(root)(t.Context()); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "no program for it is installed") {
		t.Errorf("%v", err)
	}
	plant(t, root, "echo 'the host forbids it' >&2; exit 1")
	if err := Below(root)(t.Context()); err == nil || !strings.Contains(err.Error(), "the host forbids it") {
		t.Errorf("%v", err)
	}
}
