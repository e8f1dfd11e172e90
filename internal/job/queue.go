package job

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/link"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
)

// Report is news of a job for its Sink.
type Report struct {
	Request Request
	// Result of the step that just ended; nil for news of the document.
	Result *doc.Result
	// Results are the last results of all steps that have one.
	Results []doc.Result
	// Final: no more reports follow. Otherwise a report without Result says
	// that the machine is about to restart.
	Final bool
	// Seq numbers the reports of a job. The same report, made again after a
	// crash, has the same number: replies derive their ids from it.
	Seq int
}

// Sink takes reports. Report returns nil once all of rs cannot get lost; it is
// called one at a time for a job, and again with the same when it returned an
// error.
type Sink interface {
	Report(ctx context.Context, rs ...Report) error
}

// Options of a Queue. All but Stderr, Enter, Credentials and Reboot is needed.
type Options struct {
	Dir   string // holds the jobs' directories; made by Run
	FS    fsys.FS
	Clock clock.Clock
	Log   *slog.Logger
	Sink  Sink

	// Limits are those at the start.
	Limits Limits

	Executable string   // of the worker: this program
	Env        []string // of the worker, handed on to scripts
	Stderr     *os.File // of the worker
	Start      func(proc.Spec) (proc.Process, error)
	// Enter puts a worker into a scope of the service manager; nil: there are
	// none. It does not wait for that.
	Enter      func(id proc.ID, scope string)
	Find       func(proc.ID) (proc.Process, error)
	KillMarked func(ctx context.Context, name, value string) error
	Dial       func(ctx context.Context, path string) (net.Conn, error)
	// Credentials are the node's, for workers whose steps call services.
	// Nil: there are none.
	Credentials func(context.Context) (link.Credentials, error)
	// Reboot restarts the machine, soon, and returns. Nil: a step that asks
	// for it fails.
	Reboot func(ctx context.Context) error
}

// Queue runs jobs. Its methods are safe together.
type Queue struct {
	opt   Options
	log   *slog.Logger
	ready chan struct{} // closed when the jobs on disk are known
	wake  chan struct{}
	wg    sync.WaitGroup

	mu        sync.Mutex
	bounds    Limits
	closed    bool
	rebooting bool
	urgent    bool                     // a waiting job was cancelled
	entering  map[string]chan struct{} // ids being submitted
	live      map[string]*entry
	pending   []*entry
	running   int
	early     int // entries that hold a place for their early worker
	graves    []grave
	swept     time.Time
}

// entry is a job in memory.
type entry struct {
	req       Request
	dir       Dir
	log       *slog.Logger
	cancelled chan struct{} // closed when an operator cancelled
	once      sync.Once
	over      chan struct{} // closed when it is over and its tombstone there

	// The rest belongs to the goroutine that attends the job.
	p        *Progress
	reported int               // results of p.History that the sink has
	closed   bool              // the sink has the final report
	process  proc.Process      // a worker that an earlier agent started
	early    <-chan launched   // gives the worker that is there early and waits; nil: none is
	place    bool              // counted in Queue.early
	free     *link.Link[Event] // to the worker that ended the document, while other jobs wait for one
	attempt  int               // workers started so far
	resumed  bool              // found on disk at start
	cause    string            // what ended the last worker
}

func (e *entry) cancel() { e.once.Do(func() { close(e.cancelled) }) }

func (e *entry) isCancelled() bool {
	select {
	case <-e.cancelled:
		return true
	default:
		return false
	}
}

// New returns a Queue that does nothing until Run.
func New(o Options) *Queue {
	return &Queue{
		opt: o, log: o.Log, bounds: o.Limits,
		ready: make(chan struct{}), wake: make(chan struct{}, 1),
		entering: map[string]chan struct{}{}, live: map[string]*entry{},
	}
}

// Run takes up the jobs on disk, then runs what is submitted until ctx ends.
// Workers that run then are left alone for the next agent to find.
func (q *Queue) Run(ctx context.Context) error {
	defer q.wg.Wait()
	defer q.close()
	found, err := q.recover(ctx)
	if err != nil {
		return fmt.Errorf("take up the commands in %s: %w", q.opt.Dir, err)
	}
	q.mu.Lock()
	for _, e := range found {
		q.attendLocked(ctx, e)
	}
	q.mu.Unlock()
	close(q.ready)
	for {
		q.dispatch(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-q.wake:
		}
	}
}

// close lets nothing more in. What waits is the next agent's.
func (q *Queue) close() {
	q.mu.Lock()
	q.closed = true
	left := q.pending
	q.pending = nil
	q.mu.Unlock()
	for _, e := range left {
		q.dismiss(e)
	}
}

func (q *Queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// dispatch starts attending as many waiting jobs as there are free places.
func (q *Queue) dispatch(ctx context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.urgent { // those that were cancelled need no place: they do not run
		q.urgent = false
		var rest []*entry
		for _, e := range q.pending {
			if e.isCancelled() {
				q.attendLocked(ctx, e)
			} else {
				rest = append(rest, e)
			}
		}
		q.pending = rest
	}
	for len(q.pending) > 0 && q.running < max(q.bounds.Workers, 1) && !q.rebooting && ctx.Err() == nil {
		q.attendLocked(ctx, q.takeLocked())
	}
}

func (q *Queue) attendLocked(ctx context.Context, e *entry) {
	q.running++
	if e.place {
		e.place = false
		q.early--
	}
	q.wg.Go(func() {
		for next := e; next != nil; {
			q.attend(ctx, next)
			next = q.leave(ctx, next)
		}
	})
}

// Submit makes r durable and queues it: after nil it will be run and reported,
// whatever happens to the agent. ErrDuplicate, also across restarts: it was
// accepted before. ErrFull and ErrClosed: nothing was kept, deliver it again.
func (q *Queue) Submit(ctx context.Context, r Request) error {
	r.Version, r.Accepted = Version, q.opt.Clock.Now().UTC()
	if err := r.validate(); err != nil {
		return err
	}
	if err := q.known(ctx); err != nil {
		return err
	}
	leave, err := q.enter(ctx, r.ID)
	if err != nil {
		return err
	}
	defer leave()
	dir := Dir{FS: q.opt.FS, Path: filepath.Join(q.opt.Dir, r.ID)}
	err = dir.claim()
	if errors.Is(err, fs.ErrExist) {
		return ErrDuplicate
	}
	if err != nil {
		return fmt.Errorf("save the command: %w", err)
	}
	e := q.newEntry(r, dir)
	e.p = NewProgress(len(r.Steps))
	q.launchEarly(e) // while the disk is busy
	if err := dir.fill(r); err != nil {
		q.dismiss(e)
		dir.remove()
		return err
	}
	if !q.admit(e) {
		q.dismiss(e)
	}
	return nil
}

// admit queues a job that is on disk. False: no jobs are run any more, the
// next agent will.
func (q *Queue) admit(e *entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.live[e.req.ID] = e
	q.pending = append(q.pending, e)
	q.poke()
	return true
}

// enter makes sure that one id is submitted once at a time, so that a second
// delivery is called a duplicate only of what is durable.
func (q *Queue) enter(ctx context.Context, id string) (leave func(), err error) {
	for {
		q.mu.Lock()
		other := q.entering[id]
		switch {
		case other != nil:
		case q.closed:
			err = ErrClosed
		case q.live[id] != nil:
			err = ErrDuplicate
		case len(q.pending)+len(q.entering)-q.early >= max(q.bounds.Buffer, 1): // who has a place does not wait
			if (Dir{FS: q.opt.FS, Path: filepath.Join(q.opt.Dir, id)}).exists() {
				err = ErrDuplicate
			} else {
				err = ErrFull
			}
		default:
			done := make(chan struct{})
			q.entering[id] = done
			leave = func() {
				q.mu.Lock()
				delete(q.entering, id)
				q.mu.Unlock()
				close(done)
			}
		}
		q.mu.Unlock()
		if other == nil {
			return leave, err
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (q *Queue) newEntry(r Request, d Dir) *entry {
	return &entry{req: r, dir: d, cancelled: make(chan struct{}), over: make(chan struct{}), log: q.log.With("command", r.ID)}
}

// Cancel cancels a job: one that waits never runs, a running one is ended with
// all its processes; both are reported. It returns once the wish is durable,
// and false when no such job waits or runs.
func (q *Queue) Cancel(ctx context.Context, id string) (bool, error) {
	if err := q.known(ctx); err != nil {
		return false, err
	}
	q.mu.Lock()
	e := q.live[id]
	q.mu.Unlock()
	if e == nil {
		return false, nil
	}
	if err := e.dir.mark(cancelFile); err != nil {
		return true, fmt.Errorf("save the cancellation: %w", err)
	}
	e.log.Info("cancelled by the operator")
	e.cancel()
	q.mu.Lock()
	q.urgent = true
	q.mu.Unlock()
	q.poke()
	return true, nil
}

// Live says how many jobs wait and how many run.
func (q *Queue) Live() (waiting, running int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting, running = len(q.pending), q.running
	for _, e := range q.pending {
		if e.place { // its worker was started early
			waiting, running = waiting-1, running+1
		}
	}
	return waiting, running
}
