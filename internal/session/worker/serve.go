package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"ssmagent/internal/session"
	"ssmagent/internal/session/channel"
	"ssmagent/internal/session/transcript"
	"ssmagent/internal/wire/mgs"
)

// program is what a session of one type runs.
type program interface {
	// prepare makes ready what the client need not be there for.
	prepare(life context.Context) error
	// serve runs the session once the client was greeted, until its own end or
	// life's, which served.outcome judges. nil is success.
	serve(ctx, life context.Context, g channel.Greeting) error
	// release gives back what the program holds, once its end has been told.
	release()
}

// newProgram makes the one of the session's type.
func (s *served) newProgram() (program, error) {
	switch s.req.Type {
	case mgs.SessionStandardStream, mgs.SessionInteractiveCommands:
		return &tty{held: held{served: s}}, nil
	case mgs.SessionNonInteractiveCommands:
		return &command{held: held{served: s}}, nil
	case mgs.SessionPort:
		return &forward{served: s}, nil
	}
	return nil, fmt.Errorf("session type %.64q is unknown to this version of ssmagent", s.req.Type)
}

// served is one session.
type served struct {
	Deps
	dir    session.Dir
	req    session.Request
	agents *agents
	log    *slog.Logger

	ch     *channel.Channel
	prog   program
	traces *traces
	user   string                  // account of what prepare started
	kill   context.CancelCauseFunc // ends the session
	leave  func()                  // closes the data channel
	kept   *transcript.Log         // nil: what is printed is not kept

	streamed func() // waits for the end of the log's streaming
	wg       sync.WaitGroup
	once     sync.Once
	recErr   error
}

// whole is the session with what is done of it when it is over.
func (s *served) whole(ctx context.Context) error {
	r := s.guarded(ctx)
	if err := s.record(r); err != nil {
		return err
	}
	return s.handOn(ctx, r)
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
	s.once.Do(func() {
		s.traces.end(r)
		s.recErr = s.dir.Finish(s.located(r))
	})
	return s.recErr
}

// release gives back what the session holds, when its end has been told.
func (s *served) release() {
	if s.leave != nil {
		s.leave()
	}
	if s.prog != nil {
		s.prog.release()
	}
	s.wg.Wait()
}

// serve is the session from its beginning to its end. nil is success.
func (s *served) serve(ctx context.Context) error {
	// life ends when the service or somebody here ends the session.
	life, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	s.kill = kill
	s.wg.Go(func() {
		select {
		case <-s.agents.ended:
			kill(channel.ErrGone)
		case <-life.Done():
		}
	})
	prog, err := s.newProgram()
	if err != nil {
		return err
	}
	if err := s.connect(life); err != nil {
		return err
	}
	s.wg.Go(func() { // while the channel opens
		<-s.ch.Done()
		kill(channel.ErrGone)
	})
	s.prog = prog
	if err := prog.prepare(life); err != nil {
		return err
	}
	s.traces.begin(s.user)
	if err := s.openLog(life); err != nil {
		return err
	}
	g, err := s.ch.Greet(life)
	if err != nil {
		return s.outcome(ctx, err)
	}
	if err := s.traces.await(); err != nil {
		return err
	}
	s.log.Info("session opened", "type", s.req.Type, "client", g.Peer.Version, "ours", g.Peer.Ours, "handshake", g.Peer.Answered)
	return prog.serve(ctx, life, g)
}

// farewell tells the client and the service of an end that came by itself,
// once the client has taken what there is.
func (s *served) farewell(life context.Context) {
	s.ch.Drain(life)
	if err := s.ch.State(mgs.SessionTerminating); err != nil {
		s.log.Warn("tell the session's end", "error", err)
	}
	s.ch.Settle()
}

// outcome is what an early end means: nil for one that the service wanted.
func (s *served) outcome(ctx context.Context, err error) error {
	if cerr := s.ch.Err(); cerr != nil {
		err = cerr
	}
	switch {
	case errors.Is(err, channel.ErrUnreachable):
		return fmt.Errorf("Setting up data channel with id %s failed: %w", s.req.ID, err) //nolint:staticcheck // as stock agents begin it
	case errors.Is(err, channel.ErrRefused), errors.Is(err, channel.ErrInsecure):
		return err
	case errors.Is(err, channel.ErrGone), ctx.Err() != nil:
		return nil
	}
	return err
}
