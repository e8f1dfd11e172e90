package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/clock"
	"ssmagent/internal/link"
	"ssmagent/internal/session"
)

// tellPatience bounds how long an agent may keep the worker waiting.
const tellPatience = 5 * time.Second

// freshFor is how long credentials must still be valid not to be renewed.
const freshFor = time.Minute

// agents are those who listen to the worker, the one that started it and those
// that found it later, and what they have told it.
type agents struct {
	clock clock.Clock
	run   chan struct{} // closed by the order to run
	gone  chan struct{} // closed when the agent that started us went
	ended chan struct{} // closed by the order to terminate

	mu      sync.Mutex
	stdout  io.Writer // nil once it failed
	later   map[net.Conn]struct{}
	ran     bool
	stopped bool
	over    bool // the result is on disk

	creds   session.Credentials
	have    bool
	wanting bool          // whoever is there is to send credentials
	refused string        // why the last answer was none
	news    chan struct{} // closed and replaced with every answer
}

func newAgents(stdout io.Writer, c clock.Clock) *agents {
	return &agents{
		clock: c, run: make(chan struct{}), gone: make(chan struct{}), ended: make(chan struct{}),
		stdout: stdout, later: map[net.Conn]struct{}{}, news: make(chan struct{}),
		wanting: true, // an agent sends the first ones unasked
	}
}

// quietPipes lets a write to a pipe whose reader went be an error instead of
// our death. A handler, not "ignore", which the shell would inherit.
func quietPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// hear reads the orders of the agent that started the worker. Its going is
// not the worker's.
func (a *agents) hear(r io.Reader) {
	defer close(a.gone)
	a.orders(r)
}

func (a *agents) awaitRun(ctx context.Context) error {
	select {
	case <-a.run:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-a.gone:
		select { // an order that was written before the agent went counts
		case <-a.run:
			return nil
		default:
			return errUntold
		}
	}
}

func (a *agents) orders(r io.Reader) {
	s := bufio.NewReaderSize(r, 4096)
	for {
		line, err := link.ReadLine(s, session.MaxLine)
		var o session.Order
		if err != nil || json.Unmarshal(line, &o) != nil {
			return
		}
		a.take(o)
	}
}

func (a *agents) take(o session.Order) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o.Run && !a.ran {
		a.ran = true
		close(a.run)
	}
	if o.Terminate && !a.stopped {
		a.stopped = true
		close(a.ended)
	}
	if o.Credentials != nil {
		a.creds, a.have = *o.Credentials, true
	}
	if o.Credentials != nil || o.Refused != "" {
		a.refused, a.wanting = o.Refused, false
		close(a.news)
		a.news = make(chan struct{})
	}
}

// accept takes in later agents. Each is told what it missed.
func (a *agents) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		a.mu.Lock()
		a.later[c] = struct{}{}
		if a.wanting {
			a.write(c, session.Event{Credentials: true})
		}
		if a.over {
			a.write(c, session.Event{End: true})
		}
		a.mu.Unlock()
		go func() {
			a.orders(c)
			a.mu.Lock()
			delete(a.later, c)
			a.mu.Unlock()
			_ = c.Close()
		}()
	}
}

// tell writes an event to every listener. Who cannot be told is dropped. With
// a.mu.
func (a *agents) tell(ev session.Event) {
	if a.stdout != nil && link.WriteLine(a.stdout, ev) != nil {
		a.stdout = nil
	}
	for c := range a.later {
		a.write(c, ev)
	}
}

func (a *agents) write(c net.Conn, ev session.Event) {
	_ = c.SetWriteDeadline(time.Now().Add(tellPatience))
	if link.WriteLine(c, ev) != nil {
		delete(a.later, c)
		_ = c.Close()
	}
}

// end is the worker's last word.
func (a *agents) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	a.tell(session.Event{End: true})
}

// Retrieve implements aws.CredentialsProvider: what the agent sent while it is
// valid, else what this or the next agent sends until ctx ends.
func (a *agents) Retrieve(ctx context.Context) (aws.Credentials, error) {
	for asked := false; ; {
		a.mu.Lock()
		if c, left := a.creds, a.left(); left > 0 {
			if left < freshFor {
				a.want() // for the next time
			}
			a.mu.Unlock()
			return aws.Credentials{
				AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken,
				CanExpire: !c.Expires.IsZero(), Expires: c.Expires,
			}, nil
		}
		if asked && !a.wanting {
			err := errors.New("the agent's credentials have expired")
			if a.refused != "" {
				err = fmt.Errorf("the agent has no credentials: %s", a.refused)
			}
			a.mu.Unlock()
			return aws.Credentials{}, err
		}
		asked = true
		a.want()
		news := a.news
		a.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return aws.Credentials{}, fmt.Errorf("wait for the agent's credentials: %w", context.Cause(ctx))
		}
	}
}

// left is how long the credentials are valid. With a.mu.
func (a *agents) left() time.Duration {
	switch {
	case !a.have:
		return 0
	case a.creds.Expires.IsZero():
		return freshFor
	}
	return a.creds.Expires.Sub(a.clock.Now())
}

// want asks whoever is there, or comes, for credentials. With a.mu.
func (a *agents) want() {
	if !a.wanting {
		a.wanting = true
		a.tell(session.Event{Credentials: true})
	}
}

// Invalidate drops credentials that the service does not take any more.
func (a *agents) Invalidate() {
	a.mu.Lock()
	a.have = false
	a.mu.Unlock()
}
