package job

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"ssmagent/internal/fsys"
	"ssmagent/platform/proc"
)

// recover reads the jobs that an earlier agent left: tombstones, jobs that
// run, jobs that ended, jobs that wait. It returns those that need no place in
// the queue: they have one, or are over.
func (q *Queue) recover(ctx context.Context) ([]*entry, error) {
	if err := fsys.SettleDir(q.opt.FS, q.opt.Dir, 0o700); err != nil {
		return nil, err
	}
	names, err := q.opt.FS.ReadDir(q.opt.Dir)
	if err != nil {
		return nil, err
	}
	var now, later []*entry
	for _, n := range names {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !n.IsDir() || !validID(n.Name()) {
			continue
		}
		e, err := q.find(n.Name())
		if err != nil {
			return nil, err
		}
		switch {
		case e == nil:
		case e.process != nil || e.p.Finished:
			now = append(now, e)
		default:
			later = append(later, e)
		}
	}
	// What is found counts as accepted from now on: also the directories.
	if err := q.opt.FS.SyncDir(q.opt.Dir); err != nil {
		return nil, err
	}
	slices.SortFunc(q.graves, func(a, b grave) int { return a.at.Compare(b.at) })
	slices.SortFunc(later, func(a, b *entry) int {
		// What had begun comes before what had not.
		if c := cmp.Compare(btoi(b.p.Records > 0), btoi(a.p.Records > 0)); c != 0 {
			return c
		}
		return a.req.Accepted.Compare(b.req.Accepted)
	})
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range append(now, later...) {
		q.live[e.req.ID] = e
	}
	q.pending, q.urgent = later, true
	return now, nil
}

// find makes an entry of one directory, or settles it. The error is one of a
// disk that makes nothing durable.
func (q *Queue) find(id string) (*entry, error) {
	d := Dir{FS: q.opt.FS, Path: filepath.Join(q.opt.Dir, id)}
	log := q.log.With("command", id)
	if info, err := d.FS.Lstat(d.file(doneFile)); err == nil {
		if d.has(requestFile) { // who made the tombstone may have been killed before it was durable
			if err := d.FS.SyncDir(d.Path); err != nil {
				return nil, err
			}
		}
		d.strip()
		q.graves = append(q.graves, grave{id, info.ModTime()})
		return nil, nil
	}
	r, err := d.Load()
	if errors.Is(err, errTorn) {
		log.Info("dropped a command that was never acknowledged")
		d.remove()
		return nil, nil
	}
	if err != nil {
		log.Error("left a command as it is", "error", err)
		return nil, nil
	}
	if err := d.settle(); err != nil {
		return nil, err
	}
	e := q.newEntry(r, d)
	e.resumed = true
	e.cause = "a restart of the machine or the loss of its worker process"
	if err := e.reload(); err != nil {
		log.Error("left a command as it is", "error", err)
		return nil, nil
	}
	e.reported = min(d.loadReported(), len(e.p.History))
	if d.has(cancelFile) {
		e.cancel()
	}
	w := d.loadWorker()
	e.attempt = w.Attempt
	if w.PID > 0 {
		e.process, err = q.opt.Find(w.id())
		if errors.Is(err, proc.ErrGone) {
			e.process = nil
		} else if err != nil { // it may run: another one must not
			log.Error("left a command as it is: whether its worker runs cannot be told", "pid", w.PID, "error", err)
			return nil, nil
		}
	}
	return e, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// grave is a tombstone: a command that is over and must not run again.
type grave struct {
	id string
	at time.Time
}
