// Package shell is the seam for terminals: a program on a pseudo terminal of
// its own, whose end and whose last output nobody loses, and which leaves no
// process behind when it is hung up.
package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"ssmagent/platform/proc"
)

// Sizes of a terminal whose Spec names none.
const (
	DefaultRows = 24
	DefaultCols = 80
)

// DefaultGrace is how long Hangup waits between SIGHUP and SIGKILL.
const DefaultGrace = 2 * time.Second

var (
	// ErrExhausted says that the system has no terminal or no process left to
	// give. It may have later.
	ErrExhausted = errors.New("the system is exhausted")
	// ErrEnded says that the terminal's program has ended, was hung up, or
	// that the terminal was closed: no more input is taken.
	ErrEnded = errors.New("terminal has ended")
	// ErrLeftOver says that processes of the session still run after Hangup.
	ErrLeftOver = errors.New("processes of the terminal's session still run")
)

// Spec is everything about a terminal to open.
type Spec struct {
	Path string   // absolute path of the program
	Args []string // with argv[0]; nil for the path alone
	// CommandLine is what the program gets instead of Args, on Windows.
	CommandLine string
	Env         []string // the whole environment; nil means none
	Dir         string   // working directory; empty means ours
	// Rows and Cols are known to the program from its first instruction; 0
	// for the default.
	Rows, Cols uint16
	// Principal is who the program runs as; the terminal is given to them.
	Principal proc.Principal
	// Line is the end for programs of a terminal that OpenScreen made, for Open
	// to start the program on; Open takes it over. Read then gives nothing but
	// the end, and Write and Resize are the screen's.
	Line *os.File
	// Attendant is a program, with its first arguments, that ends up in Attend.
	// It starts the program, since a console can be set up only by what runs on
	// it. Nil: the console is as the system makes it. Terminals of Unix need none.
	Attendant []string
	// Grace is the time between SIGHUP and SIGKILL, 0 for DefaultGrace.
	Grace time.Duration
}

// Terminal is a program with its terminal. Its methods are safe for concurrent
// use, but there is one reader and one writer at a time.
type Terminal interface {
	// Read gives what the program and all that it started print. io.EOF comes
	// once the program has ended and all has been read that was printed by
	// then. Somebody must read at all times: a terminal that nobody reads
	// stops its programs, even in what they take as input.
	Read(p []byte) (int, error)
	// Write types p. It blocks while the program takes no input, until it
	// does or the terminal ends: then the error is ErrEnded.
	Write(p []byte) (int, error)
	// Resize tells the program the new size. A size with a 0 in it, or equal
	// to the present one, is dropped.
	Resize(rows, cols uint16) error
	// Wait returns how the program ended, but not before Read has given the
	// last of its output. It may be called often and by several.
	Wait(ctx context.Context) (proc.State, error)
	// Hangup ends all that runs in the terminal's session: SIGHUP, and after
	// the grace SIGKILL. It returns when nothing runs any more, or with
	// ErrLeftOver. It works also after the program has ended, for what it left
	// in the background, until Close.
	Hangup() error
	// Close hangs up if the program still runs, and gives back all that the
	// terminal holds. What a program that has ended left in the background
	// goes on without a terminal. Close must be called, once is enough.
	Close() error
}

// Screen is the end of a terminal at which a person sits, apart from the
// program: another process may have that. Its methods are safe for concurrent
// use, but there is one reader and one writer at a time.
type Screen interface {
	// Read gives what is printed. io.EOF comes once Ended was called and all
	// has been read that was printed by then, or after Close.
	Read(p []byte) (int, error)
	// ReadWithin is Read that gives nothing, without an error, when nothing is
	// printed within d.
	ReadWithin(p []byte, d time.Duration) (int, error)
	// Write, Resize: as of Terminal.
	Write(p []byte) (int, error)
	Resize(rows, cols uint16) error
	// Echoes says whether the terminal shows what is typed. A program that asks
	// for a password has switched that off, and so have those that edit lines
	// by themselves. When it cannot be told, it does not.
	Echoes() bool
	// Ended says that the program has ended.
	Ended()
	// Close gives back the screen, which hangs up what still uses the line.
	Close() error
}

// OpenScreen opens a terminal of s's user, size and locale, on which no program
// runs yet: line is the end for Open, in this process or, handed down, in
// another. The error is errors.ErrUnsupported where a terminal and its program
// cannot be apart.
func OpenScreen(s Spec) (screen Screen, line *os.File, err error) {
	if s.Rows == 0 || s.Cols == 0 {
		s.Rows, s.Cols = DefaultRows, DefaultCols
	}
	return openScreen(s)
}

// Open starts s in a new terminal. When ctx ends, the terminal is hung up.
func Open(ctx context.Context, s Spec) (Terminal, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open a terminal: %w", err)
	}
	if len(s.Args) == 0 {
		s.Args = []string{s.Path}
	}
	if s.Rows == 0 || s.Cols == 0 {
		s.Rows, s.Cols = DefaultRows, DefaultCols
	}
	if s.Grace <= 0 {
		s.Grace = DefaultGrace
	}
	return open(ctx, s)
}

// AttendantName is what the program of Spec.Attendant is called.
const AttendantName = "ssm-session-console"

// Attended has s be started by attendant, a program as Spec.Attendant's, on the
// pipes that s has. It is s where that is nil.
func Attended(s proc.Spec, attendant []string) proc.Spec { return attended(s, attendant) }

// Unborn is proc.Unborn that also knows what an attendant could not start.
func Unborn(s proc.State) error { return unborn(s) }

// Attend is the program of Spec.Attendant, with the arguments that it got
// behind its first ones: it starts a terminal's program on the console that it
// runs on itself, and returns its exit code.
func Attend(args []string) (code int) { return attend(args) }

// Cap makes a size that a client sent one that terminals can have.
func Cap(n uint32) uint16 { return uint16(min(n, 65535)) }
