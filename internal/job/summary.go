package job

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"ssmagent/internal/wire/doc"
)

// Pending is the status of a job that waits for its turn.
const Pending doc.Status = "Pending"

// maxEpitaph bounds how many results a tombstone keeps: it is only for people.
const maxEpitaph = 100

// Summary is what a queue knows of a job, for people.
type Summary struct {
	ID, Document string
	Channel      string
	Status       doc.Status // Pending, InProgress, or how it ended; empty: nobody knows any more
	Accepted     time.Time
	Ended        time.Time `json:",omitzero"`
	Steps        int
	// Dir is the orchestration directory, with all that the steps printed.
	Dir string
	// Results are those of the first steps that ended. Of a job that is over
	// they are without texts.
	Results []doc.Result `json:",omitempty"`
}

func summarize(r Request, s doc.Status) Summary {
	return Summary{ID: r.ID, Document: r.DocumentName, Channel: r.Channel, Status: s, Accepted: r.Accepted, Steps: len(r.Steps), Dir: r.Dir}
}

// epitaph is what the tombstone of e says.
func (e *entry) epitaph(now time.Time) Summary {
	results := e.p.Results()
	s := summarize(e.req, doc.Overall(results))
	s.Ended = now.UTC()
	for _, r := range results[:min(len(results), maxEpitaph)] {
		s.Results = append(s.Results, doc.Result{ID: r.ID, Action: r.Action, Status: r.Status, Code: r.Code, Start: r.Start, End: r.End})
	}
	return s
}

// List tells of jobs: those that wait and run, in the order of their
// acceptance, then those that are over, the last first, at most limit.
func (q *Queue) List(ctx context.Context, limit int) ([]Summary, error) {
	if err := q.known(ctx); err != nil {
		return nil, err
	}
	q.mu.Lock()
	var all []Summary
	waiting := map[string]bool{}
	for _, e := range q.pending {
		waiting[e.req.ID] = !e.place
	}
	for _, e := range q.live {
		all = append(all, summarize(e.req, status(waiting[e.req.ID])))
	}
	graves := append([]grave(nil), q.graves[max(0, len(q.graves)-limit):]...)
	q.mu.Unlock()
	slices.SortFunc(all, func(a, b Summary) int { return a.Accepted.Compare(b.Accepted) })
	for i := len(graves) - 1; i >= 0 && len(all) < limit; i-- {
		all = append(all, q.epitaph(graves[i]))
	}
	return all[:min(len(all), limit)], nil
}

// Show tells of one job with the results that it has so far. False: it is not
// known here, or not any more.
func (q *Queue) Show(ctx context.Context, id string) (Summary, bool, error) {
	if err := q.known(ctx); err != nil {
		return Summary{}, false, err
	}
	q.mu.Lock()
	e := q.live[id]
	waits := false
	for _, p := range q.pending {
		waits = waits || p == e && !p.place
	}
	q.mu.Unlock()
	if e != nil {
		s := summarize(e.req, status(waits))
		p, err := e.dir.Progress(len(e.req.Steps)) // e.p is its attendant's
		if err != nil {
			return s, true, err
		}
		s.Results = p.Results()
		select {
		case <-e.over: // meanwhile; what was read may be a part
		default:
			return s, true, nil
		}
	}
	q.mu.Lock()
	i := slices.IndexFunc(q.graves, func(g grave) bool { return g.id == id })
	var g grave
	if i >= 0 {
		g = q.graves[i]
	}
	q.mu.Unlock()
	if i < 0 {
		return Summary{}, false, nil
	}
	return q.epitaph(g), true, nil
}

// Over is closed once the job is over and its results are told. Nil: no such
// job waits or runs.
func (q *Queue) Over(id string) <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.live[id]; e != nil {
		return e.over
	}
	return nil
}

// known waits until the jobs on disk are.
func (q *Queue) known(ctx context.Context) error {
	select {
	case <-q.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait until the commands on disk are read: %w", context.Cause(ctx))
	}
}

func status(waits bool) doc.Status {
	if waits {
		return Pending
	}
	return doc.InProgress
}

// epitaph reads a tombstone. A crash of the machine may have emptied it, and
// those of earlier releases always were: then the id and the time are left.
func (q *Queue) epitaph(g grave) Summary {
	s := Summary{}
	d := Dir{FS: q.opt.FS, Path: filepath.Join(q.opt.Dir, g.id)}
	b, err := d.read(doneFile)
	if err != nil || json.Unmarshal(b, &s) != nil || s.ID != g.id {
		s = Summary{ID: g.id, Ended: g.at.UTC()}
	}
	return s
}
