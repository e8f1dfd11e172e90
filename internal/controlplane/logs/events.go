package logs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	wire "ssmagent/internal/wire/logs"
)

// Limits of events, as AWS has them.
const (
	maxSpan   = 24 * time.Hour
	maxPast   = 14 * 24 * time.Hour
	maxFuture = 2 * time.Hour
	maxPage   = 1 << 20 // bytes of messages in an answer
	maxCount  = 10_000
)

// token is the sequence token of a stream, which nobody needs any more.
func token(seq uint64) string { return fmt.Sprintf("%056d", seq+1) }

func (s *Service) putEvents(_ context.Context, _ api.Caller, in wire.PutLogEventsInput) (out wire.PutLogEventsOutput, err error) {
	if err := s.throttle(); err != nil {
		return out, err
	}
	if err := checkBatch(in.LogEvents); err != nil {
		return out, err
	}
	now := s.now()
	from, to := 0, len(in.LogEvents)
	for from < to && in.LogEvents[from].Timestamp < now-maxPast.Milliseconds() {
		from++
	}
	for to > from && in.LogEvents[to-1].Timestamp > now+maxFuture.Milliseconds() {
		to--
	}
	if from > 0 || to < len(in.LogEvents) {
		out.Rejected = new(wire.RejectedEvents)
		if from > 0 {
			out.Rejected.TooOldEnd = &from
		}
		if to < len(in.LogEvents) {
			out.Rejected.TooNewStart = &to
		}
	}
	err = s.opt.DB.Update(func(tx *store.Tx) error {
		st, err := needStream(tx, in.LogGroupName, in.LogStreamName)
		if err != nil {
			return err
		}
		for _, e := range in.LogEvents[from:to] {
			st.Seq++
			if err := events.Put(tx, st.ID+"\x00"+at(e.Timestamp, st.Seq), event{e.Message, now}); err != nil {
				return err
			}
			if st.First == 0 || e.Timestamp < st.First {
				st.First = e.Timestamp
			}
			st.Last, st.Ingested = max(st.Last, e.Timestamp), now
			st.Bytes += int64(len(e.Message) + wire.EventOverhead)
		}
		out.NextSequenceToken = token(st.Seq)
		return streams.Put(tx, streamKey(in.LogGroupName, in.LogStreamName), st)
	})
	return out, err
}

func checkBatch(all []wire.InputEvent) error {
	size := 0
	for i, e := range all {
		size += len(e.Message) + wire.EventOverhead
		switch {
		case e.Timestamp < 0:
			return api.Errorf(wire.CodeInvalid, "logEvents[%d].timestamp is before 1970", i)
		case i > 0 && e.Timestamp < all[i-1].Timestamp:
			return api.Errorf(wire.CodeInvalid, "Log events in a single PutLogEvents request must be in chronological order.")
		case e.Timestamp-all[0].Timestamp > maxSpan.Milliseconds():
			return api.Errorf(wire.CodeInvalid, "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
		}
	}
	if size > wire.MaxBatch {
		return api.Errorf(wire.CodeInvalid, "Upload too large: %d bytes exceeds limit of %d", size, wire.MaxBatch)
	}
	return nil
}

// span is a range of times, the first included, the last not.
func span(start, end int64) (from, to string) {
	from, to = at(start, 0), above
	if end > 0 {
		to = at(end, 0)
	}
	return from, to
}

// above sorts after every position.
const above = "g"

func parseToken(token string) (forward bool, position string, err error) {
	way, position, ok := strings.Cut(token, "/")
	if !ok || way != "f" && way != "b" || position == "" || len(position) > 33 || strings.Trim(position, "0123456789abcdefg") != "" {
		return false, "", api.Errorf(wire.CodeInvalid, "The specified nextToken is invalid.")
	}
	return way == "f", position, nil
}

// getEvents reads a page of one stream. A position is an event's time and
// number: a token f/P goes on behind P, b/P before it.
func (s *Service) getEvents(_ context.Context, _ api.Caller, in wire.GetLogEventsInput) (out wire.GetLogEventsOutput, err error) {
	from, to := span(in.StartTime, in.EndTime)
	forward := in.StartFromHead
	if in.NextToken != "" {
		var position string
		if forward, position, err = parseToken(in.NextToken); err != nil {
			return out, err
		}
		if forward {
			from = max(from, position)
		} else {
			to = min(to, position)
		}
	}
	limit := cmp.Or(in.Limit, maxCount)
	out.Events = []wire.OutputEvent{}
	var first, last string
	err = s.opt.DB.View(func(tx *store.Tx) error {
		st, err := needStream(tx, in.LogGroupName, in.LogStreamName)
		if err != nil {
			return err
		}
		base, size := st.ID+"\x00", 0
		take := func(key string, e event) (bool, error) {
			p := key[len(base):]
			if size += len(e.Message) + wire.EventOverhead; p <= from || p >= to || len(out.Events) == limit || size > maxPage && len(out.Events) > 0 {
				return false, nil
			}
			out.Events = append(out.Events, wire.OutputEvent{Timestamp: whenOf(p), Message: e.Message, IngestionTime: e.Ingested})
			if first == "" {
				first = p
			}
			last = p
			return true, nil
		}
		if forward {
			return events.Scan(tx, base, base+from, take)
		}
		return events.ScanDown(tx, base, base+to, take)
	})
	if !forward {
		slices.Reverse(out.Events)
		first, last = last, first
	}
	switch {
	case first != "":
		out.NextForwardToken, out.NextBackwardToken = "f/"+last, "b/"+first
	case forward:
		out.NextForwardToken, out.NextBackwardToken = "f/"+from, "b/"+from+above
	default:
		out.NextForwardToken, out.NextBackwardToken = "f/"+to[:len(to)-1]+"0", "b/"+to
	}
	if in.NextToken != "" && len(out.Events) == 0 { // the end: the token that was given
		if forward {
			out.NextForwardToken = in.NextToken
		} else {
			out.NextBackwardToken = in.NextToken
		}
	}
	return out, err
}
