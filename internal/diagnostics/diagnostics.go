// Package diagnostics finds out why a node does not work: the checks of the
// stock agent, and each hop of the way to the service.
package diagnostics

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
)

// Status is the outcome of a check, in the stock agent's words.
type Status string

// The outcomes.
const (
	Success Status = "Success"
	Skipped Status = "Skipped"
	Failed  Status = "Failed"
)

// Result is one line of the table.
type Result struct {
	Check  string
	Status Status
	Note   string
}

// Check is one thing to find out.
type Check struct {
	Name  string
	Limit time.Duration
	// Run returns a note for a success, or an error: one made by Skip or what
	// is wrong.
	Run func(ctx context.Context) (note string, err error)
}

// skip is the error of a check that does not apply.
type skip struct{ why string }

func (s skip) Error() string { return s.why }

// Skip is the error of a check that does not apply here, and why.
func Skip(why string) error { return skip{why} }

// atOnce is how many checks run at a time.
const atOnce = 5

// Run makes all checks and returns their results in the same order.
func Run(ctx context.Context, checks []Check) []Result {
	results := make([]Result, len(checks))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, c := range checks {
		g.Go(func() error {
			results[i] = c.result(ctx)
			return nil
		})
	}
	_ = g.Wait() // none has an error
	return results
}

func (c Check) result(ctx context.Context) Result {
	if c.Limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Limit)
		defer cancel()
	}
	note, err := c.Run(ctx)
	switch s, skipped := errors.AsType[skip](err); {
	case skipped:
		return Result{c.Name, Skipped, s.why}
	case err != nil:
		return Result{c.Name, Failed, err.Error()}
	}
	return Result{c.Name, Success, note}
}
