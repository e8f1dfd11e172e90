package stream

import "time"

const (
	// stallAfter is how long a full window may stand still before one frame
	// more is let through as a probe (towards forgetful peers only).
	stallAfter = 2 * time.Second
	// giveUpDoubts is after how many proofs a frame counts as delivered.
	giveUpDoubts = 8
	// maxProbes is how many probes in a row may be lost to cuts.
	maxProbes = 64
)

// SetForgetful says that the peer never acknowledges a duplicate, as the stock
// plugin: an acknowledgement that gets lost is lost for good, unless the gateway
// makes another. Without more, such frames would fill the window and stop the
// stream.
//
// The path delivers in order, and after a cut all begins with the oldest. So
// when a frame is acknowledged that was first written after an earlier one was
// written again, the peer has that earlier one too. From the first such proof it
// is doubtful: it is still sent again, ever more seldom, but no longer counts
// against the window. After eight proofs by eight transmissions it counts as
// delivered. When a full window stands still, one frame more is let through, to
// get such a proof.
func (s *Sender) SetForgetful(on bool) { s.forgetful = on }

// doubt looks what the acknowledgement of a proves of the entries before it.
// It looks only when something was written again since it last looked.
func (s *Sender) doubt(a *entry) {
	if a.firstWrite < s.unproved {
		return
	}
	left := uint64(noWrite)
	for e := s.q.head; e != nil; {
		next := e.next
		switch {
		case e.again == 0 || e == a:
		case e.again < a.firstWrite:
			s.addDoubt(e)
		default:
			left = min(left, e.again)
		}
		e = next
	}
	s.unproved = left
}

func (s *Sender) addDoubt(e *entry) {
	if e.doubts == 0 {
		s.bytes -= e.size
		s.frames--
	}
	e.doubts++
	e.again = 0
	// Doubtful frames are bounded by what is in the map beside the window.
	if e.doubts >= giveUpDoubts || len(s.q.bySeq)-s.frames > s.cfg.WindowFrames {
		s.drop(e)
	}
}

// mayProbe says whether one frame may exceed the full window. A probe whose
// own acknowledgement was cut off is followed by another on the next connection,
// up to a bound.
func (s *Sender) mayProbe(now time.Time) bool {
	return s.forgetful && !s.paused && !s.probed && s.unsent == nil &&
		s.frames <= s.cfg.WindowFrames+maxProbes && s.bytes <= s.cfg.WindowBytes+maxProbes*s.cfg.PayloadSize &&
		now.Sub(s.progress) >= stallAfter
}
