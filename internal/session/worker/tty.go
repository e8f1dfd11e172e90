package worker

import (
	"context"
	"fmt"
	"sync"

	"ssmagent/internal/environ"
	"ssmagent/internal/session/channel"
	"ssmagent/internal/wire/mgs"
	"ssmagent/shell"
)

// tty is a program on a terminal: a shell, or an interactive command.
type tty struct {
	held

	wmu  sync.Mutex // held while writing to the client
	said bool       // there is nothing more to say to it

	typing sync.Mutex // held from typing until that is recorded
}

func (p *tty) prepare(life context.Context) error {
	if err := p.start(life); err != nil {
		return fmt.Errorf("%s: %w", unableToStart, err)
	}
	return nil
}

func (p *tty) serve(ctx, life context.Context, g channel.Greeting) error {
	p.spec.Rows, p.spec.Cols = shell.Cap(g.Size.Rows), shell.Cap(g.Size.Cols)
	if err := p.open(life); err != nil {
		return fmt.Errorf("%s: %w", unableToStart, err)
	}
	if err := p.recorded(life); err != nil { // while the program starts
		return err
	}
	if why := p.kept.Unstreamed(); why != nil {
		p.tell(life, fmt.Sprintf("this session is not streamed to CloudWatch Logs: %v", why))
	}
	if why := p.loaded.Poor; why != nil {
		p.tell(life, why.Error())
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
	p.wmu.Lock()
	p.said = true
	p.wmu.Unlock()
	p.ch.Finish(life, told)
	p.farewell(life)
	return nil
}

// recorded has the terminal recorded, and the person told when that fails.
func (p *tty) recorded(life context.Context) error {
	cols, rows := p.spec.Cols, p.spec.Rows
	if cols == 0 || rows == 0 { // a client without a size: the terminal has this one
		cols, rows = shell.DefaultCols, shell.DefaultRows
	}
	return p.traces.record(cols, rows, environ.Get(p.spec.Env, "TERM"), p.spec.Path, func(notice string, fatal error) {
		if fatal != nil {
			p.kill(fatal)
			return
		}
		p.wg.Go(func() { _ = p.write(life, []byte(notice)) })
	})
}

// tell tells the person something of ours.
func (p *tty) tell(life context.Context, what string) {
	p.wg.Go(func() { _ = p.write(life, []byte("\r\n[ssmagent: "+what+"]\r\n")) })
}

// write sends what is printed to the client.
func (p *tty) write(life context.Context, b []byte) error {
	p.wmu.Lock()
	defer p.wmu.Unlock()
	if p.said {
		return nil
	}
	return p.ch.Write(life, b)
}

// print hands on what the terminal prints until its end. When nobody is left
// to print for, the rest is thrown away: a terminal that is not read does not
// end.
func (p *tty) print(life context.Context) {
	lost := false
	for {
		b, err := p.proc.Read()
		if err != nil {
			// What ended the program may have been typed just now. Nobody takes
			// anything any more, so this does not wait for a program.
			p.typing.Lock()
			defer p.typing.Unlock()
			return
		}
		p.traces.sent(b)
		p.kept.Write(b)
		if len(b) > 0 && !lost {
			lost = p.write(life, b) != nil
		}
	}
}

// input types the profile, and then what the client sends.
func (p *tty) input(life context.Context, g channel.Greeting) {
	if profile := p.profile(); profile != "" && p.req.Type == mgs.SessionStandardStream {
		if p.proc.Type([]byte(profile)) != nil {
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
		p.traces.received(len(in.Bytes))
		if !p.traces.want.Input {
			return p.proc.Type(p.keys(in.Bytes))
		}
		p.typing.Lock()
		defer p.typing.Unlock()
		shown, err := p.proc.TypeShown(p.keys(in.Bytes))
		if shown {
			p.traces.typed(in.Bytes)
		}
		return err
	case mgs.PayloadSize:
		size, err := mgs.Decode[mgs.Size](in.Bytes)
		if err != nil || size.Cols == 0 || size.Rows == 0 {
			return nil // no size
		}
		cols, rows := shell.Cap(size.Cols), shell.Cap(size.Rows)
		p.traces.resized(cols, rows)
		return p.proc.Resize(rows, cols)
	}
	return nil // not for terminals, as stock
}
