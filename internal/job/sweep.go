package job

import (
	"context"
	"path/filepath"
	"slices"
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
	if gone := q.limits().Cleanup; gone != nil && gone(e.p.Results()) {
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

// Retention says what is kept of commands that are over; 0 is no end.
type Retention struct {
	Age   time.Duration // since the directory was last touched
	Bytes int64         // of all directories together
	Count int
}

// orchestrated is an orchestration directory of a command that is over.
type orchestrated struct {
	name    string
	touched time.Time
	bytes   int64
}

// sweepOrchestration removes the directories that are too old, and the oldest
// of those that are too many or too large, but none of a live job.
func (q *Queue) sweepOrchestration(ctx context.Context, root string, now time.Time) {
	keep := q.limits().Retention
	if keep == (Retention{}) {
		return
	}
	dirs, err := q.orchestrated(ctx, root, keep.Bytes > 0)
	if err != nil {
		q.log.Warn("look for old orchestration directories", "error", err)
		return
	}
	for _, d := range keep.beyond(dirs, now) {
		if ctx.Err() != nil {
			return
		}
		if err := fsys.RemoveAll(q.opt.FS, filepath.Join(root, d.name)); err != nil {
			q.log.Warn("remove an old orchestration directory", "error", err)
		}
	}
}

// beyond are the first of dirs that are not to be kept, at most a batch.
func (r Retention) beyond(dirs []orchestrated, now time.Time) []orchestrated {
	slices.SortFunc(dirs, func(a, b orchestrated) int { return a.touched.Compare(b.touched) })
	var bytes int64
	for _, d := range dirs {
		bytes += d.bytes
	}
	n := 0
	for ; n < min(len(dirs), maxOrchDirs); n++ {
		tooOld := r.Age > 0 && now.Sub(dirs[n].touched) > r.Age
		tooMuch := r.Bytes > 0 && bytes > r.Bytes || r.Count > 0 && len(dirs)-n > r.Count
		if !tooOld && !tooMuch {
			break // the rest is younger
		}
		bytes -= dirs[n].bytes
	}
	return dirs[:n]
}

func (q *Queue) orchestrated(ctx context.Context, root string, sized bool) (dirs []orchestrated, err error) {
	names, err := q.opt.FS.ReadDir(root)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		info, err := n.Info()
		if err != nil || !n.IsDir() || q.isLive(n.Name()) {
			continue
		}
		d := orchestrated{name: n.Name(), touched: info.ModTime()}
		if sized {
			d.bytes = size(q.opt.FS, filepath.Join(root, n.Name()), maxDepth)
		}
		dirs = append(dirs, d)
	}
	return dirs, nil
}

// maxDepth bounds how far down sizes are looked for.
const maxDepth = 32

// size is what the files below dir take; what cannot be read counts for nothing.
func size(f fsys.FS, dir string, depth int) (bytes int64) {
	names, err := f.ReadDir(dir)
	if err != nil || depth == 0 {
		return 0
	}
	for _, n := range names {
		if n.IsDir() {
			bytes += size(f, filepath.Join(dir, n.Name()), depth-1)
		} else if info, err := n.Info(); err == nil && info.Mode().IsRegular() {
			bytes += info.Size()
		}
	}
	return bytes
}

func (q *Queue) isLive(id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.live[id] != nil
}
