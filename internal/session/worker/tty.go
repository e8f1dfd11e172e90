package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ssmagent/internal/session"
	"ssmagent/internal/session/channel"
	"ssmagent/internal/session/terminal"
	"ssmagent/internal/wire/mgs"
	"ssmagent/shell"
)

const (
	// hangupWithin bounds a hang-up: the terminal's own grace and what it
	// waits after SIGKILL are in it.
	hangupWithin = 8 * time.Second
	// closeWithin bounds the end of a terminal's process that has nothing left
	// to do.
	closeWithin = 2 * time.Second
)

// unableToStart begins the sentence of a session whose program never ran.
const unableToStart = "Unable to start command"

// tty is a program on a terminal: a shell, or an interactive command.
type tty struct {
	*served
	term *terminal.Process
	spec terminal.Spec // of what will run on it, but for the size
}

func (p *tty) prepare() (err error) {
	if p.term, p.spec, err = p.startTerminal(); err != nil {
		return fmt.Errorf("%s: %w", unableToStart, err)
	}
	return nil
}

func (p *tty) serve(ctx, life context.Context, g channel.Greeting) error {
	p.spec.Rows, p.spec.Cols = shell.Cap(g.Size.Rows), shell.Cap(g.Size.Cols)
	if err := p.term.Open(p.spec); err != nil {
		return fmt.Errorf("%s: %w", unableToStart, err)
	}
	return p.attend(ctx, life, g)
}

func (p *tty) release() {
	if p.term != nil {
		p.closeTerminal(p.term)
	}
}

// attend carries bytes until the shell or the session ends.
func (p *tty) attend(ctx, life context.Context, g channel.Greeting) error {
	printed := make(chan struct{})
	p.wg.Go(func() {
		defer close(printed)
		p.print(life)
	})
	if err := p.begin(g); err == nil {
		p.wg.Go(func() { p.input(life) })
	}
	select {
	case <-printed:
	case <-life.Done():
		p.term.Hangup()
		t := p.Clock.NewTimer(hangupWithin)
		defer t.Stop()
		select {
		case <-printed:
		case <-t.C():
			p.log.Warn("the session's processes do not end in time, their terminal is killed")
		}
		return p.outcome(ctx, context.Cause(life))
	}
	exit, ok := p.term.Exit()
	switch {
	case life.Err() != nil:
		return p.outcome(ctx, context.Cause(life))
	case !ok:
		return errors.New("the session is lost: the process of its terminal was ended from outside")
	case !exit.Started:
		return fmt.Errorf("%s: %s", unableToStart, exit.Error)
	case exit.Error != "":
		p.log.Warn("the terminal's end", "error", exit.Error)
	}
	p.wg.Go(func() { _ = p.record(session.Result{Status: session.Success}) }) // while the client takes the rest
	p.ch.Finish(life, exit.Code)
	p.farewell(life)
	return nil
}

// begin types what comes before the client's input.
func (p *tty) begin(g channel.Greeting) error {
	if profile := p.req.Inputs.ShellProfile.Linux; len(profile) > 0 && p.req.Type == mgs.SessionStandardStream {
		if err := p.term.Type([]byte(profile + "\n")); err != nil {
			return err
		}
	}
	if g.First == nil {
		return nil
	}
	return p.typed(*g.First)
}

// print hands on what the terminal prints until its end. When nobody is left
// to print for, the rest is thrown away: a terminal that is not read does not
// end.
func (p *tty) print(life context.Context) {
	lost := false
	for {
		b, err := p.term.Read()
		if err != nil {
			return
		}
		if len(b) > 0 && !lost {
			lost = p.ch.Write(life, b) != nil
		}
	}
}

// input types what the client sends.
func (p *tty) input(life context.Context) {
	for {
		in, err := p.ch.Next(life)
		if err != nil || p.typed(in) != nil {
			return
		}
	}
}

func (p *tty) typed(in channel.Payload) error {
	switch in.Type {
	case mgs.PayloadOutput:
		return p.term.Type(in.Bytes)
	case mgs.PayloadSize:
		size, err := mgs.Decode[mgs.Size](in.Bytes)
		if err != nil || size.Cols == 0 || size.Rows == 0 {
			return nil // no size
		}
		return p.term.Resize(shell.Cap(size.Rows), shell.Cap(size.Cols))
	}
	return nil // not for terminals, as stock
}
