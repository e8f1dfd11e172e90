// Package proc is the seam for processes: starting one exactly as asked,
// finding it again after a restart of ours, and ending it with everything it
// started.
package proc

import (
	"context"
	"errors"
	"os"
	"time"
)

var (
	// ErrGone says that the process of an ID no longer runs.
	ErrGone = errors.New("process is gone")
	// ErrUnborn says that a process was made and never came to its first
	// instruction: see Unborn.
	ErrUnborn = errors.New("a program ended before its first instruction")
)

// Principal names who a process runs as. The zero value is ourselves.
type Principal struct {
	// UID, GID and Groups on Unix, when Set.
	Set      bool
	UID, GID uint32
	Groups   []uint32
	// Token is one of the account on Windows, 0 for none. It stays the caller's.
	Token uintptr
}

// Spec is everything about a process to start. A field that this system cannot
// honour makes Start return an error wrapping errors.ErrUnsupported.
type Spec struct {
	Path string   // absolute path of the executable
	Args []string // with argv[0]
	// CommandLine is what the program gets instead of Args, on Windows, where
	// some take theirs apart in ways of their own.
	CommandLine string
	Env         []string // the whole environment; nil means none
	Dir         string   // working directory; empty means ours
	// Stdin, Stdout and Stderr are handed to the child; nil is the null device.
	Stdin, Stdout, Stderr *os.File
	ExtraFiles            []*os.File // become descriptors 3, 4, …
	Principal             Principal
	// Umask of the child when not negative… 0 is a value, so UmaskSet says.
	Umask    int
	UmaskSet bool
	// Group puts the child at the head of a new process group (Windows: a
	// new console process group).
	Group bool
	// Session makes it a session leader without a terminal (setsid), so
	// that it outlives ours. Windows: breaks away from our job.
	Session bool
	// Tethered has all that the process starts end when it does, and it when we
	// do, however that is: Wait returns when nothing of it runs any more. It has
	// no console. Windows only.
	Tethered bool
	// Scope names a job object for the child and all it starts, which only
	// Windows has; for systemd see Scopes. Empty for none.
	Scope string
	// Subreaper, in our own process, is set by BecomeSubreaper.
}

// ID identifies a process for good: a pid alone is used again.
type ID struct {
	PID   int
	Start uint64 // start time in the system's own unit (ticks, FILETIME)
}

// State is how a process ended.
type State struct {
	Code   int    // exit code; -1 when ended by a signal
	Signal string // "killed", empty when it exited
}

// Signal is what a process can be told, short of being killed.
type Signal uint8

// The signals: as ^C and ^\ on a terminal, and as its loss.
const (
	Interrupt Signal = 1
	Quit      Signal = 2
	Hangup    Signal = 3
)

// SignalOf is the number and the name, such as SIGKILL, of the signal that
// ended a process; 0 when it exited, or when the system does not tell.
func SignalOf(s State) (number int, name string) { return signalOf(s.Signal) }

// Unborn is an error wrapping ErrUnborn, and saying why, when s is how the
// system ends what it could start but not bring to life; nil otherwise, and
// always on Unix, where such a start fails.
func Unborn(s State) error { return unborn(s) }

// Process is a started or re-found process. Wait may be called by several
// goroutines; each gets the state (a re-found process that is no child of ours
// has Code -1 and Signal "unknown").
type Process interface {
	ID() ID
	Wait(ctx context.Context) (State, error)
	// Kill ends this one process at once.
	Kill() error
	// KillGroup ends its process group (Windows: its job) at once.
	KillGroup() error
	// Signal tells its process group, or where it has none the process alone.
	// Windows knows no signals: there it ends them.
	Signal(s Signal) error
	// Usage is CPU time used by it and its waited-for children, once ended.
	Usage() time.Duration
}

// Start starts s.
func Start(s Spec) (Process, error) { return start(s) }

// Find returns the running process of id, or ErrGone.
func Find(id ID) (Process, error) { return find(id) }

// AwaitExit waits until a child of ours has ended, and leaves it to be reaped:
// until then nobody else gets its number. Not on Windows.
func AwaitExit(pid int) (State, error) { return awaitExit(pid) }

// BecomeSubreaper makes orphaned descendants of ours children of ours (Linux
// PR_SET_CHILD_SUBREAPER; on Windows jobs do this and it does nothing; on macOS
// nothing does, but the orphans of a session that we lead are found).
func BecomeSubreaper() error { return becomeSubreaper() }

// Imprint takes down what children of ours inherit and others can change:
// limits, control group, priorities, processors, directory. asThen says whether
// it still is so, and whether we have no child, not even one that has ended: of
// a subreaper then nothing descends. Elsewhere than on Linux it is not known,
// and false.
func Imprint() (asThen func() bool) { return imprint() }

// Descendants lists the processes that descend from ours now, ours excluded.
func Descendants() ([]ID, error) { return descendants() }

// KillDescendants ends every descendant of ours but those in keep and what
// descends from those, and returns when none of them runs any more, or when
// ctx ends. It catches processes that left the group or the session.
func KillDescendants(ctx context.Context, keep []ID) error { return killDescendants(ctx, keep) }

// KillMarked ends every process (not ours) whose environment has the entry
// "name=value": what a lost worker left behind. Needs the rights to read it.
func KillMarked(ctx context.Context, name, value string) error { return killMarked(ctx, name, value) }

// PipeTo is a pipe to a process that is to be started: theirs is for the Spec,
// and to be closed once it has started. ours has deadlines.
func PipeTo() (ours, theirs *os.File, err error) { return pipeTo() }

// PipeFrom is PipeTo for what the process writes.
func PipeFrom() (ours, theirs *os.File, err error) { return pipeFrom() }

// Self is our own ID, for others to find us by.
func Self() (ID, error) { return self() }

// ReapOrphans collects the ended processes that a subreaper inherited, and
// none that this program started itself. On Windows there are no zombies.
func ReapOrphans() error { return reapOrphans() }

// CloseOnExec has no child of ours inherit a descriptor that it is not handed,
// also of those that we were born with. Start does it; others who start
// programs call it first. (On Windows handles are inherited when named only.)
func CloseOnExec() error { return closeOnExec() }

// ID implements Process.
func (p *process) ID() ID { return p.id }

// Wait implements Process. The code is that of await, which each system has of
// its own.
func (p *process) Wait(ctx context.Context) (State, error) {
	p.once.Do(func() { go p.await() })
	select {
	case <-p.done:
		return p.state, p.err
	case <-ctx.Done():
		// What has ended already is told in preference.
		select {
		case <-p.done:
			return p.state, p.err
		default:
			return State{Code: -1}, ctx.Err()
		}
	}
}
