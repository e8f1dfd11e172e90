package worker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"ssmagent/internal/environ"
	"ssmagent/internal/session"
	"ssmagent/internal/session/terminal"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/words"
	"ssmagent/platform/proc"
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
	proc *terminal.Process
	spec terminal.Spec // what it is to run
}

// start starts that process, and finds out what it is to run once the client is
// there. The process's own environment is the program's: the session's user
// can read it.
func (h *held) start() error {
	command, elevated := "", false
	if h.req.Type != mgs.SessionStandardStream {
		c, err := h.req.Command()
		if err != nil {
			return err
		}
		command, elevated = c.Commands, c.RunAsElevated
	}
	account, err := h.Account(h.req.Node.AsInvoker || elevated)
	if err != nil {
		return err
	}
	h.user = account.Name
	env := environ.Inherited(h.Env)
	env = environ.Set(env, "TERM", "xterm-256color")
	if environ.Get(env, "LANG") == "" {
		env = environ.Set(env, "LANG", "C.UTF-8")
	}
	if account.Home != "" {
		env = environ.Set(env, "HOME", account.Home)
	}
	h.spec.Env, h.spec.Dir = env, account.Dir
	if h.spec.Args, err = h.words(command); err != nil {
		return err
	}
	if h.spec.Path, err = h.file(h.spec.Args[0]); err != nil {
		return err
	}
	holder := proc.Spec{
		Path: h.Executable, Args: []string{terminal.Name}, Env: env, Dir: account.Dir, Group: true, Principal: account.Principal,
	}
	if h.req.Type == mgs.SessionNonInteractiveCommands {
		h.proc, err = terminal.Start(h.Start, holder)
	} else {
		h.proc, err = terminal.StartOn(h.Screen, h.Start, holder)
	}
	return err
}

// file is the program of a command's first word.
func (h *held) file(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	if filepath.Base(name) != name {
		return filepath.Join(h.spec.Dir, name), nil
	}
	return h.Program(name, h.spec.Env)
}

// words are the program and its arguments that the session's type makes of
// its command.
func (h *held) words(command string) ([]string, error) {
	switch {
	case h.req.Type == mgs.SessionStandardStream:
		return []string{"sh"}, nil
	case h.req.Type == mgs.SessionInteractiveCommands && !h.req.Node.Container:
		return []string{"sh", "-c", command}, nil
	}
	w, err := words.Split(command)
	if err != nil {
		return nil, fmt.Errorf("the session's command: %w", err)
	}
	return w, nil
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
		return e, true, errors.New("the session is lost: the process of its terminal was ended from outside")
	case !exit.Started:
		return e, false, errors.New(exit.Error)
	case exit.Error != "":
		h.log.Warn("the program's end", "error", exit.Error)
	}
	h.wg.Go(func() { _ = h.record(session.Result{Status: session.Success}) }) // while the client takes the rest
	return mgs.Exit{Code: exit.Code, Signal: exit.Number, Name: exit.Name}, false, nil
}

// release ends the process.
func (h *held) release() {
	if h.proc == nil {
		return
	}
	ctx, done := context.WithTimeout(context.Background(), closeWithin)
	defer done()
	if err := h.proc.Close(ctx); err != nil {
		h.log.Warn("end the process that held the session's program", "error", err)
	}
}
