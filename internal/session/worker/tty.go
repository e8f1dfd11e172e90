package worker

import (
	"context"
	"fmt"

	"ssmagent/internal/session/channel"
	"ssmagent/internal/wire/mgs"
	"ssmagent/shell"
)

// tty is a program on a terminal: a shell, or an interactive command.
type tty struct{ held }

func (p *tty) prepare() error {
	if err := p.start(); err != nil {
		return fmt.Errorf("%s: %w", unableToStart, err)
	}
	return nil
}

func (p *tty) serve(ctx, life context.Context, g channel.Greeting) error {
	p.spec.Rows, p.spec.Cols = shell.Cap(g.Size.Rows), shell.Cap(g.Size.Cols)
	if err := p.proc.Open(p.spec); err != nil {
		return fmt.Errorf("%s: %w", unableToStart, err)
	}
	exit, over, err := p.attend(ctx, life, p.print, func(life context.Context) { p.input(life, g) })
	switch {
	case over:
		return err
	case err != nil:
		return fmt.Errorf("%s: %w", unableToStart, err)
	}
	var told *mgs.Exit // stock clients would print it
	if g.Peer.Ours {
		told = &exit
	}
	p.ch.Finish(life, told)
	p.farewell(life)
	return nil
}

// print hands on what the terminal prints until its end. When nobody is left
// to print for, the rest is thrown away: a terminal that is not read does not
// end.
func (p *tty) print(life context.Context) {
	lost := false
	for {
		b, err := p.proc.Read()
		if err != nil {
			return
		}
		if len(b) > 0 && !lost {
			lost = p.ch.Write(life, b) != nil
		}
	}
}

// input types the profile, and then what the client sends.
func (p *tty) input(life context.Context, g channel.Greeting) {
	if profile := p.req.Inputs.ShellProfile.Linux; len(profile) > 0 && p.req.Type == mgs.SessionStandardStream {
		if p.proc.Type([]byte(profile+"\n")) != nil {
			return
		}
	}
	if g.First != nil && p.typed(*g.First) != nil {
		return
	}
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
		return p.proc.Type(in.Bytes)
	case mgs.PayloadSize:
		size, err := mgs.Decode[mgs.Size](in.Bytes)
		if err != nil || size.Cols == 0 || size.Rows == 0 {
			return nil // no size
		}
		return p.proc.Resize(shell.Cap(size.Rows), shell.Cap(size.Cols))
	}
	return nil // not for terminals, as stock
}
