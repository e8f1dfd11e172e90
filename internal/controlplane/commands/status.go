package commands

import "time"

// completed counts the invocations in a final state.
func (c Command) completed() int {
	n := 0
	for s, k := range c.Counts {
		if s.Final() {
			n += k
		}
	}
	return n
}

// errorCount is what counts against MaxErrors.
func (c Command) errorCount() int { return c.Counts[Failed] + c.Counts[ExecutionTimedOut] }

// details derives the command's StatusDetails from those of its invocations.
func (c Command) details() State {
	if c.TargetCount == 0 {
		return NoInstancesInTag
	}
	if c.completed() < c.TargetCount {
		switch {
		case c.CancelRequested || c.Counts[Cancelling] == c.TargetCount:
			return Cancelling
		case c.Counts[Pending] == c.TargetCount:
			return Pending
		case c.Counts[Pending]+c.Counts[Delayed] == c.TargetCount:
			return Delayed
		}
		return InProgress
	}
	return c.finalDetails()
}

// finalDetails is the outcome once every invocation is final. With MaxErrors
// 0 "MaxErrors or more" must be read as at least one.
func (c Command) finalDetails() State {
	enough := max(1, c.Errors)
	switch {
	case c.Counts[Cancelled] > 0 && (c.CancelRequested || c.Counts[Cancelled] == c.TargetCount):
		return Cancelled
	case c.errorCount() >= enough:
		if c.Counts[Failed] == 0 {
			return ExecutionTimedOut
		}
		return Failed
	case c.Counts[DeliveryTimedOut] >= enough:
		return DeliveryTimedOut
	case c.Counts[Success] > 0 && c.Counts[Success]+c.Counts[Undeliverable] == c.TargetCount:
		return Success
	}
	return Incomplete
}

// status is the API's enumeration for the command. Delayed is none of it.
func (c Command) status() string {
	if c.Details == Delayed {
		return string(Pending)
	}
	return c.Details.Status()
}

// count moves one invocation from a state to another ("" is none) and brings
// Details and Finished up to date.
func (c *Command) count(from, to State, now time.Time) {
	if c.Counts == nil {
		c.Counts = map[State]int{}
	}
	if from != "" {
		if c.Counts[from]--; c.Counts[from] <= 0 {
			delete(c.Counts, from)
		}
	}
	c.Counts[to]++
	c.settle(now)
}

func (c *Command) settle(now time.Time) {
	c.Details = c.details()
	if c.Finished.IsZero() && c.completed() >= c.TargetCount {
		c.Finished = now
	}
}
