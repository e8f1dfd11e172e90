package stream

import "time"

// trialBytes is the payload that a new connection may carry before the first
// acknowledgement: all that a person types, and one frame at least.
const trialBytes = 4 << 10

// A connection that comes after another is on trial. Were it sent a whole window
// at once, one that is cut early would carry the same frames in vain time and
// again, and be lost before a single acknowledgement came back on it. A trial
// ends with an acknowledgement, or when it is overdue. Forgetful peers may never
// send one for what they have already: they are spared it.
type trial struct {
	on   bool
	left int // bytes
}

// begin is called with the connection; proved says that nothing was sent before.
func (t *trial) begin(proved bool) { *t = trial{on: !proved, left: trialBytes} }

// onTrial says that what is unsent waits for an acknowledgement.
func (s *Sender) onTrial() bool { return s.trial.on && !s.forgetful && s.trial.left <= 0 }

// trialEnds is when frames are sent without that acknowledgement.
func (s *Sender) trialEnds() time.Time {
	return s.resumed.Add(max(s.rto.Timeout(), minResend))
}
