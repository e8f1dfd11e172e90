package ssmclient

import (
	"net/http"
	"sync/atomic"
	"time"

	"ssmagent/internal/clock"
)

// tolerance is the difference of clocks below which nothing is corrected: the
// Date header has whole seconds and answers take time, while services take
// signatures that are minutes old.
const tolerance = 30 * time.Second

// Skew is how far this machine's clock is behind the service's, measured from
// the Date of answers. The zero Skew is ready and means none; a nil one
// measures nothing. Safe for concurrent use.
type Skew struct {
	offset   atomic.Int64
	measured atomic.Bool
}

// Measured says whether an answer has been compared yet.
func (s *Skew) Measured() bool { return s != nil && s.measured.Load() }

// Offset is what has to be added to the local time, zero when it is right.
func (s *Skew) Offset() time.Duration {
	if s == nil {
		return 0
	}
	return time.Duration(s.offset.Load())
}

// Now is the service's time by the local clock.
func (s *Skew) Now(c clock.Clock) time.Time { return c.Now().Add(s.Offset()) }

// Observe learns from an answer with this Date header to a request sent at
// sent and answered at received, both in local time.
func (s *Skew) Observe(sent, received time.Time, date string) {
	if s == nil || date == "" {
		return
	}
	t, err := http.ParseTime(date)
	// A request that took long says little about when the answer was dated.
	if err != nil || received.Sub(sent) > tolerance {
		return
	}
	// Between the two times, and half of the second that Date cuts off.
	local := sent.Add(received.Sub(sent) / 2)
	off := t.Add(500 * time.Millisecond).Sub(local)
	if off.Abs() < tolerance {
		off = 0
	}
	s.offset.Store(int64(off))
	s.measured.Store(true)
}
