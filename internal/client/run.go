package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/backoff"
	"ssmagent/internal/secret"
	"ssmagent/internal/socket"
	"ssmagent/internal/stream"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// policy holds the times of a session.
type policy struct {
	pingEvery     time.Duration
	pongWithin    time.Duration
	suspectAfter  time.Duration // silence, with something to be acknowledged
	dialWithin    time.Duration
	resumeWithin  time.Duration
	retry         backoff.Policy
	firstTries    int           // connections tried before there ever was one
	refusedWithin time.Duration // for the agent to end what we turned down
	leaveWithin   time.Duration // for the channel to be closed after TerminateSession
}

var defaultPolicy = policy{
	pingEvery: 25 * time.Second, pongWithin: 15 * time.Second, suspectAfter: 4 * time.Second,
	dialWithin: 30 * time.Second, resumeWithin: 30 * time.Second,
	retry:      backoff.Policy{First: 100 * time.Millisecond, Cap: 10 * time.Second, Factor: 2, Jitter: 0.5, ResetAfter: 5 * time.Second},
	firstTries: 6, refusedWithin: 5 * time.Second, leaveWithin: time.Second,
}

// Run connects and keeps the session going until it ends: then it returns nil,
// and End says how. When ctx ends first, the session is left alone, as it is,
// and ctx's cause returned. A second call fails.
func (s *Session) Run(ctx context.Context) error {
	first := false
	s.started.Do(func() { first = true })
	if !first {
		return errors.New("client: Run was called before")
	}
	defer s.keys.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s.timer = s.opt.Clock.NewTimer(time.Hour)
	defer s.timer.Stop()
	s.mu.Lock()
	s.stop, s.run = stop, ctx
	s.mu.Unlock()
	if s.over() { // before it began
		return nil
	}
	s.connect(ctx)
	if s.over() {
		s.abandon(ctx)
		return nil
	}
	err := context.Cause(ctx)
	s.finish(End{Reason: Failed, Text: err.Error()})
	return err
}

// connect opens one connection after the other until the session ends or ctx.
func (s *Session) connect(ctx context.Context) {
	token, failures, ever := s.opt.Token, 0, false
	for {
		conn, err := s.open(ctx, token)
		if err == nil {
			ever = true
			s.opt.Notify(Event{Kind: Connected})
			var good bool
			if good, err = s.serve(ctx, conn); good {
				failures = 0
			}
			if ctx.Err() != nil || s.over() {
				return
			}
			s.opt.Log.Info("the connection of the session is lost", "session", s.opt.SessionID, "error", err)
			s.opt.Notify(Event{Lost, err})
		}
		for {
			if ctx.Err() != nil || s.over() {
				return
			}
			if failures++; !ever && failures >= s.policy.firstTries {
				s.finish(End{Failed, fmt.Sprintf("the session's address cannot be reached: %v", err)})
				return
			}
			if failures > 1 {
				s.opt.Notify(Event{Retrying, err})
			}
			if backoff.Wait(ctx, s.opt.Clock, s.delay(failures)) != nil {
				return
			}
			if token, err = s.resume(ctx); err == nil {
				break
			}
		}
		if token == "" {
			s.finish(End{Reason: TimedOut, Text: "the service no longer knows the session"})
			return
		}
	}
}

// delay spreads also the first attempt: many clients lose a gateway at once.
func (s *Session) delay(failures int) time.Duration {
	if failures == 1 {
		return s.policy.retry.Delay(0, nil) - s.policy.retry.First
	}
	return s.policy.retry.Delay(failures-2, nil)
}

func (s *Session) resume(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.policy.resumeWithin)
	defer cancel()
	token, err := s.opt.Resume(ctx)
	if errors.Is(err, ErrGone) {
		return "", nil
	}
	return token, err
}

// open dials and sends the first message.
func (s *Session) open(ctx context.Context, token string) (*socket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.policy.dialWithin)
	defer cancel()
	o := socket.Options{Transport: s.opt.Transport, ReadLimit: frame.MaxSize}
	if s.opt.Header != nil {
		h, err := s.opt.Header(ctx, s.opt.StreamURL)
		if err != nil {
			return nil, err
		}
		o.Header = h
	}
	hello, err := json.Marshal(mgs.OpenDataChannel{
		MessageSchemaVersion: mgs.SchemaVersion, RequestId: uuid.NewString(), TokenValue: secret.Text(token),
		ClientId: s.clientID, ClientVersion: s.opt.ClientVersion,
	})
	if err != nil {
		return nil, err
	}
	conn, err := socket.Dial(ctx, s.opt.StreamURL, o)
	if err != nil {
		return nil, err
	}
	if err := conn.WriteText(hello); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// serve works a connection until it breaks, the session ends or ctx. good says
// that the peer spoke on it, or that it lasted.
func (s *Session) serve(ctx context.Context, conn *socket.Conn) (good bool, err error) {
	opened := s.opt.Clock.Now()
	s.mu.Lock()
	s.link.Resume(opened)
	s.conn, s.armed, s.heard, s.spoke = conn, time.Time{}, opened, false
	s.mu.Unlock()

	g := newGroup(ctx)
	stop := context.AfterFunc(g.ctx, func() { _ = conn.Close() })
	g.spawn(func() error { return s.read(conn) })
	g.spawn(func() error { return s.write(g.ctx) })
	g.spawn(func() error { return s.ping(g.ctx, conn) })
	g.spawn(func() error { return s.giveUp(g.ctx) })
	signal(s.wake)
	err = g.wait()
	stop()
	_ = conn.Close()

	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = nil
	for s.writing { // on the closed connection: it ends at once
		s.idle.Wait()
	}
	return s.spoke || s.policy.retry.Lasted(s.opt.Clock.Now().Sub(opened)), err
}

// giveUp ends a session that we turned down and the agent does not end.
func (s *Session) giveUp(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.refused:
	}
	if backoff.Wait(ctx, s.opt.Clock, s.policy.refusedWithin) != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLocked(End{Failed, s.refusal})
	return ErrEnded
}

// read takes what comes until the connection breaks or the channel is closed.
func (s *Session) read(conn *socket.Conn) error {
	// As in the agent's channel: a digest serves the log alone.
	decode := frame.Unmarshal
	for {
		b, err := conn.Read()
		if err != nil {
			return err
		}
		m, err := decode(b)
		s.mu.Lock()
		now := s.opt.Clock.Now()
		s.heard, s.spoke = now, true
		var ev stream.Event
		if err != nil {
			s.complain("frame", err)
		} else {
			ev = s.take(now, m)
		}
		if s.peer.Ours {
			decode = frame.Trust
		}
		s.mu.Unlock()
		switch {
		case s.over():
			return ErrEnded
		case ev == stream.Data:
			signal(s.readable)
		case ev == stream.Acknowledged:
			signal(s.room)
		}
	}
}

// take makes of a frame what it is. With s.mu.
func (s *Session) take(now time.Time, m frame.Message) stream.Event {
	switch m.Type {
	case mgs.TypeChannelClosed:
		s.closed(m.Payload)
		return stream.Ignored
	case mgs.TypePausePublication, mgs.TypeStartPublication:
		return stream.Ignored // for agents; the stock client takes no notice either
	}
	ev, out, err := s.link.Handle(now, m)
	if out.BadDigest {
		s.complain("digest", errors.New("the digest is not that of the payload"))
	}
	switch {
	case err != nil:
		s.complain("stream", err)
	case ev == stream.Ignored:
		s.complain("type", fmt.Errorf("messages of type %q are ignored", m.Type))
	case ev == stream.Data:
		s.backlog = s.backlog || s.link.Waiting() > stream.DefaultAckAhead
		s.owe(now)
		if !s.shake.over {
			s.shakeHands(now)
			signal(s.wake)
		}
	case ev == stream.Acknowledged && (s.pushSize(now) || s.link.IsDue(now)):
		signal(s.wake)
	}
	return ev
}

func (s *Session) closed(payload []byte) {
	c, err := mgs.Decode[mgs.ChannelClosed](payload)
	if err != nil {
		s.complain("channel_closed", err) // it closes all the same
	}
	text := c.Output
	if text == "" {
		text = s.refusal
	}
	s.finishLocked(End{Closed, text})
}

// ping finds out whether the other side still answers: every now and then, and
// soon when nothing comes back though it should.
func (s *Session) ping(ctx context.Context, conn *socket.Conn) error {
	t := s.opt.Clock.NewTimer(s.policy.pingEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C():
		case <-s.suspect:
		}
		pctx, done := context.WithTimeout(ctx, s.policy.pongWithin)
		err := conn.Ping(pctx)
		done()
		if err != nil {
			return fmt.Errorf("no answer to a ping within %v: %w", s.policy.pongWithin, err)
		}
		s.mu.Lock()
		s.heard = s.opt.Clock.Now()
		s.mu.Unlock()
		t.Reset(s.policy.pingEvery)
	}
}

// Leave ends the session: TerminateSession, and then the end, whatever came of
// it. The error is TerminateSession's.
func (s *Session) Leave(ctx context.Context) error {
	var err error
	if s.opt.Terminate != nil && !s.over() {
		err = s.opt.Terminate(ctx)
	}
	if err == nil && !s.over() {
		t := s.opt.Clock.NewTimer(s.policy.leaveWithin)
		defer t.Stop()
		select {
		case <-s.done: // what was printed until then has come
		case <-t.C():
		case <-ctx.Done():
		}
	}
	s.finish(End{Reason: Left})
	return err
}
