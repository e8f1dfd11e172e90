package worker

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"ssmagent/internal/record/asciicast"
	"ssmagent/internal/record/audit"
	"ssmagent/internal/record/recording"
	"ssmagent/internal/session"
)

// traces are what a session leaves on the node: its lines in the audit log,
// and the recording of its terminal. The zero value leaves none.
type traces struct {
	d     Deps
	req   session.Request
	want  session.Recording
	log   *audit.Log
	store recording.Store
	begun time.Time

	user    string
	started func() error // waits for the line about the start
	in, out atomic.Int64
	once    sync.Once
	// carried tells of a session's connections; nil for other sessions.
	carried func() carriedTotal
	failed  atomic.Bool // the end of the recording has been told

	mu  sync.Mutex
	rec *recording.Recorder
}

func newTraces(d Deps, req session.Request) *traces {
	t := &traces{d: d, req: req, want: req.Recording(), begun: d.Clock.Now(), started: func() error { return nil }}
	rs := req.Node.Records
	t.store = recording.Store{FS: d.FS, Dir: rs.Recordings}
	if rs.Audit != "" {
		t.log = audit.New(audit.Options{Dir: rs.Audit, FS: d.FS, Clock: d.Clock, Log: d.Log, Lock: d.Lock, MaxFiles: rs.AuditFiles})
	}
	return t
}

// carriedTotal is what a port session carried in all.
type carriedTotal struct {
	target              string
	connections, failed int64
	up, down            int64 // bytes to the target and from it
}

// begin puts the start on the audit log, meanwhile.
func (t *traces) begin(user string) {
	t.user = user
	t.started = t.log.Post(t.event(audit.SessionStart))
}

// await waits until the start is on the audit log. The error says that the
// session must not go on.
func (t *traces) await() error {
	if err := t.started(); err != nil && t.want.Strict {
		return fmt.Errorf("the session is refused, because it cannot be put on the audit log: %w", err)
	}
	return nil
}

func (t *traces) event(k audit.Kind) audit.Event {
	return audit.Event{Kind: k, Session: t.req.ID, Type: t.req.Type, Document: t.req.Document, Node: t.req.Node.InstanceID, Owner: t.req.Owner, User: t.user}
}

// record begins to record a terminal. failed is called when the recording ends
// before the session, with what there is to say to the person; it must not
// wait for the session's end. The error says that the session must not go on.
func (t *traces) record(cols, rows uint16, term, program string, failed func(notice string, fatal error)) error {
	if !t.want.On {
		return nil
	}
	fail := func(err error) {
		t.lost(err)
		if t.want.Strict {
			failed("", fmt.Errorf("the session ends, because it cannot be recorded: %w", err))
			return
		}
		failed(fmt.Sprintf("\r\n[ssmagent: this session is not recorded any more: %v]\r\n", err), nil)
	}
	rec, err := t.store.Create(t.req.ID, recording.Options{
		Clock: t.d.Clock, Limit: t.req.Node.Records.Retention.Bytes, Failed: fail,
		Header: asciicast.Header{
			Width: int(cols), Height: int(rows), Title: "session " + t.req.ID, Env: map[string]string{"TERM": term, "SHELL": program},
			Session: &asciicast.Session{ID: t.req.ID, Owner: t.req.Owner, User: t.user, Document: t.req.Document,
				Node: t.req.Node.InstanceID, Input: t.want.Input},
		},
	})
	if err != nil {
		fail(err)
		if t.want.Strict {
			return fmt.Errorf("the session is refused, because it cannot be recorded: %w", err)
		}
		return nil
	}
	t.mu.Lock()
	t.rec = rec
	t.mu.Unlock()
	return nil
}

// lost puts on the audit log that the recording is not whole, once.
func (t *traces) lost(err error) {
	if t.failed.Swap(true) {
		return
	}
	e := t.event(audit.RecordingFailed)
	e.Recording, e.Detail = recording.Name(t.req.ID), err.Error()
	t.log.Post(e)
	t.d.Log.Warn("the session is not recorded any more", "session", t.req.ID, "error", err)
}

func (t *traces) recorder() *recording.Recorder {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rec
}

// sent counts what went to the client, and records it.
func (t *traces) sent(b []byte) {
	t.out.Add(int64(len(b)))
	t.recorder().Output(b)
}

// received counts what came from the client.
func (t *traces) received(n int) { t.in.Add(int64(n)) }

// typed records what was typed while the terminal showed it.
func (t *traces) typed(b []byte) { t.recorder().Input(b) }

func (t *traces) resized(cols, rows uint16) { t.recorder().Resize(int(cols), int(rows)) }

// copied puts a copy on the audit log, if the command was the node's end of one.
func (t *traces) copied(args []string, failed bool) {
	if len(args) < 3 || args[0] != session.CopyName {
		return
	}
	e := t.event(audit.Copy)
	e.Target, e.Direction, e.Status, e.Traffic = args[2], args[1], "Success", t.traffic()
	if failed {
		e.Status = "Failed"
	}
	t.log.Post(e)
}

func (t *traces) traffic() audit.Traffic {
	return audit.Traffic{In: t.in.Load(), Out: t.out.Load(), Millis: t.d.Clock.Now().Sub(t.begun).Milliseconds()}
}

// end puts the end on the audit log and closes the recording meanwhile, once.
func (t *traces) end(r session.Result) {
	t.once.Do(func() {
		e := t.event(audit.SessionEnd)
		rec := t.recorder()
		if rec != nil {
			e.Recording = recording.Name(t.req.ID)
		}
		e.Status, e.Detail = string(r.Status), r.Output
		e.Traffic = t.traffic()
		if t.carried != nil {
			c := t.carried()
			e.Target, e.In, e.Out, e.Connections = c.target, c.up, c.down, int(c.connections)
			f := e
			f.Kind = audit.Forward
			if c.failed > 0 {
				f.Detail = fmt.Sprintf("%d more did not come about", c.failed)
			}
			t.log.Post(f)
		}
		wait := t.log.Post(e)
		if err := rec.Close(); err != nil {
			t.lost(err)
		}
		_ = wait() // it has told the log
	})
}

// sweep removes what is too old or too much, now that there is one more.
func (t *traces) sweep(own session.Dir) {
	t.log.Close()
	if t.recorder() == nil {
		return
	}
	live := func(id string) bool {
		_, err := t.d.FS.Lstat(filepath.Join(filepath.Dir(own.Path), id))
		return err == nil
	}
	for more := true; more; {
		var err error
		if _, more, err = t.store.Sweep(t.req.Node.Records.Retention, live, t.d.Clock.Now()); err != nil {
			t.d.Log.Warn("sweep the recordings", "error", err)
			return
		}
	}
}
