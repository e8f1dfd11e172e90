package stream

import (
	"testing"
	"time"
)

// TestTrial: a connection after the first carries little before it is known to
// carry anything back.
func TestTrial(t *testing.T) {
	t.Parallel()
	s := sender(t, SenderConfig{PayloadSize: trialBytes / 2})
	again := t0.Add(time.Minute)
	ten := func() {
		push(t, s, t0, string(make([]byte, 5*trialBytes)))
		equal(t, "first connection", sequences(t, s, t0), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
		s.Resume(again)
		equal(t, "on trial", sequences(t, s, again), 0, 1)
		if s.IsDue(again) || !s.NextDue().After(again) {
			t.Errorf("due at %v", s.NextDue())
		}
	}
	ten()
	s.Acknowledge(again, 1)
	if !s.IsDue(again) {
		t.Error("nothing is due after the trial")
	}
	equal(t, "after the trial", sequences(t, s, again), 2, 3, 4, 5, 6, 7, 8, 9)

	s = sender(t, SenderConfig{PayloadSize: trialBytes / 2})
	ten()
	late := s.NextDue()
	if wait := late.Sub(again); wait != s.RTO().Timeout() {
		t.Errorf("a silent peer is waited for %v", wait)
	}
	equal(t, "without an answer", sequences(t, s, late)[:8], 2, 3, 4, 5, 6, 7, 8, 9)

	s.SetForgetful(true)
	s.Resume(again)
	equal(t, "towards a forgetful peer", sequences(t, s, again), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
}
