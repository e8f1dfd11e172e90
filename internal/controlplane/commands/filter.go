package commands

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/wire/ssm"
)

// filter is the conditions of a list, which must all hold.
type filter struct {
	after, before time.Time
	statuses      []string
	documents     []string
	stages        []string
}

// The words that a Status filter knows, of commands and of invocations.
var (
	commandStatuses = []string{"Pending", "InProgress", "Success", "Cancelled", "Failed", "TimedOut", "Cancelling",
		"AccessDenied", "DeliveryTimedOut", "ExecutionTimedOut", "Incomplete", "NoInstancesInTag", "LimitExceeded"}
	invocationStatuses = []string{"Pending", "InProgress", "Delayed", "Success", "Cancelled", "Failed", "TimedOut", "Cancelling",
		"AccessDenied", "DeliveryTimedOut", "ExecutionTimedOut", "Undeliverable", "InvalidPlatform", "Terminated"}
)

// newFilter reads filters; stages says that ExecutionStage is one of them.
func newFilter(in []ssm.CommandFilter, statuses []string, stages bool) (f filter, err error) {
	for i, c := range in {
		at := fmt.Sprintf("Filters[%d]", i)
		switch {
		case c.Key == "InvokedAfter" || c.Key == "InvokedBefore":
			t, err := time.Parse(time.RFC3339, c.Value)
			if err != nil {
				return f, api.Errorf(api.CodeValidation, "%s.value of %s is %q, needs a time like 2021-07-07T00:00:00Z", at, c.Key, cut(c.Value, 64))
			}
			f.bound(c.Key, t)
		case c.Key == "Status":
			if !slices.Contains(statuses, c.Value) {
				return f, api.Errorf(api.CodeValidation, "%s.value of Status is %q, needs one of %s", at, cut(c.Value, 64), strings.Join(statuses, ", "))
			}
			f.statuses = append(f.statuses, c.Value)
		case c.Key == "DocumentName":
			f.documents = append(f.documents, c.Value)
		case c.Key == "ExecutionStage" && stages:
			if c.Value != "Executing" && c.Value != "Complete" {
				return f, api.Errorf(api.CodeValidation, "%s.value of ExecutionStage is %q, needs Executing or Complete", at, cut(c.Value, 64))
			}
			f.stages = append(f.stages, c.Value)
		case c.Key == "ExecutionStage":
			return f, api.Errorf("InvalidFilterKey", "%s.key ExecutionStage is for ListCommands only", at)
		default:
			return f, api.Errorf("InvalidFilterKey", "%s.key is %q, needs one of InvokedAfter, InvokedBefore, Status, DocumentName, ExecutionStage", at, cut(c.Key, 64))
		}
	}
	return f, nil
}

func (f *filter) bound(key string, t time.Time) {
	if key == "InvokedAfter" {
		if t.After(f.after) {
			f.after = t
		}
		return
	}
	if f.before.IsZero() || t.Before(f.before) {
		f.before = t
	}
}

// times says whether the request's time fits.
func (f filter) times(t time.Time) bool {
	return !t.Before(f.after) && (f.before.IsZero() || t.Before(f.before))
}

// words says whether document, status and its details fit.
func (f filter) words(document, status string, details State) bool {
	for _, d := range f.documents {
		if d != document {
			return false
		}
	}
	for _, s := range f.statuses {
		if s != status && s != string(details) {
			return false
		}
	}
	return true
}

func (f filter) stage(done bool) bool {
	for _, s := range f.stages {
		if (s == "Complete") != done {
			return false
		}
	}
	return true
}

// sortByAge orders commands, the oldest first.
func sortByAge(c []Command) {
	sort.Slice(c, func(i, k int) bool {
		if c[i].Requested.Equal(c[k].Requested) {
			return c[i].ID < c[k].ID
		}
		return c[i].Requested.Before(c[k].Requested)
	})
}
