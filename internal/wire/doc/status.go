package doc

import "slices"

// Terminal says that a status will not change any more. SuccessAndReboot is
// not: the step runs again after the reboot.
func (s Status) Terminal() bool {
	return slices.Contains([]Status{Success, Failed, Cancelled, TimedOut, Skipped}, s)
}

// Aggregate is the status of a document with steps in these statuses.
func Aggregate(steps []Status) Status {
	for _, s := range []Status{SuccessAndReboot, Failed, TimedOut, Cancelled} {
		if slices.Contains(steps, s) {
			return s
		}
	}
	for _, s := range steps {
		if s != Success && s != Skipped {
			return InProgress
		}
	}
	return Success
}

// Overall is the status of a document whose steps have these results.
func Overall(results []Result) Status {
	statuses := make([]Status, len(results))
	for i, r := range results {
		statuses[i] = r.Status
	}
	return Aggregate(statuses)
}

// Merge is the status of one step that did two things (property blocks,
// sub-documents, package scripts). An empty status yields the other.
func Merge(a, b Status) Status {
	if rank(b) > rank(a) {
		return b
	}
	return a
}

func rank(s Status) int {
	return slices.Index([]Status{Skipped, Success, SuccessAndReboot, PassedAndReboot, NotStarted, InProgress, Failed, Cancelled, TimedOut}, s)
}
