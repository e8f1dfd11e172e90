package worker

import (
	"context"
	"errors"
	"io"

	"ssmagent/internal/job"
	"ssmagent/internal/step"
)

// errUntold: the agent went away before it let this worker run a document.
var errUntold = errors.New("the agent went away before it let this worker run")

// starter is the agent that started the worker: it alone orders documents, one
// after the other, over the worker's standard input and output.
type starter struct {
	stdout io.Writer
	tasks  chan task     // the next document
	gone   chan struct{} // closed when it went
}

// task is a document to run, and who listens to it.
type task struct {
	job.Order
	agents *agents
}

func newStarter(stdout io.Writer) *starter {
	return &starter{stdout: stdout, tasks: make(chan task, 1), gone: make(chan struct{})}
}

// hear reads the agent's orders; what follows an order to run is about that
// document. Its going is not the worker's.
func (s *starter) hear(r io.Reader) {
	defer close(s.gone)
	var now *agents
	eachOrder(r, func(o job.Order) {
		if o.Run {
			next := newAgents(s.stdout)
			select {
			case s.tasks <- task{o, next}:
				now = next
			default: // one is there already
			}
		}
		if now != nil {
			now.obey(o)
		}
	})
}

// task waits for the next document.
func (s *starter) task(ctx context.Context) (t task, err error) {
	select {
	case t = <-s.tasks:
		return t, nil
	case <-s.gone:
		select { // an order that was written before the agent went counts
		case t = <-s.tasks:
			return t, nil
		default:
			return t, errUntold
		}
	case <-ctx.Done():
		return t, step.ErrShutdown
	}
}

// there says whether the agent is.
func (s *starter) there() bool {
	select {
	case <-s.gone:
		return false
	default:
		return true
	}
}

// idle tells the agent that another document may come.
func (s *starter) idle() error { return write(s.stdout, job.Event{Idle: true}) }
