package stream

import (
	"testing"
	"time"
)

func TestForgetfulPeer(t *testing.T) {
	t.Parallel()
	s := sender(t, SenderConfig{PayloadSize: 1, WindowBytes: 4})
	s.SetForgetful(true)
	push(t, s, t0, "abcd")
	sequences(t, s, t0) // arrives; the acknowledgements are lost
	now := t0.Add(time.Second)
	s.Resume(now)
	equal(t, "resumed", sequences(t, s, now), 0, 1, 2, 3)
	if s.Room(now.Add(stallAfter-1)) != 0 {
		t.Error("the window opened too early")
	}
	now = now.Add(stallAfter)
	if s.Room(now) != 1 {
		t.Fatal("no probe is let through")
	}
	n, err := s.Push(now, 1, []byte("efgh"))
	if n != 1 || err != nil {
		t.Fatalf("%d bytes as a probe, %v", n, err)
	}
	sequences(t, s, now)
	s.Acknowledge(now, 4)
	if s.Room(now) != 4 || !s.Drained() {
		t.Errorf("the probe's acknowledgement left room %d", s.Room(now))
	}
	resent := 0
	for i := range int64(100) { // one by one they are given up
		now = now.Add(5 * time.Second)
		resent += len(sequences(t, s, now))
		push(t, s, now, "x")
		sequences(t, s, now)
		s.Acknowledge(now, 5+i)
	}
	if len(s.q.bySeq) != 0 || resent != 4*(giveUpDoubts-1) {
		t.Errorf("%d frames are left after %d resends", len(s.q.bySeq), resent)
	}
}

// stall fills a window of two whose acknowledgements get lost, and cuts.
func stall(t *testing.T) (*Sender, time.Time) {
	t.Helper()
	s := sender(t, SenderConfig{PayloadSize: 1, WindowBytes: 2})
	s.SetForgetful(true)
	push(t, s, t0, "ab")
	sequences(t, s, t0)
	now := t0.Add(time.Second)
	s.Resume(now)
	sequences(t, s, now)
	return s, now.Add(stallAfter)
}

func TestForgetfulProbeIsRepeatedAfterACut(t *testing.T) {
	t.Parallel()
	s, now := stall(t)
	for i := range int64(3) {
		push(t, s, now, "x")
		equal(t, "probe", sequences(t, s, now)[:1], 2+i)
		if s.Room(now.Add(time.Hour)) != 0 {
			t.Fatal("a second probe on one connection")
		}
		s.Resume(now)
		sequences(t, s, now)
		now = now.Add(stallAfter)
	}
}

func TestForgetfulPeerStillGetsWhatIsLost(t *testing.T) {
	t.Parallel()
	s, now := stall(t)
	push(t, s, now, "c")
	sequences(t, s, now)
	s.Acknowledge(now, 2)
	push(t, s, now, "d") // lost, and nothing after it
	equal(t, "first", sequences(t, s, now)[:1], 3)
	found := false
	for _, seq := range sequences(t, s, now.Add(time.Second)) {
		found = found || seq == 3
	}
	if !found {
		t.Error("a lost frame behind doubtful ones is not sent again")
	}
}

// TestForgetfulProof: only what was written again before the acknowledged frame
// was first written is doubtful, and it is not counted twice.
func TestForgetfulProof(t *testing.T) {
	t.Parallel()
	s := sender(t, SenderConfig{PayloadSize: 1, WindowBytes: 10})
	s.SetForgetful(true)
	push(t, s, t0, "abcd")
	sequences(t, s, t0)
	now := t0.Add(250 * ms)
	equal(t, "resent", sequences(t, s, now), 0)
	s.Acknowledge(now, 3)
	if got := s.Room(now); got != 7 {
		t.Errorf("room %d: a resend after the acknowledged frame is no proof", got)
	}
	now = now.Add(3 * time.Second)
	push(t, s, now, "e")
	equal(t, "and the holes", sequences(t, s, now), 4, 0, 1, 2)
	s.Acknowledge(now, 4)
	if got := s.Room(now); got != 8 {
		t.Errorf("room %d: frame 0 is doubtful, 1 and 2 are not", got)
	}
	s.Acknowledge(now, 0) // after all
	if got, _ := s.Pending(); got != 2 || s.Room(now) != 8 {
		t.Errorf("%d bytes are pending", got)
	}
}
