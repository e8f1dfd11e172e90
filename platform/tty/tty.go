// Package tty is the seam for the terminal that a person sits at: raw mode and
// the way back, the size, and word when that changes. (Terminals that programs
// run on are package shell's.)
package tty

import (
	"context"
	"errors"
	"os"
	"sync"
)

// ErrNotTerminal says that a file is no terminal.
var ErrNotTerminal = errors.New("not a terminal")

// IsTerminal says whether f is a terminal; nil is none.
func IsTerminal(f *os.File) bool { return f != nil && isTerminal(f) }

// Size is the size in characters of the first of files that is a terminal and
// knows it; ok is false when none does.
func Size(files ...*os.File) (cols, rows uint32, ok bool) {
	for _, f := range files {
		if f == nil {
			continue
		}
		if cols, rows, err := size(f); err == nil && cols > 0 && rows > 0 {
			return cols, rows, true
		}
	}
	return 0, 0, false
}

// Resized gives a value after each change of the terminal's size, perhaps one
// for several and perhaps one for none, until ctx ends. out is where the
// terminal shows what is written.
func Resized(ctx context.Context, out *os.File) <-chan struct{} { return resized(ctx, out) }

// Escapes says whether the terminal out obeys escape sequences, after it was
// told to.
func Escapes(out *os.File) bool { return escapes(out) }

// Raw is a terminal in raw mode: every key comes at once as the bytes that it
// sends, in UTF-8, and the output goes through untouched.
type Raw struct {
	in      *os.File
	reader  reader
	once    sync.Once
	restore func() error
	err     error
}

// MakeRaw puts the terminal in into raw mode, and prepares out, when that is a
// terminal, for what programs of another machine print. It changes nothing when
// it fails; the error is ErrNotTerminal when in is none.
func MakeRaw(in, out *os.File) (*Raw, error) {
	if !IsTerminal(in) {
		return nil, ErrNotTerminal
	}
	restore, err := makeRaw(in, out)
	if err != nil {
		return nil, err
	}
	return &Raw{in: in, reader: newReader(in), restore: restore}, nil
}

// Restore puts back what MakeRaw found. It may be called often, from anywhere,
// also while Read waits.
func (r *Raw) Restore() error {
	r.once.Do(func() { r.err = r.restore() })
	return r.err
}

// Read returns what is typed as it comes. One goroutine reads.
func (r *Raw) Read(p []byte) (int, error) { return r.reader.Read(p) }
