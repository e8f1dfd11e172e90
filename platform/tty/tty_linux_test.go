package tty

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// pair is a terminal and the end of who sits at it.
func pair(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close(); terminal.Close() })
	return person, terminal
}

func TestRaw(t *testing.T) {
	t.Parallel()
	person, terminal := pair(t)
	before, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := MakeRaw(terminal, terminal)
	if err != nil {
		t.Fatal(err)
	}
	// Every key as it is: signals, flow control, literal next, CR, 8 bits.
	const keys = "\x03\x1a\x1c\x11\x13\x16\x0f\r\n\x7f\x04\xff\xc3\xa9~."
	if _, err := person.WriteString(keys); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 0, 64)
	for len(got) < len(keys) {
		n, err := raw.Read(got[len(got):cap(got)])
		if err != nil {
			t.Fatal(err)
		}
		got = got[:len(got)+n]
	}
	if string(got) != keys {
		t.Errorf("got %q, want %q", got, keys)
	}
	// No echo, and LF stays LF.
	if _, err := terminal.WriteString("a\nb"); err != nil {
		t.Fatal(err)
	}
	shown := make([]byte, 64)
	n, err := person.Read(shown)
	if err != nil || string(shown[:n]) != "a\nb" {
		t.Errorf("shown %q, %v", shown[:n], err)
	}
	for range 2 {
		if err := raw.Restore(); err != nil {
			t.Error(err)
		}
	}
	after, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("restored %+v, was %+v, %v", after, before, err)
	}
}

func TestNoTerminal(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if IsTerminal(f) || IsTerminal(nil) {
		t.Error("a file counts as a terminal")
	}
	if _, err := MakeRaw(f, f); !errors.Is(err, ErrNotTerminal) {
		t.Errorf("got %v", err)
	}
	if _, _, ok := Size(f, nil); ok {
		t.Error("a file has a size")
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	person, terminal := pair(t)
	if !IsTerminal(terminal) {
		t.Fatal("a terminal does not count as one")
	}
	if _, _, ok := Size(terminal); ok {
		t.Error("0 by 0 counts as a size")
	}
	if err := pty.Setsize(person, &pty.Winsize{Rows: 40, Cols: 132}); err != nil {
		t.Fatal(err)
	}
	if cols, rows, ok := Size(nil, terminal); !ok || cols != 132 || rows != 40 {
		t.Errorf("got %d %d %v", cols, rows, ok)
	}
}

func TestResized(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	changed := Resized(ctx, nil)
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	case <-ctx.Done():
		t.Error("no word of SIGWINCH")
	}
}
