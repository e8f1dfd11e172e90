package sessions

import (
	"container/heap"
	"time"
)

// Times of a session's life.
const (
	// OpenWithin is how long an agent may take to open its data channel.
	OpenWithin = 60 * time.Second
	// NudgeAfter is how long after the end of a session an agent that was told
	// on the data channel is told again on the control channel.
	NudgeAfter = 5 * time.Second
	// EndWithin is how long an agent may take to say that a session ended; its
	// drains and the upload of a log need not be over by then, but nobody
	// waits for them any longer.
	EndWithin = 30 * time.Second
	// orderAgain is the pause after which an order is sent again, doubled each
	// time: stock agents drop what comes before they are ready, and drop
	// orders that they have already.
	orderAgain = 5 * time.Second
)

// live is a session that has not ended on the node, as far as is known.
// Service.mu guards all but activity.
type live struct {
	id, node  string
	start     time.Time
	idle, max time.Duration
	opened    bool
	seen      bool
	closing   time.Time // when the agent said that it is about to end, or was last seen since
	ended     time.Time
	nudged    bool
	pushed    time.Time // when the order was last sent
	pushes    int
	activity  Activity

	due  time.Time
	heap int // index in the heap, -1 outside
}

func (s *Service) newLive(r Session) *live {
	l := &live{id: r.ID, node: r.NodeID, start: r.Start, idle: r.Idle, max: r.Max, opened: r.Opened, seen: r.Seen,
		pushed: s.clock.Now(), heap: -1}
	if r.State == Terminating {
		l.ended = r.End
	}
	l.activity.Touch(r.Start)
	return l
}

// next is when something is to be done about l.
func (l *live) next() time.Time {
	if !l.ended.IsZero() {
		if !l.nudged {
			return l.ended.Add(NudgeAfter)
		}
		return l.ended.Add(EndWithin)
	}
	at := l.activity.time().Add(l.idle)
	if !l.closing.IsZero() {
		at = earlier(at, l.closing.Add(EndWithin))
	}
	if l.max > 0 {
		at = earlier(at, l.start.Add(l.max))
	}
	if !l.opened {
		at = earlier(earlier(at, l.start.Add(OpenWithin)), l.pushed.Add(orderAgain<<min(l.pushes, 8)))
	}
	return at
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// schedule puts l where it belongs in the heap. s.mu is held, or s is new.
func (s *Service) schedule(l *live) {
	l.due = l.next()
	if l.heap < 0 {
		heap.Push(&s.due, l)
	} else {
		heap.Fix(&s.due, l.heap)
	}
	if s.due[0] == l {
		s.kick()
	}
}

// drop forgets l. s.mu is held.
func (s *Service) drop(l *live) {
	if l.heap >= 0 {
		heap.Remove(&s.due, l.heap)
	}
	delete(s.live, l.id)
}

func (s *Service) kick() {
	select {
	case s.rearm <- struct{}{}:
	default:
	}
}

// deadlines is a heap by due time.
type deadlines []*live

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, k int) bool { return d[i].due.Before(d[k].due) }
func (d deadlines) Swap(i, k int) {
	d[i], d[k] = d[k], d[i]
	d[i].heap, d[k].heap = i, k
}

// Push implements heap.Interface.
func (d *deadlines) Push(x any) {
	l := x.(*live)
	l.heap = len(*d)
	*d = append(*d, l)
}

// Pop implements heap.Interface.
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	l := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	l.heap = -1
	return l
}
