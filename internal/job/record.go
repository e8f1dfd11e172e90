package job

import (
	"bytes"
	"encoding/json"

	"ssmagent/internal/link"
	"ssmagent/internal/wire/doc"
)

// Record is one line of a job's event log. One member is set.
type Record struct {
	Started string      `json:"started,omitempty"` // a step is about to run
	Result  *doc.Result `json:"result,omitempty"`
	// Finished ends a document that leaves steps without a result.
	Finished bool `json:"finished,omitempty"`
}

// Event is a Record as a worker tells it: Seq counts the log's records from
// 0. End is the worker's last word (Seq is then the number of records).
type Event struct {
	Seq int `json:"seq"`
	Record
	// Hello greets a later agent; Seq is the number of records until then.
	Hello bool   `json:"hello,omitempty"`
	End   bool   `json:"end,omitempty"`
	Error string `json:"error,omitempty"` // why the worker gives up
	// Credentials says that the worker needs some; it tells nothing else.
	Credentials bool `json:"credentials,omitempty"`
	// Idle says that the document is over, that nothing of it is left in the
	// worker, and that it would run another. It tells nothing else.
	Idle bool `json:"idle,omitempty"`
}

// Order is a line from the agent to a worker.
type Order struct {
	// Run starts the document; it is sent once the worker's process is on
	// record. A worker whose agent goes before that ends without a trace.
	Run bool `json:"run,omitempty"`
	// Dir is the directory of the job to run; a worker's first one was its
	// argument.
	Dir string `json:"dir,omitempty"`
	// Interrupted is the error of a step that was started by an earlier
	// worker and has no result.
	Interrupted string `json:"interrupted,omitempty"`
	Cancel      bool   `json:"cancel,omitempty"`
	// Credentials answer the worker's wish, or Refused says why there are
	// none now.
	Credentials *link.Credentials `json:"credentials,omitempty"`
	Refused     string            `json:"refused,omitempty"`
}

// Progress is what a job's records add up to.
type Progress struct {
	Records  int
	History  []doc.Result // every result in order; a step has more after a reboot
	Open     string       // the step that was started and has no result
	Finished bool         // no step is left to run
	Reboot   bool         // the last step wants the machine restarted

	started map[string]bool
	latest  map[string]int // into History
	steps   int
}

// NewProgress is the progress of a job of so many steps before its first record.
func NewProgress(steps int) *Progress {
	return &Progress{steps: steps, started: map[string]bool{}, latest: map[string]int{}}
}

// Apply adds a record.
func (p *Progress) Apply(r Record) {
	p.Records++
	switch {
	case r.Started != "":
		p.started[r.Started], p.Open, p.Reboot = true, r.Started, false
	case r.Result != nil:
		p.latest[r.Result.ID] = len(p.History)
		p.History = append(p.History, *r.Result)
		if p.Open == r.Result.ID {
			p.Open = ""
		}
		p.Reboot = r.Result.Status == doc.SuccessAndReboot
	case r.Finished:
		p.Finished = true
	}
	if len(p.latest) == p.steps && p.Open == "" && !p.Reboot {
		p.Finished = true
	}
}

// Results are the steps' last results, in the order of their ends.
func (p *Progress) Results() []doc.Result { return p.upTo(len(p.History) - 1) }

// upTo is Results as they were after History[n].
func (p *Progress) upTo(n int) []doc.Result {
	last := make(map[string]int, len(p.latest))
	for i, r := range p.History[:n+1] {
		last[r.ID] = i
	}
	var rs []doc.Result
	for i, r := range p.History[:n+1] {
		if last[r.ID] == i {
			rs = append(rs, r)
		}
	}
	return rs
}

// Started are the steps that were ever started, for the engine.
func (p *Progress) Started() map[string]bool { return p.started }

// Done are the results by step, for the engine. A step that was started again
// after a reboot and has no second result is not among them: it is lost.
func (p *Progress) Done() map[string]doc.Result {
	m := make(map[string]doc.Result, len(p.latest))
	for id, i := range p.latest {
		if id != p.Open {
			m[id] = p.History[i]
		}
	}
	return m
}

// decodeRecords reads the whole lines of a log. What follows the last good
// line was never reported as durable; size is where it starts.
func decodeRecords(b []byte) (records []Record, size int64) {
	for {
		i := bytes.IndexByte(b[size:], '\n')
		if i < 0 {
			return records, size
		}
		var r Record
		if json.Unmarshal(b[size:size+int64(i)], &r) != nil {
			return records, size
		}
		if r.Started == "" && r.Result == nil && !r.Finished {
			return records, size
		}
		records = append(records, r)
		size += int64(i) + 1
	}
}

func encodeLine(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}
