package sessions

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

// defaultPage is the page size when MaxResults is not given: its maximum.
const defaultPage = 200

// DescribeSessions implements the operation, the newest session first.
func (s *Service) DescribeSessions(_ context.Context, _ api.Caller, in ssm.DescribeSessionsInput) (ssm.DescribeSessionsOutput, error) {
	out := ssm.DescribeSessionsOutput{Sessions: []ssm.Session{}}
	f, err := newFilter(in.Filters)
	if err != nil {
		return out, err
	}
	page := api.PageRequest{Op: "DescribeSessions", Filters: []any{in.State, in.Filters}, Token: in.NextToken, Max: in.MaxResults, Default: defaultPage}
	after, err := page.Cursor()
	if err != nil {
		return out, err
	}
	index := active
	if in.State == ssm.SessionsHistory {
		index = history
	}
	var last string
	err = s.db.View(func(tx *store.Tx) error {
		return index.Scan(tx, "", after, func(key string, _ mark) (bool, error) {
			r, ok, err := Sessions.Get(tx, idOf(key))
			if err != nil || !ok {
				return err == nil, err
			}
			if r.Start.Before(f.after) {
				return false, nil
			}
			w := s.wire(r)
			if !f.fits(r, w) {
				return true, nil
			}
			if len(out.Sessions) == page.Size() {
				out.NextToken = page.NextToken(last)
				return false, nil
			}
			out.Sessions, last = append(out.Sessions, w), key
			return true, nil
		})
	})
	return out, err
}

// wire is the session as operators see it.
func (s *Service) wire(r Session) ssm.Session {
	w := ssm.Session{
		SessionId: r.ID, Target: r.NodeID, Status: s.status(r), StartDate: ssm.Time{Time: r.Start}, DocumentName: r.DocumentName,
		Owner: r.Owner, Reason: r.Reason, Details: r.Details, AccessType: ssm.SessionAccessStandard,
	}
	if !r.End.IsZero() {
		w.EndDate = &ssm.Time{Time: r.End}
	}
	if r.Max > 0 {
		w.MaxSessionDuration = strconv.Itoa(int(r.Max / time.Minute))
	}
	if r.Log.S3Bucket != "" || r.Log.Group != "" {
		w.OutputUrl = &ssm.SessionOutputUrl{}
		if r.Log.S3Bucket != "" {
			w.OutputUrl.S3OutputUrl = "s3://" + r.Log.S3Bucket + "/" + r.Log.S3Key
		}
		if r.Log.Group != "" {
			w.OutputUrl.CloudWatchOutputUrl = r.Log.Group + ":" + r.Log.Stream
		}
	}
	return w
}

func (s *Service) status(r Session) string {
	if r.State != Active {
		return string(r.State)
	}
	s.mu.Lock()
	l, channels := s.live[r.ID], s.channels
	opened, seen, closing := r.Opened, r.Seen, false
	if l != nil {
		opened, seen, closing = l.opened, l.seen, !l.closing.IsZero()
	}
	s.mu.Unlock()
	var agent, client bool
	if channels != nil {
		agent, client = channels.Sides(r.ID)
	}
	switch {
	case closing:
		return ssm.SessionTerminating
	case agent && client:
		return ssm.SessionConnected
	case !opened || !seen:
		return ssm.SessionConnecting
	}
	return ssm.SessionDisconnected
}

// filter is the conditions of a list.
type filter struct {
	after, before time.Time
	words         []ssm.SessionFilter
}

var (
	filterKeys = []string{"InvokedAfter", "InvokedBefore", "Target", "Owner", "Status", "SessionId", "AccessType", "DocumentName"}
	statuses   = []string{ssm.SessionConnected, ssm.SessionConnecting, ssm.SessionDisconnected, ssm.SessionTerminated, ssm.SessionTerminating, ssm.SessionFailed}
	accesses   = []string{ssm.SessionAccessStandard, "JustInTime"}
)

func newFilter(in []ssm.SessionFilter) (f filter, err error) {
	for _, c := range in {
		switch c.Key {
		case "InvokedAfter", "InvokedBefore":
			t, err := time.Parse(time.RFC3339, c.Value)
			if err != nil {
				return f, api.Errorf(api.CodeValidation, "the filter %s has the value %q, needs a time such as 2024-08-29T00:00:00Z", c.Key, clip(c.Value, 64))
			}
			if c.Key == "InvokedBefore" {
				f.before = t
			} else {
				f.after = t
			}
			continue
		case "Status", "AccessType":
			known := statuses
			if c.Key == "AccessType" {
				known = accesses
			}
			if !slices.Contains(known, c.Value) {
				return f, api.Errorf(api.CodeValidation, "the filter %s has the value %q, needs one of %s", c.Key, clip(c.Value, 64), strings.Join(known, ", "))
			}
		}
		if !slices.Contains(filterKeys, c.Key) {
			return f, api.Errorf("InvalidFilterKey", "the filter key %q is not known: use %s", clip(c.Key, 64), strings.Join(filterKeys, ", "))
		}
		f.words = append(f.words, c)
	}
	return f, nil
}

// fits says whether every condition holds.
func (f filter) fits(r Session, w ssm.Session) bool {
	if !f.before.IsZero() && !r.Start.Before(f.before) {
		return false
	}
	value := map[string]string{"Target": w.Target, "Owner": w.Owner, "Status": w.Status, "SessionId": w.SessionId,
		"AccessType": w.AccessType, "DocumentName": w.DocumentName}
	for _, c := range f.words {
		if value[c.Key] != c.Value {
			return false
		}
	}
	return true
}
