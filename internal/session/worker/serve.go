package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
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

// served is one session.
type served struct {
	Deps
	dir    session.Dir
	req    session.Request
	agents *agents
	log    *slog.Logger

	ch     *channel.Channel
	term   *terminal.Process
	leave  func() // closes the data channel
	wg     sync.WaitGroup
	once   sync.Once
	recErr error
}

// guarded is serve with panics as results.
func (s *served) guarded(ctx context.Context) (r session.Result) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("the session's worker broke down", "panic", p, "stack", string(debug.Stack()))
			r = session.Result{Status: session.Failed, Output: fmt.Sprintf("the session's worker broke down: %v", p)}
		}
	}()
	err := s.serve(ctx)
	if err != nil {
		s.log.Warn("the session failed", "error", err)
		return session.Result{Status: session.Failed, Output: err.Error()}
	}
	return session.Result{Status: session.Success}
}

// record makes the result durable, once.
func (s *served) record(r session.Result) error {
	s.once.Do(func() { s.recErr = s.dir.Finish(r) })
	return s.recErr
}

// release gives back what the session holds, when its end has been told.
func (s *served) release() {
	if s.leave != nil {
		s.leave()
	}
	if s.term != nil {
		ctx, done := context.WithTimeout(context.Background(), closeWithin)
		defer done()
		if err := s.term.Close(ctx); err != nil {
			s.log.Warn("end the terminal's process", "error", err)
		}
	}
	s.wg.Wait()
}

// serve is the session from its beginning to its end. nil is success.
func (s *served) serve(ctx context.Context) error {
	// life ends when the service or somebody here ends the session.
	life, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	s.wg.Go(func() {
		select {
		case <-s.agents.ended:
			kill(channel.ErrGone)
		case <-life.Done():
		}
	})
	if err := s.connect(life); err != nil {
		return err
	}
	s.wg.Go(func() { // while the channel opens
		<-s.ch.Done()
		kill(channel.ErrGone)
	})
	spec, err := s.startTerminal()
	if err != nil {
		return fmt.Errorf("unable to start the shell: %w", err)
	}
	g, err := s.ch.Greet(life)
	if err != nil {
		return s.outcome(ctx, err)
	}
	s.log.Info("session opened", "client", g.Peer.Version, "ours", g.Peer.Ours, "handshake", g.Peer.Answered)
	spec.Rows, spec.Cols = shell.Cap(g.Size.Rows), shell.Cap(g.Size.Cols)
	if err := s.term.Open(spec); err != nil {
		return fmt.Errorf("unable to start the shell: %w", err)
	}
	return s.attend(ctx, life, g)
}

// attend carries bytes until the shell or the session ends.
func (s *served) attend(ctx, life context.Context, g channel.Greeting) error {
	printed := make(chan struct{})
	s.wg.Go(func() {
		defer close(printed)
		s.print(life)
	})
	if err := s.begin(g); err == nil {
		s.wg.Go(func() { s.input(life) })
	}
	select {
	case <-printed:
	case <-life.Done():
		s.term.Hangup()
		t := s.Clock.NewTimer(hangupWithin)
		defer t.Stop()
		select {
		case <-printed:
		case <-t.C():
			s.log.Warn("the session's processes do not end in time, their terminal is killed")
		}
		return s.outcome(ctx, context.Cause(life))
	}
	exit, ok := s.term.Exit()
	switch {
	case life.Err() != nil:
		return s.outcome(ctx, context.Cause(life))
	case !ok:
		return errors.New("the session is lost: the process of its terminal was ended from outside")
	case !exit.Started:
		return fmt.Errorf("unable to start the shell: %s", exit.Error)
	case exit.Error != "":
		s.log.Warn("the terminal's end", "error", exit.Error)
	}
	s.wg.Go(func() { _ = s.record(session.Result{Status: session.Success}) }) // while the client takes the rest
	s.ch.Finish(life, exit.Code)
	s.ch.Drain(life)
	if err := s.ch.State(mgs.SessionTerminating); err != nil {
		s.log.Warn("tell the session's end", "error", err)
	}
	s.ch.Settle()
	return nil
}

// begin types what comes before the client's input.
func (s *served) begin(g channel.Greeting) error {
	if profile := s.req.Inputs.ShellProfile.Linux; len(profile) > 0 {
		if err := s.term.Type([]byte(profile + "\n")); err != nil {
			return err
		}
	}
	if g.First == nil {
		return nil
	}
	return s.typed(*g.First)
}

// print hands on what the terminal prints until its end. When nobody is left
// to print for, the rest is thrown away: a terminal that is not read does not
// end.
func (s *served) print(life context.Context) {
	lost := false
	for {
		b, err := s.term.Read()
		if err != nil {
			return
		}
		if len(b) > 0 && !lost {
			lost = s.ch.Write(life, b) != nil
		}
	}
}

// input types what the client sends.
func (s *served) input(life context.Context) {
	for {
		p, err := s.ch.Next(life)
		if err != nil || s.typed(p) != nil {
			return
		}
	}
}

func (s *served) typed(p channel.Payload) error {
	switch p.Type {
	case mgs.PayloadOutput:
		return s.term.Type(p.Bytes)
	case mgs.PayloadSize:
		size, err := mgs.Decode[mgs.Size](p.Bytes)
		if err != nil || size.Cols == 0 || size.Rows == 0 {
			return nil // no size
		}
		return s.term.Resize(shell.Cap(size.Rows), shell.Cap(size.Cols))
	}
	return nil // not for terminals, as stock
}

// outcome is what an early end means: nil for one that the service wanted.
func (s *served) outcome(ctx context.Context, err error) error {
	if cerr := s.ch.Err(); cerr != nil {
		err = cerr
	}
	switch {
	case errors.Is(err, channel.ErrUnreachable):
		return fmt.Errorf("Setting up data channel with id %s failed: %w", s.req.ID, err) //nolint:staticcheck // as stock agents begin it
	case errors.Is(err, channel.ErrRefused):
		return err
	case errors.Is(err, channel.ErrGone), ctx.Err() != nil:
		return nil
	}
	return err
}
