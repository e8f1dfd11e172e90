package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"ssmagent/internal/client"
	"ssmagent/internal/wire/mgs"
)

// piped is a session between our standard streams and a node: bytes only, no
// terminal.
type piped struct {
	s       streams
	verb    string
	session opened
	// begin says, once the peer is known, whether input is to be sent.
	begin func(client.Peer) bool
	// inputEnd is called when the input has ended, and interrupt when we are
	// asked to end; that one says whether the session may end by itself then.
	inputEnd  func(ctx context.Context)
	interrupt func(ctx context.Context) bool
	out       io.Writer // of what the node sends; nil: s.out

	connection connection
	exit       *mgs.Exit // the agent's word
}

// told hears of the connection.
func (p *piped) told(e client.Event) {
	switch lost, back := p.connection.hear(e); {
	case lost:
		p.s.failf(p.verb, "the connection is lost, reconnecting: %s", visible(e.Err.Error()))
	case back:
		p.s.failf(p.verb, "connected again")
	}
}

// run works the session to its end. The error is our output's.
func (p *piped) run(ctx context.Context) error {
	// The session has its own context: it is to be ended, not left alone.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.session.Run(run) })
	wg.Go(func() { p.await(ctx, run) })
	wg.Go(func() { p.start(run) })
	err := p.output(run)
	if err != nil {
		p.leave(ctx)
	}
	stop()
	wg.Wait()
	return err
}

// await ends the session when ctx ends.
func (p *piped) await(ctx, run context.Context) {
	select {
	case <-run.Done():
		return
	case <-ctx.Done():
	}
	if p.interrupt != nil {
		grace, done := context.WithTimeout(run, leaveWithin)
		defer done()
		if p.interrupt(grace) {
			select {
			case <-p.session.Done():
				return
			case <-grace.Done():
			}
		}
	}
	p.leave(ctx)
}

// leave ends the session, also when ctx is over.
func (p *piped) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	if err := p.session.Leave(ctx); err != nil {
		p.s.failf(p.verb, "session %s could not be terminated, it ends when it has been idle for long enough: %v", p.session.id, err)
	}
}

// start lets input begin when the peer is known.
func (p *piped) start(ctx context.Context) {
	select {
	case <-p.session.Ready():
	case <-p.session.Done():
		if p.session.Peer().AgentVersion == "" {
			return
		}
	case <-ctx.Done():
		return
	}
	if p.begin(p.session.Peer()) {
		go p.input(ctx) // nothing ends a read of the standard input
	}
}

// input sends what we are given.
func (p *piped) input(ctx context.Context) {
	if feed(ctx, p.session.Session, p.s.in) {
		p.inputEnd(ctx)
	}
}

// output writes what comes until the session ends. The error is the output's.
func (p *piped) output(ctx context.Context) error {
	out := p.out
	if out == nil {
		out = p.s.out
	}
	for {
		m, err := p.session.Next(ctx)
		if err != nil {
			return nil // the end
		}
		switch m.Type {
		case mgs.PayloadOutput:
			_, err = out.Write(m.Payload)
		case mgs.PayloadStdErr:
			_, err = p.s.err.Write(m.Payload)
		case mgs.PayloadExitCode:
			if e, perr := mgs.ParseExit(m.Payload); perr == nil {
				p.exit = &e
			}
		case mgs.PayloadFlag:
			if f, ferr := mgs.DecodeFlag(m.Payload); ferr == nil && f == mgs.FlagConnectToPortError {
				p.s.failf(p.verb, "the node could not connect to the destination")
			}
		case mgs.PayloadHandshakeComplete:
			p.s.failf(p.verb, "%s", visible(strings.TrimSpace(string(m.Payload))))
		}
		if err != nil {
			return fmt.Errorf("write the output: %w", err)
		}
	}
}

// ended says how the session ended when that was not as it should; false: it
// was.
func (p *piped) ended(outErr error) bool {
	end := p.session.End()
	switch {
	case outErr != nil:
		if !errors.Is(outErr, os.ErrClosed) {
			p.s.failf(p.verb, "%v", outErr)
		}
		return true
	case end.Reason == client.Closed && end.Text == "":
		return false
	case end.Reason == client.Left:
		return true
	}
	p.s.failf(p.verb, "session %s: %s", p.session.id, visible(end.Text))
	return true
}

// flag sends a flag; a session that is over does not need it.
func (p *piped) flag(ctx context.Context, f mgs.Flag) bool {
	return p.session.Write(ctx, mgs.PayloadFlag, f.Encode()) == nil
}
