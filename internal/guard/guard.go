// Package guard watches what the agent takes of its machine. An agent that
// leaks ends itself, with the reason on disk, before it harms what else runs
// there: the service manager starts it again, and commands and sessions do not
// notice.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"time"

	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
)

// ErrOverrun is wrapped by the error of an agent that takes too much.
var ErrOverrun = errors.New("this agent takes more than it may and ends itself")

// every is how often to look: a leak takes longer, and an idle agent sleeps.
const every = 5 * time.Minute

// Usage is what the agent takes.
type Usage struct {
	Goroutines       int
	Heap             int64 // bytes in use
	Files, FileLimit int   // 0: not known
}

// Options of a Guard. All is needed.
type Options struct {
	Memory     int64 // bytes that the runtime keeps below; the heap may have twice as much
	Goroutines int
	Usage      func() Usage
	// Save keeps what the goroutines do and says where.
	Save  func(stacks []byte) (where string, err error)
	Clock clock.Clock
	Log   *slog.Logger
}

// Guard watches.
type Guard struct {
	opt      Options
	crowded  bool // files are short, which was told
	restless bool // goroutines are many, which was told
}

// New returns a Guard that does nothing until Run.
func New(o Options) *Guard { return &Guard{opt: o} }

// LimitMemory has the runtime keep below limit, and returns the limit that
// holds: one of GOMEMLIMIT stays.
func LimitMemory(limit int64, inEnvironment bool) int64 {
	if inEnvironment {
		return debug.SetMemoryLimit(-1)
	}
	debug.SetMemoryLimit(limit)
	return limit
}

// Measure is the usage of this process, files aside.
func Measure() Usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Usage{Goroutines: runtime.NumGoroutine(), Heap: int64(m.HeapAlloc)}
}

// Run looks now and then until ctx ends, which is no error, or the agent takes
// too much.
func (g *Guard) Run(ctx context.Context) error {
	for backoff.Wait(ctx, g.opt.Clock, every) == nil {
		if err := g.look(); err != nil {
			return err
		}
	}
	return nil
}

// look warns of what runs short and returns an error for what has run over.
func (g *Guard) look() error {
	u := g.opt.Usage()
	g.tell(&g.crowded, u.FileLimit > 0 && u.Files >= u.FileLimit/10*9,
		"the agent may soon open no more files; raise LimitNOFILE of its service", "open", u.Files, "limit", u.FileLimit)
	g.tell(&g.restless, u.Goroutines >= g.opt.Goroutines/2,
		"the agent has unusually many goroutines; `ssm-cli debug stacks` shows them", "goroutines", u.Goroutines, "limit", g.opt.Goroutines)
	switch {
	case u.Goroutines > g.opt.Goroutines:
		return g.overrun(fmt.Sprintf("%d goroutines, the limit is %d (ssmagent.Guard.Goroutines)", u.Goroutines, g.opt.Goroutines))
	case u.Heap > 2*g.opt.Memory:
		return g.overrun(fmt.Sprintf("%d MiB of heap, twice the limit of %d MiB (ssmagent.Guard.MemoryMiB)", u.Heap>>20, g.opt.Memory>>20))
	}
	return nil
}

// tell warns once when something becomes so, and again after it was not.
func (g *Guard) tell(told *bool, now bool, text string, attrs ...any) {
	if now && !*told {
		g.opt.Log.Warn(text, attrs...)
	}
	*told = now
}

func (g *Guard) overrun(what string) error {
	where, err := g.opt.Save(stacks())
	if err != nil {
		return fmt.Errorf("%w: %s; what it does could not be kept: %w", ErrOverrun, what, err)
	}
	return fmt.Errorf("%w: %s; %s has what it does", ErrOverrun, what, where)
}

// maxStacks bounds what is kept.
const maxStacks = 8 << 20

func stacks() []byte {
	buf := make([]byte, maxStacks)
	return buf[:runtime.Stack(buf, true)]
}
