package worker

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/job"
	"ssmagent/internal/link"
)

// tellPatience bounds how long a later agent may keep the worker waiting; one
// that is slower reads the log.
const tellPatience = 5 * time.Second

// maxOrder bounds a line from an agent.
const maxOrder = 64 << 10

// agents are those who listen to one document: the one that started the
// worker, and those that found it later.
type agents struct {
	*link.Purse

	wg        sync.WaitGroup
	mu        sync.Mutex
	stdout    io.Writer // nil once it failed
	later     map[net.Conn]struct{}
	records   int  // told so far
	borrowed  bool // they were asked for credentials
	cancelled bool
	cancel    func()
	closed    bool
}

func newAgents(stdout io.Writer) *agents {
	a := &agents{stdout: stdout, later: map[net.Conn]struct{}{}}
	a.Purse = link.NewPurse(clock.Real{}, false, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.borrowed = true
		a.all(job.Event{Credentials: true})
	})
	return a
}

// quietPipes lets a write to a pipe whose reader went be an error instead of
// our death. A handler, not "ignore", which the scripts would inherit.
func quietPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// eachOrder reads an agent's orders until it goes, or says what is none.
func eachOrder(r io.Reader, obey func(job.Order)) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 512), maxOrder)
	for s.Scan() {
		var o job.Order
		if json.Unmarshal(s.Bytes(), &o) != nil {
			return
		}
		obey(o)
	}
}

// obey does what an agent wants of a document that runs.
func (a *agents) obey(o job.Order) {
	if o.Cancel {
		a.doCancel()
	}
	a.Put(o.Credentials, o.Refused)
}

func (a *agents) doCancel() {
	a.mu.Lock()
	a.cancelled = true
	f := a.cancel
	a.mu.Unlock()
	if f != nil {
		f()
	}
}

// onCancel calls f when an agent cancels, or at once if one has, until stop.
func (a *agents) onCancel(f func()) (stop func()) {
	a.mu.Lock()
	a.cancel = f
	now := a.cancelled
	a.mu.Unlock()
	if now {
		f()
	}
	return func() {
		a.mu.Lock()
		a.cancel = nil
		a.mu.Unlock()
	}
}

// listen has later agents heard at l until close.
func (a *agents) listen(l net.Listener) { a.wg.Go(func() { a.accept(l) }) }

// accept takes in later agents. Each hears what happens from now on; what was
// before it reads in the log.
func (a *agents) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		a.mu.Lock()
		if a.closed {
			a.mu.Unlock()
			_ = c.Close()
			continue
		}
		a.later[c] = struct{}{}
		a.write(c, job.Event{Hello: true, Seq: a.records})
		if a.Wanting() {
			a.write(c, job.Event{Credentials: true})
		}
		a.mu.Unlock()
		a.wg.Go(func() {
			eachOrder(c, a.obey)
			a.mu.Lock()
			delete(a.later, c)
			a.mu.Unlock()
			_ = c.Close()
		})
	}
}

// close ends the conversations about the document: nothing that is said later
// is heard, and nobody is told.
func (a *agents) close(l net.Listener) {
	_ = l.Close()
	a.mu.Lock()
	a.closed, a.stdout = true, nil
	for c := range a.later {
		_ = c.Close()
	}
	a.mu.Unlock()
	a.wg.Wait()
}

// tell tells every listener of a record, or of the end.
func (a *agents) tell(ev job.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.records = ev.Seq
	if !ev.End {
		a.records++
	}
	a.all(ev)
}

// all writes an event to every listener. Who cannot be told is dropped: the
// log has the records. With a.mu.
func (a *agents) all(ev job.Event) {
	if a.stdout != nil {
		if err := write(a.stdout, ev); err != nil {
			a.stdout = nil
		}
	}
	for c := range a.later {
		a.write(c, ev)
	}
}

func (a *agents) write(c net.Conn, ev job.Event) {
	_ = c.SetWriteDeadline(time.Now().Add(tellPatience))
	if write(c, ev) != nil {
		delete(a.later, c)
		_ = c.Close()
	}
}

func write(w io.Writer, ev job.Event) error {
	b, err := json.Marshal(ev)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// asked says whether the document needed credentials: a service was called.
func (a *agents) asked() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.borrowed
}

// begin says how many records there were before the first event.
func (a *agents) begin(records int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.records = records
}

// end is the worker's last word.
func (a *agents) end(records int, cause error) {
	ev := job.Event{Seq: records, End: true}
	if cause != nil {
		ev.Error = cause.Error()
	}
	a.tell(ev)
}
