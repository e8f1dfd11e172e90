package worker

import (
	"context"
	"errors"
	"time"

	"ssmagent/internal/session"
	"ssmagent/internal/session/terminal"
	"ssmagent/internal/wire/mgs"
	"ssmagent/platform/proc"
	"ssmagent/platform/profile"
)

const (
	// hangupWithin bounds a hang-up: the grace of the program's own process
	// and what that waits after SIGKILL are in it.
	hangupWithin = 8 * time.Second
	// closeWithin bounds the end of that process when it has nothing left to do.
	closeWithin = 2 * time.Second
)

// unableToStart begins the sentence of a session whose program never ran.
const unableToStart = "Unable to start command"

// held is a program that another process, run as the session's user, holds.
type held struct {
	*served
	proc   *terminal.Process
	spec   terminal.Spec   // what it is to run
	loaded profile.Profile // of the account; zero where there is none to load
	// leaveAccount gives the account back; nil: it was not entered.
	leaveAccount func() error
}

// start starts that process, and finds out what it is to run once the client is
// there. The process's own environment is the program's: the session's user
// can read it.
func (h *held) start(life context.Context) error {
	command, elevated := "", false
	if h.req.Type != mgs.SessionStandardStream {
		c, err := h.req.Command()
		if err != nil {
			return err
		}
		command, elevated = c.Commands, c.RunAsElevated
	}
	all := h.Accounts(h.req.Node.Data)
	a, err := h.account(life, all, elevated)
	if err != nil {
		return err
	}
	h.user = a.Name
	if a.Principal.Token != 0 {
		if h.loaded, err = h.Profile(a.Principal.Token, a.Name); err != nil {
			return err
		}
		a.Home = h.loaded.Dir
	}
	env := h.environment(all, a)
	h.spec.Env, h.spec.Dir = env, a.StartDir()
	if err := h.program(a, command); err != nil {
		return err
	}
	holder := proc.Spec{
		Path: h.Executable, Args: []string{terminal.Name}, Env: env, Dir: h.spec.Dir, Group: true, Principal: a.Principal,
	}
	if h.req.Type == mgs.SessionNonInteractiveCommands {
		h.proc, err = terminal.Start(h.Start, holder)
	} else {
		h.proc, err = terminal.StartOn(h.Screen, h.Start, holder)
	}
	return err
}

// open has the process open what it is to run.
func (h *held) open(life context.Context) error {
	err := h.proc.Open(h.spec)
	if errors.Is(err, terminal.ErrEnded) {
		return h.lost(life)
	}
	return err
}

// lost is why the process is not there any more.
func (h *held) lost(life context.Context) error {
	ctx, done := context.WithTimeout(life, closeWithin)
	defer done()
	return h.proc.Lost(ctx)
}

// attend carries bytes until the program's or the session's end: print until
// what is printed ends, input until life or the program does. over: the session
// ended first, or the program was lost, and err is the session's outcome.
// Otherwise err says why the program never began.
func (h *held) attend(ctx, life context.Context, print, input func(life context.Context)) (e mgs.Exit, over bool, err error) {
	printed := make(chan struct{})
	h.wg.Go(func() {
		defer close(printed)
		print(life)
	})
	h.wg.Go(func() { input(life) })
	select {
	case <-printed:
	case <-life.Done():
		h.proc.Hangup()
		t := h.Clock.NewTimer(hangupWithin)
		defer t.Stop()
		select {
		case <-printed:
		case <-t.C():
			h.log.Warn("the session's processes do not end in time, the one that holds them is killed")
		}
		return e, true, h.outcome(ctx, context.Cause(life))
	}
	exit, ok := h.proc.Exit()
	switch {
	case life.Err() != nil:
		return e, true, h.outcome(ctx, context.Cause(life))
	case !ok:
		return e, true, h.lost(life)
	case !exit.Started:
		return e, false, errors.New(exit.Error)
	case exit.Error != "":
		h.log.Warn("the program's end", "error", exit.Error)
	}
	h.wg.Go(func() { _ = h.record(session.Result{Status: session.Success}) }) // while the client takes the rest
	return mgs.Exit{Code: exit.Code, Signal: exit.Number, Name: exit.Name}, false, nil
}

// release ends the process, and then leaves the account that it ran as.
func (h *held) release() {
	if h.proc != nil {
		ctx, done := context.WithTimeout(context.Background(), closeWithin)
		defer done()
		if err := h.proc.Close(ctx); err != nil {
			h.log.Warn("end the process that held the session's program", "error", err)
		}
	}
	if err := h.loaded.Close(); err != nil {
		h.log.Warn("the account's profile", "error", err)
	}
	if h.leaveAccount == nil {
		return
	}
	if err := h.leaveAccount(); err != nil {
		h.log.Error("leave the session's account", "error", err)
	}
}
