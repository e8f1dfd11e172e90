// Package worker is the process that serves one session: it owns the data
// channel, has another process hold the terminal, and outlives the agent that
// started it.
package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/session"
	"ssmagent/internal/session/destination"
	"ssmagent/platform/proc"
	"ssmagent/platform/profile"
	"ssmagent/shell"
	"ssmagent/users"
)

// Accounts are those of this machine; users.Local.
type Accounts interface {
	// Switches says whether processes may run as others than ourselves.
	Switches() bool
	Self() (users.Account, error)
	// LoginPath is PATH of the account's login shells.
	LoginPath(a users.Account) string
	Lookup(ctx context.Context, name string) (users.Account, error)
	// Enter is the account of sessions; leave is called when the session's last
	// process has ended.
	Enter(ctx context.Context, w users.Wish) (a users.Account, leave func() error, err error)
}

// Deps is what a worker needs of the machine.
type Deps struct {
	FS     fsys.FS
	Stdin  io.Reader // orders of the agent that started it
	Stdout io.Writer // events for it
	// Stderr gets the one sentence of a worker that cannot begin.
	Stderr io.Writer
	Log    *slog.Logger
	Clock  clock.Clock
	// Lock is secfile.Lock: the audit log has several writers.
	Lock func(file string) (unlock func(), err error)
	// Listen is ipc.Listen: later agents find the worker there.
	Listen func(path string) (net.Listener, error)
	Start  func(proc.Spec) (proc.Process, error)
	// Screen is shell.OpenScreen.
	Screen func(shell.Spec) (shell.Screen, *os.File, error)
	// Executable is this program, and Env the environment that shells inherit.
	Executable string
	Env        []string
	// Accounts are the machine's, by the agent's data directory.
	Accounts func(data string) Accounts
	// PowerShell is the absolute path of the one that comes with Windows, which
	// sessions run there; empty: they run sh.
	PowerShell string
	// Cmd is the path of the older shell of Windows, for documents that ask for it.
	Cmd string
	// Profile is profile.Load, for accounts that have a token.
	Profile func(token uintptr, name string) (profile.Profile, error)
	// Program finds a program by name in the directories of env's PATH.
	Program func(name string, env []string) (string, error)
	// Lookup and Dial are for port sessions; Dial gets checked addresses.
	Lookup destination.Lookup
	Dial   destination.Dial
}

// Exit codes of a worker; what became of the session is in its directory.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// errUntold: the agent went away before it put the worker on record.
var errUntold = errors.New("the agent went away before it let this worker run")

// Main serves the session of the directory args[0] and returns the exit code.
// ctx ending (SIGTERM) ends the session.
func Main(ctx context.Context, args []string, d Deps) int {
	if len(args) != 1 || !filepath.IsAbs(args[0]) {
		fmt.Fprintf(d.Stderr, "%s: needs one argument, the absolute path of a session's directory; the agent starts it\n", session.WorkerName)
		return exitUsage
	}
	quietPipes()
	if err := run(ctx, session.Dir{FS: d.FS, Path: args[0]}, d); err != nil {
		fmt.Fprintf(d.Stderr, "%s: %v\n", session.WorkerName, err)
		return exitFailed
	}
	return exitOK
}

func run(ctx context.Context, dir session.Dir, d Deps) error {
	req, err := dir.Load()
	if err != nil {
		return err
	}
	l, err := d.Listen(dir.Socket())
	if err != nil {
		return fmt.Errorf("listen for later agents: %w", err)
	}
	defer l.Close()
	a := newAgents(d.Stdout, d.Clock)
	go a.hear(d.Stdin)
	go a.accept(l)
	if err := a.awaitRun(ctx); err != nil {
		return err
	}
	s := &served{Deps: d, dir: dir, req: req, agents: a, log: d.Log.With("session", req.ID), traces: newTraces(d, req)}
	defer s.traces.sweep(dir)
	defer s.release()
	if a.isLate() {
		err = s.handOnLate(ctx)
	} else {
		err = s.whole(ctx)
	}
	if err == nil {
		a.end()
	}
	return err
}
