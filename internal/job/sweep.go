package job

import (
	"context"
	"path/filepath"
	"time"

	"ssmagent/internal/fsys"
)

const (
	// graveAge is how long a command id is remembered: a delivery later
	// than that would run again.
	graveAge = 24 * time.Hour
	// sweepEvery and the bounds keep clean-up a small part of the work.
	sweepEvery  = 15 * time.Minute
	maxGraves   = 200
	maxOrchDirs = 1000
)

// cleanUp follows the end of a job: its own directory when the configuration
// says so, and now and then what is too old of other jobs.
func (q *Queue) cleanUp(ctx context.Context, e *entry) {
	if q.opt.Cleanup != nil && q.opt.Cleanup(e.p.Results()) {
		if err := fsys.RemoveAll(q.opt.FS, e.req.Dir); err != nil {
			e.log.Warn("remove the orchestration directory", "error", err)
		}
	}
	now := q.opt.Clock.Now()
	q.mu.Lock()
	due := q.swept.IsZero() || now.Sub(q.swept) >= sweepEvery
	if due {
		q.swept = now
	}
	q.mu.Unlock()
	if due {
		q.sweepGraves(now)
		q.sweepOrchestration(ctx, filepath.Dir(e.req.Dir), now)
	}
}

// sweepGraves forgets the oldest commands.
func (q *Queue) sweepGraves(now time.Time) {
	q.mu.Lock()
	n := 0
	for n < min(len(q.graves), maxGraves) && now.Sub(q.graves[n].at) > graveAge {
		n++
	}
	old := append([]grave(nil), q.graves[:n]...)
	q.graves = append(q.graves[:0], q.graves[n:]...)
	q.mu.Unlock()
	for _, g := range old {
		Dir{FS: q.opt.FS, Path: filepath.Join(q.opt.Dir, g.id)}.remove()
	}
}

// sweepOrchestration removes directories that were not touched for the
// retention time and belong to no live job.
func (q *Queue) sweepOrchestration(ctx context.Context, root string, now time.Time) {
	if q.opt.Retention <= 0 {
		return
	}
	names, err := q.opt.FS.ReadDir(root)
	if err != nil {
		q.log.Warn("look for old orchestration directories", "error", err)
		return
	}
	removed := 0
	for _, n := range names {
		if ctx.Err() != nil || removed == maxOrchDirs {
			return
		}
		info, err := n.Info()
		if err != nil || !n.IsDir() || now.Sub(info.ModTime()) <= q.opt.Retention || q.isLive(n.Name()) {
			continue
		}
		removed++
		if err := fsys.RemoveAll(q.opt.FS, filepath.Join(root, n.Name())); err != nil {
			q.log.Warn("remove an old orchestration directory", "error", err)
		}
	}
}

func (q *Queue) isLive(id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.live[id] != nil
}
