package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/link"
	"ssmagent/internal/outbox"
	"ssmagent/internal/record/audit"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mgs"
	"ssmagent/platform/proc"
)

// Outbox keeps reports until the service has them; *outbox.Outbox.
type Outbox interface {
	// Put returns once the entries are durable; one whose ID is there
	// already changes nothing.
	Put(entries ...outbox.Entry) error
}

// Options of a Manager. All but Stderr, Enter, Audit and Store is needed.
type Options struct {
	Dir    string // holds the sessions' directories; made by Run
	FS     fsys.FS
	Clock  clock.Clock
	Log    *slog.Logger
	Outbox Outbox
	// Channel is the outbox's name of the control channel.
	Channel string
	// Node and Limit are those at the start; Limit is of sessions at once
	// (Mgs.SessionWorkersLimit).
	Node  Node
	Limit int
	// Store has what parameters of session documents refer to as {{ssm:name}}.
	Store doc.ParameterStore
	// Audit gets the ends that no worker can put there.
	Audit *audit.Log
	// Credentials are the node's, for the workers.
	Credentials func(context.Context) (link.Credentials, error)

	Executable string   // of the worker: this program
	Env        []string // of the worker, handed on to shells
	Stderr     *os.File // of the worker
	Start      func(proc.Spec) (proc.Process, error)
	// Enter puts a worker into a scope of the service manager; nil: there are
	// none. It does not wait for that.
	Enter func(id proc.ID, scope string)
	Find  func(proc.ID) (proc.Process, error)
	Dial  func(ctx context.Context, path string) (net.Conn, error)
	// Settle gives back what ended workers had of the machine's accounts and
	// were killed before they could; nil: nothing is to be given back.
	Settle func(context.Context) error
}

// Manager starts sessions and sees them through. Its methods are safe together.
type Manager struct {
	opt   Options
	log   *slog.Logger
	ready chan struct{} // closed when the sessions on disk are known
	wg    sync.WaitGroup

	mu     sync.Mutex
	node   Node            // for new sessions
	limit  int             // of sessions at once
	ctx    context.Context // of Run; nil before and after
	live   map[string]*entry
	recent recent
}

// entry is a session in memory.
type entry struct {
	req  Request
	dir  Dir
	log  *slog.Logger
	end  chan struct{} // closed when the service ended it
	over chan struct{} // closed when nobody attends it any more
	once sync.Once

	// The rest belongs to the goroutine that attends the session.
	process proc.Process // a worker that an earlier agent started
	resumed bool         // found on disk
	cause   string       // what ended the worker
}

func (e *entry) terminate() { e.once.Do(func() { close(e.end) }) }

func (e *entry) isTerminated() bool {
	select {
	case <-e.end:
		return true
	default:
		return false
	}
}

var (
	errDetached = errors.New("the agent is stopping")
	errLost     = errors.New("the worker is gone")
)

// New returns a Manager that does nothing until Run.
func New(o Options) *Manager {
	return &Manager{opt: o, log: o.Log, node: o.Node, limit: o.Limit, ready: make(chan struct{}), live: map[string]*entry{}}
}

// Run takes up the sessions on disk and serves until ctx ends. Workers that run
// then are left alone for the next agent to find.
func (m *Manager) Run(ctx context.Context) error {
	defer m.wg.Wait()
	defer func() {
		m.mu.Lock()
		m.ctx = nil
		m.mu.Unlock()
	}()
	found, err := m.recover()
	if err != nil {
		return fmt.Errorf("take up the sessions in %s: %w", m.opt.Dir, err)
	}
	m.mu.Lock()
	m.ctx = ctx
	for _, e := range found {
		m.live[e.req.ID] = e
		m.wg.Go(func() { m.attend(ctx, e) })
	}
	m.wg.Go(func() { m.settle(ctx) }) // for workers of earlier agents
	m.mu.Unlock()
	close(m.ready)
	<-ctx.Done()
	return nil
}

func (m *Manager) settle(ctx context.Context) {
	if m.opt.Settle == nil {
		return
	}
	if err := m.opt.Settle(ctx); err != nil {
		m.log.Error("give back the accounts of sessions that are over", "error", err)
	}
}

// recover reads the sessions that an earlier agent left.
func (m *Manager) recover() ([]*entry, error) {
	if err := fsys.MkdirAll(m.opt.FS, m.opt.Dir, 0o700); err != nil {
		return nil, err
	}
	names, err := m.opt.FS.ReadDir(m.opt.Dir)
	if err != nil {
		return nil, err
	}
	var found []*entry
	for _, n := range names {
		if n.IsDir() && mgs.ValidSessionID(n.Name()) {
			if e := m.find(n.Name()); e != nil {
				found = append(found, e)
			}
		}
	}
	return found, nil
}

// find makes an entry of one directory.
func (m *Manager) find(id string) *entry {
	d := m.dir(id)
	log := m.log.With("session", id)
	r, err := d.Load()
	if errors.Is(err, errTorn) {
		log.Info("dropped what is left of a session")
		d.remove()
		return nil
	}
	if err != nil {
		log.Error("left a session as it is", "error", err)
		return nil
	}
	e := m.newEntry(r)
	e.resumed = true
	e.cause = "the machine restarted, or its worker process was lost while the agent was away"
	if d.has(terminateFile) {
		e.terminate()
	}
	if w := d.loadWorker(); w.PID > 0 {
		e.process, err = m.opt.Find(w.id())
		if errors.Is(err, proc.ErrGone) {
			e.process = nil
		} else if err != nil {
			log.Error("left a session as it is: whether its worker runs cannot be told", "pid", w.PID, "error", err)
			return nil
		}
	}
	return e
}

func (m *Manager) dir(id string) Dir {
	return Dir{FS: m.opt.FS, Path: filepath.Join(m.opt.Dir, id)}
}

func (m *Manager) newEntry(r Request) *entry {
	return &entry{req: r, dir: m.dir(r.ID), end: make(chan struct{}), over: make(chan struct{}), log: m.log.With("session", r.ID)}
}

// Open starts the session that t orders. It returns once the session is
// durable, is known already, or its refusal is on its way; what becomes of it
// is reported through the outbox. An order that names no session is an error.
func (m *Manager) Open(ctx context.Context, t mgs.AgentTask) error {
	select {
	case <-m.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	r, err := m.request(ctx, t)
	if err != nil && (!errors.Is(err, errRejected) || errors.Is(err, doc.ErrStore) && ctx.Err() != nil) {
		return err // nothing is said of it: the next agent may be asked again
	}
	e := m.newEntry(r)
	known, full := m.enter(e, err == nil)
	switch {
	case known:
		e.log.Info("the session is known already")
		return nil
	case err == nil && full > 0:
		err = fmt.Errorf("%w: %d sessions are open on this node, which is its limit (Mgs.SessionWorkersLimit); end another one first", errRejected, full)
	}
	if err != nil {
		e.log.Warn("a session is refused", "error", err)
		return m.conclude(e, Result{Status: Failed, Output: err.Error()})
	}
	if err := e.dir.create(r); err != nil {
		m.leave(e)
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return m.conclude(e, Result{Status: Failed, Output: "the agent cannot " + err.Error()})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx == nil {
		return errDetached // the next agent finds it on disk
	}
	e.log.Info("session accepted", "type", r.Type, "owner", r.Owner)
	run := m.ctx
	m.wg.Go(func() { m.attend(run, e) })
	return nil
}

// SetNode has new sessions begin with another node and limit. Those that are
// open go on as they began.
func (m *Manager) SetNode(n Node, limit int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.node, m.limit = n, limit
}

func (m *Manager) current() Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.node
}

// enter takes e in when its id is new and, if it is to live, a place is free;
// full is the limit that has been reached, else 0.
func (m *Manager) enter(e *entry, live bool) (known bool, full int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.live[e.req.ID] != nil || m.recent.has(e.req.ID):
		return true, 0
	case !live:
		return false, 0
	case len(m.live) >= max(m.limit, 1):
		return false, max(m.limit, 1)
	}
	m.live[e.req.ID] = e
	return false, 0
}

func (m *Manager) leave(e *entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live[e.req.ID] == e {
		delete(m.live, e.req.ID)
	}
}

// Close ends a session that the service has ended. A session that is not live
// is none of ours.
func (m *Manager) Close(ctx context.Context, id string) error {
	select {
	case <-m.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	m.mu.Lock()
	e := m.live[id]
	m.mu.Unlock()
	if e == nil {
		return nil
	}
	e.log.Info("the service ends the session")
	// Told first: an agent that dies now is asked again by the service.
	e.terminate()
	return e.dir.write(terminateFile, nil, false)
}

// EndAll ends the sessions that are open, and returns when their results are in
// the outbox or ctx ends: for an agent that takes its workers along when it goes.
func (m *Manager) EndAll(ctx context.Context) {
	m.mu.Lock()
	open := slices.Collect(maps.Values(m.live))
	m.mu.Unlock()
	for _, e := range open {
		e.terminate()
	}
	for _, e := range open {
		select {
		case <-e.over:
		case <-ctx.Done():
			return
		}
	}
}

// Live is how many sessions there are.
func (m *Manager) Live() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.live)
}

// conclude puts the result into the outbox and forgets the session.
func (m *Manager) conclude(e *entry, r Result) error {
	id := e.req.ID
	b, err := json.Marshal(mgs.AgentTaskComplete{
		SchemaVersion: 1, TaskId: id, Topic: mgs.TypeAgentTaskComplete, FinalTaskStatus: string(r.Status),
		InstanceId: m.opt.Node.InstanceID, Output: bounded(r.Output), RetryNumber: 1,
		S3Bucket: r.S3Bucket, S3UrlSuffix: r.S3Key, CwlGroup: r.LogGroup, CwlStream: r.LogStream,
	})
	if err != nil {
		return err
	}
	err = m.opt.Outbox.Put(outbox.Entry{
		// The same whenever it is reported again, so that a repetition is
		// known as one.
		ID:    uuid.NewSHA1(uuid.NameSpaceURL, []byte("ssmagent:session:"+id)).String(),
		JobID: id, Topic: mgs.TypeAgentTaskComplete, Content: string(b), Channel: m.opt.Channel, Created: m.opt.Clock.Now(),
	})
	if err != nil {
		return fmt.Errorf("keep the result of session %s: %w", id, err)
	}
	m.audit(e, &r)
	e.dir.remove()
	m.mu.Lock()
	m.recent.add(id)
	if m.live[id] == e {
		delete(m.live, id)
	}
	m.mu.Unlock()
	return nil
}

// audit puts the end on the audit log, unless it is there.
func (m *Manager) audit(e *entry, r *Result) {
	if r.audited {
		return
	}
	r.audited = true
	_ = m.opt.Audit.Append(audit.Event{ // it has told the log
		Kind: audit.SessionEnd, Session: e.req.ID, Type: e.req.Type, Document: e.req.Document, Node: m.opt.Node.InstanceID,
		Owner: e.req.Owner, Status: string(r.Status), Detail: r.Output,
	})
}

// recent remembers the sessions that ended last: a service may order one twice.
type recent struct {
	ids  map[string]struct{}
	ring []string
	next int
}

const maxRecent = 1000

func (r *recent) has(id string) bool {
	_, ok := r.ids[id]
	return ok
}

func (r *recent) add(id string) {
	if r.has(id) {
		return
	}
	if r.ids == nil {
		r.ids = map[string]struct{}{}
	}
	if len(r.ring) < maxRecent {
		r.ring = append(r.ring, id)
	} else {
		delete(r.ids, r.ring[r.next])
		r.ring[r.next] = id
		r.next = (r.next + 1) % maxRecent
	}
	r.ids[id] = struct{}{}
}

// startWithin is the age up to which a session found without a worker is still
// started: nobody waits for it later.
const startWithin = time.Minute
