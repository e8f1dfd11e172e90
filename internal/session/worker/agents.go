package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/link"
	"ssmagent/internal/session"
)

// tellPatience bounds how long an agent may keep the worker waiting.
const tellPatience = 5 * time.Second

// agents are those who listen to the worker, the one that started it and those
// that found it later, and what they have told it.
type agents struct {
	*link.Purse
	run   chan struct{} // closed by the order to run
	gone  chan struct{} // closed when the agent that started us went
	ended chan struct{} // closed by the order to terminate

	mu      sync.Mutex
	stdout  io.Writer // nil once it failed
	later   map[net.Conn]struct{}
	ran     bool
	stopped bool
	over    bool // the result is on disk
	handing bool // the session's log is on its way
	late    bool // the order was to hand on a log only
}

func newAgents(stdout io.Writer, c clock.Clock) *agents {
	a := &agents{
		run: make(chan struct{}), gone: make(chan struct{}), ended: make(chan struct{}),
		stdout: stdout, later: map[net.Conn]struct{}{},
	}
	// An agent sends the first credentials unasked.
	a.Purse = link.NewPurse(c, true, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.tell(session.Event{Credentials: true})
	})
	return a
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
		a.ran, a.late = true, o.HandOn
		close(a.run)
	}
	if o.Terminate && !a.stopped {
		a.stopped = true
		close(a.ended)
	}
	a.Put(o.Credentials, o.Refused)
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
		if a.Wanting() {
			a.write(c, session.Event{Credentials: true})
		}
		if a.handing {
			a.write(c, session.Event{Uploading: true})
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

// isLate says whether the session is over, and only its log is to be handed on.
func (a *agents) isLate() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.late
}

// uploading asks for time to hand on the session's log.
func (a *agents) uploading() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handing = true
	a.tell(session.Event{Uploading: true})
}

// end is the worker's last word.
func (a *agents) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	a.tell(session.Event{End: true})
}
