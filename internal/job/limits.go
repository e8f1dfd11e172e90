package job

import "ssmagent/internal/wire/doc"

// Limits bound what runs at once and what is kept. Retention and Cleanup may be
// left out.
type Limits struct {
	Workers int // jobs at once (Mds.CommandWorkersLimit)
	Buffer  int // jobs that may wait
	Retries int // resumptions of a job after the first start (Mds.CommandRetryLimit)

	// Retention of orchestration directories.
	Retention Retention
	// Cleanup says whether a finished job's orchestration directory goes at
	// once, by the results.
	Cleanup func([]doc.Result) bool
}

// SetLimits has other limits count from now on. What runs already goes on.
func (q *Queue) SetLimits(l Limits) {
	q.mu.Lock()
	q.bounds = l
	q.mu.Unlock()
	q.poke() // more may run at once
}

func (q *Queue) limits() Limits {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bounds
}
