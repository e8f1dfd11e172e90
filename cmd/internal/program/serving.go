package program

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"ssmagent/internal/agent"
	"ssmagent/internal/clock"
	"ssmagent/internal/config"
	"ssmagent/internal/edition"
	"ssmagent/internal/fsys"
	"ssmagent/platform"
	"ssmagent/platform/firstboot"
	"ssmagent/platform/proc"
	"ssmagent/platform/secfile"
	"ssmagent/service"
)

// serving is the agent from its first step on. All of it is the service's core, as
// the service manager of Windows waits for nobody's files.
type serving struct {
	s     streams
	root  string
	paths platform.Paths

	log    atomic.Pointer[openLog] // nil: not open yet
	agents atomic.Pointer[lives]   // nil: not there yet
	pin    atomic.Pointer[os.File] // of what workers run; nil: it needs none
}

type openLog struct {
	*slog.Logger
	close func()
}

// stage numbers what a start goes through; Windows' service manager shows the
// number of the one that failed.
type stage uint32

// The stages. 1 is what stock agents say of all that fails at their start.
const (
	stageImage    stage = 1 + iota // waiting for the image's set-up
	stageData                      // the data folder's rights
	stageConfig                    // the configuration
	stageProgram                   // this program and its copy
	stageIdentity                  // who the node is
	stageLock                      // another agent runs
	stageRun                       // afterwards
)

// stageError is an error of a stage.
type stageError struct {
	stage stage
	err   error
}

func (e stageError) Error() string { return e.err.Error() }
func (e stageError) Unwrap() error { return e.err }

// stageOf is the number of the stage that err is of.
func stageOf(err error) uint32 {
	var e stageError
	switch {
	case errors.As(err, &e):
		return uint32(e.stage)
	case errors.Is(err, agent.ErrNotRegistered):
		return uint32(stageIdentity)
	case errors.Is(err, agent.ErrRunning):
		return uint32(stageLock)
	}
	return uint32(stageRun)
}

// run is the core.
func (a *serving) run(ctx context.Context, ready func()) error {
	if err := claimData(a.s, a.paths); err != nil {
		return stageError{stageData, err}
	}
	level := new(slog.LevelVar)
	level.Set(firstLevel())
	log, closeLog := agentLog(a.s, a.paths.Logs, level)
	a.log.Store(&openLog{log, closeLog})
	if err := awaitImage(ctx, log); err != nil {
		return err
	}
	useProxies(log)
	l, shelf, err := a.lives(log, level)
	if err != nil {
		return err
	}
	// An idle agent's heap is a few MB: collecting it a little more often
	// costs less than keeping twice as much.
	debug.SetGCPercent(50)
	serve := func(ctx context.Context, ready func()) error {
		return l.run(ctx, func() {
			sweep(shelf, l.opt.Machine.Executable, log) // this agent is the only one now
			ready()
		})
	}
	keep := func(ctx context.Context) { keepPrograms(ctx, a.paths, log) }
	return perhapsFirst(beside(keep, serve))(ctx, ready)
}

// lives makes the first agent, and what its workers run.
func (a *serving) lives(log *slog.Logger, level *slog.LevelVar) (*lives, edition.Shelf, error) {
	shelf := edition.Shelf{FS: programFiles(a.root), Dir: a.paths.Editions}
	load := func() (config.Config, error) { return readConfig(a.s, a.paths.ConfigFile) }
	cfg, err := load()
	if err != nil {
		return nil, shelf, stageError{stageConfig, err}
	}
	m, err := machine(a.root, a.paths, log)
	if err != nil {
		return nil, shelf, stageError{stageProgram, err}
	}
	m.Executable = a.workerProgram(shelf, m.Executable, log)
	l := &lives{load: load,
		opt: agent.Options{Machine: m, Log: log, Clock: clock.Real{}, Version: version, Level: level, Last: proc.First()}}
	if err := l.next(cfg); err != nil {
		return nil, shelf, stageError{stageConfig, err}
	}
	a.agents.Store(l)
	return l, shelf, nil
}

// beside is run with keep running at its side.
func beside(keep func(context.Context), run func(context.Context, func()) error) func(context.Context, func()) error {
	return func(ctx context.Context, ready func()) error {
		aside, stop := context.WithCancel(ctx)
		var kept sync.WaitGroup
		kept.Go(func() { keep(aside) })
		defer kept.Wait()
		defer stop()
		return run(ctx, ready)
	}
}

func (a *serving) reload() {
	if l := a.agents.Load(); l != nil { // else it is about to read it
		reloadConfig(a.paths.ConfigFile, l.now.Load(), a.logger())
	}
}

func (a *serving) logger() *slog.Logger {
	if l := a.log.Load(); l != nil {
		return l.Logger
	}
	return nil
}

func (a *serving) close() {
	if pin := a.pin.Load(); pin != nil {
		_ = pin.Close() // only opened
	}
	if l := a.log.Load(); l != nil {
		l.close()
	}
}

// awaitImage waits for the machine's own first set-up, before anything asks who it
// is.
func awaitImage(ctx context.Context, log *slog.Logger) error {
	err := firstboot.Await(ctx, func(state string) {
		log.Info("waiting for the end of this machine's first set-up", "image_state", state)
	})
	switch {
	case errors.Is(err, firstboot.ErrOthers):
		return fmt.Errorf("%w: %w", service.ErrDone, err)
	case err != nil && ctx.Err() == nil:
		return stageError{stageImage, err}
	}
	return err
}

// workerProgram is what workers run: a copy of this program where it could not be
// replaced otherwise while they live. That there is none is no reason not to serve.
func (a *serving) workerProgram(shelf edition.Shelf, program string, log *slog.Logger) string {
	if shelf.Dir == "" {
		return program
	}
	path, err := shelf.Copy(program, version)
	var pin *os.File
	if err == nil {
		pin, err = os.Open(path) // an open file can be neither removed nor replaced
	}
	if err != nil {
		log.Warn("workers run from the installed program, which cannot be replaced while they do", "error", err)
		return program
	}
	a.pin.Store(pin)
	return path
}

// sweep removes the copies that no worker runs from any more.
func sweep(shelf edition.Shelf, keep string, log *slog.Logger) {
	if shelf.Dir == "" {
		return
	}
	if left, err := shelf.Sweep(keep); err != nil {
		log.Warn("old copies of the program stay", "error", err)
	} else if left > 0 {
		log.Info("workers still run from old copies of the program", "copies", left)
	}
}

// programFiles is the file system for what workers run; below -root it belongs to
// whoever runs us.
func programFiles(root string) fsys.FS {
	if root != "" {
		return secfile.ForUser()
	}
	return secfile.Programs()
}
