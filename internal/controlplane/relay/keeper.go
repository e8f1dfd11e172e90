package relay

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/sessions"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// Times of a socket.
const (
	// pingEvery is the pause between pings. Stock agents are sent a pong with
	// each while their own pings cannot be read; they wait 60 s for one.
	pingEvery = 25 * time.Second
	// silence is how long a peer may give no sign, busySilence how long one
	// that has something to do first, such as writing to a stopped terminal.
	silence     = 75 * time.Second
	busySilence = 10 * time.Minute
	// pauseAfter is how long a client may be away before its agent is told.
	pauseAfter = time.Second
	// linger is how long an agent that ended its session may take to close
	// its socket, after all that it sent.
	linger = 500 * time.Millisecond
	// farewell is how long a side may take for its last frame, and a client
	// to go after it; drain is how long an agent may take.
	farewell = 5 * time.Second
	drain    = 30 * time.Second
)

// keeper does for one socket what does not hang on what its peer sends.
type keeper struct {
	r      *Relay
	c      *channel
	s      *socket
	paused bool        // the agent was told that its client is away
	pause  clock.Timer // nil unless it is about to be told
	bye    clock.Timer // nil unless the socket is about to be closed
	said   bool        // the last frame is out
}

// run keeps the socket until it is closed.
func (k *keeper) run(ctx context.Context) {
	ping := k.r.opt.Clock.NewTimer(pingEvery)
	defer ping.Stop()
	defer func() { stop(k.pause); stop(k.bye) }()
	for {
		v := k.c.view()
		if err := k.follow(v); err != nil {
			k.c.detach(k.s)
			return
		}
		var err error
		select {
		case <-v.changed:
		case b := <-k.s.extra:
			err = k.s.send(b)
		case payload := <-k.s.pongs:
			err = k.s.pong(payload)
		case <-ping.C():
			err = k.ping()
			ping.Reset(pingEvery)
		case <-timer(k.pause):
			k.pause = nil
			err = k.tell(mgs.TypePausePublication, true)
		case <-timer(k.bye):
			err = errClosed
		case <-k.s.done:
			return
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			k.s.log.Debug("relay: socket closed", "cause", err)
			k.c.detach(k.s)
			return
		}
	}
}

func timer(t clock.Timer) <-chan time.Time {
	if t == nil {
		return nil
	}
	return t.C()
}

func stop(t clock.Timer) {
	if t != nil {
		t.Stop()
	}
}

// follow does what the state of the channel asks for.
func (k *keeper) follow(v view) error {
	if v.end != nil {
		stop(k.pause)
		k.pause = nil
		return k.leave(v)
	}
	if !k.s.agent {
		return nil
	}
	switch {
	case v.away && !k.paused && k.pause == nil:
		k.pause = k.r.opt.Clock.NewTimer(pauseAfter)
	case !v.away && k.pause != nil:
		stop(k.pause)
		k.pause = nil
	case !v.away && k.paused:
		return k.tell(mgs.TypeStartPublication, false)
	}
	return nil
}

// tell has an agent pause or go on. With a client that came back meanwhile,
// follow corrects it.
func (k *keeper) tell(messageType string, paused bool) error {
	b, err := frame.New(messageType, k.r.opt.Clock.Now(), nil).Marshal()
	if err != nil {
		return err
	}
	k.paused = paused
	return k.s.send(b)
}

// leave ends the socket of a session that is over.
func (k *keeper) leave(v view) error {
	now := k.r.opt.Clock
	switch {
	case k.said:
		return nil
	case v.end.byAgent && k.s.agent:
		// The agent closes its side when all is out.
		k.said, k.bye = true, now.NewTimer(linger)
		return nil
	case v.end.byAgent && v.agent != nil:
		return nil // more output may come
	case v.end.byAgent && !v.end.complete:
		k.c.complete()
	}
	k.said, k.bye = true, now.NewTimer(farewell)
	text := v.end.text
	if k.s.agent {
		text = ""
		k.bye.Reset(drain)
	}
	k.s.link.hasten(farewell)
	b, err := closed(now.Now(), k.c.id, text)
	if err != nil {
		return err
	}
	return k.s.send(b)
}

// closed is the frame that ends a session for a side.
func closed(now time.Time, id, text string) ([]byte, error) {
	payload, err := json.Marshal(sessions.Closed(now, id, "", text))
	if err != nil {
		return nil, err
	}
	return frame.New(mgs.TypeChannelClosed, now, payload).Marshal()
}

var errSilent = errors.New("the peer gives no sign any more")

// ping asks for a sign, unless there was none for too long.
func (k *keeper) ping() error {
	quiet := k.r.opt.Clock.Now().Sub(time.Unix(0, k.s.heard.Load()))
	held := k.s.held.Load()
	owes := k.c.out
	if k.s.agent {
		owes = k.c.in
	}
	switch {
	case held: // its signs are not being read
	case quiet > busySilence, quiet > silence && !owes.owed():
		return errSilent
	}
	if held {
		if err := k.s.control(messagePong, nil); err != nil {
			return err
		}
	}
	return k.s.control(messagePing, []byte("keepalive"))
}
