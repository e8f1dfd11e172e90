package stream

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

const ms = time.Millisecond

func sender(t testing.TB, c SenderConfig) *Sender {
	t.Helper()
	if c.Type == "" {
		c.Type = mgs.TypeOutputStreamData
	}
	s, err := NewSender(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func push(t testing.TB, s *Sender, now time.Time, text string) {
	t.Helper()
	if n, err := s.Push(now, mgs.PayloadOutput, []byte(text)); n != len(text) || err != nil {
		t.Fatalf("Push took %d of %d, %v", n, len(text), err)
	}
}

func due(t testing.TB, s *Sender, now time.Time) []byte {
	t.Helper()
	b, ok := s.Due(now)
	if !ok {
		t.Fatal("nothing is due")
	}
	return bytes.Clone(b)
}

// sequences writes all that is due and returns its sequence numbers.
func sequences(t testing.TB, s *Sender, now time.Time) []int64 {
	t.Helper()
	out := []int64{}
	for b, ok := s.Due(now); ok; b, ok = s.Due(now) {
		m, err := frame.Unmarshal(b)
		if err != nil || !m.DigestOK {
			t.Fatalf("frame: %v, digest %v", err, m.DigestOK)
		}
		out = append(out, m.Sequence)
		if len(out) > 1e5 {
			t.Fatal("Due never ends")
		}
	}
	return out
}

func equal(t testing.TB, what string, got []int64, want ...int64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
	}
}

func TestPushIsBoundedByBytesAndFrames(t *testing.T) {
	t.Parallel()
	s := sender(t, SenderConfig{PayloadSize: 10, WindowBytes: 35, WindowFrames: 4})
	n, err := s.Push(t0, 1, make([]byte, 100))
	if n != 35 || err != nil || s.Room(t0) != 0 {
		t.Errorf("took %d, %v; room %d", n, err, s.Room(t0))
	}
	equal(t, "frames", sequences(t, s, t0), 0, 1, 2, 3)
	s.Acknowledge(t0, 1)
	if s.Room(t0) != 10 || s.Drained() {
		t.Errorf("room %d after an acknowledgement", s.Room(t0))
	}
	small := sender(t, SenderConfig{PayloadSize: 10, WindowBytes: 1000, WindowFrames: 2})
	if n, _ := small.Push(t0, 1, make([]byte, 100)); n != 20 {
		t.Errorf("took %d with room for two frames", n)
	}
	if ok, err := small.PushWhole(t0, 3, []byte("x")); ok || err != nil {
		t.Errorf("PushWhole into a full window: %v, %v", ok, err)
	}
}

func TestPushWholeSizes(t *testing.T) {
	t.Parallel()
	s := sender(t, SenderConfig{PayloadSize: 10, WindowBytes: 20})
	if ok, err := s.PushWhole(t0, 5, make([]byte, 500)); !ok || err != nil {
		t.Errorf("a large handshake alone: %v, %v", ok, err)
	}
	if _, err := s.PushWhole(t0, 5, nil); err == nil {
		t.Error("an empty payload was taken")
	}
	if _, err := s.PushWhole(t0, 5, make([]byte, MaxPayloadSize+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if err := s.SetPayloadSize(21); !errors.Is(err, ErrTooLarge) {
		t.Errorf("SetPayloadSize over the window: %v", err)
	}
	if err := s.SetPayloadSize(20); err != nil || s.PayloadSize() != 20 {
		t.Errorf("SetPayloadSize: %v", err)
	}
	if _, err := NewSender(SenderConfig{Type: "acknowledge"}); err == nil {
		t.Error("a sender of acknowledge was made")
	}
}

func TestRetransmission(t *testing.T) {
	t.Parallel()
	s := sender(t, SenderConfig{})
	if !s.NextDue().IsZero() {
		t.Error("something is due of nothing")
	}
	push(t, s, t0, "a")
	first := due(t, s, t0)
	push(t, s, t0, "b")
	equal(t, "first", sequences(t, s, t0), 1)
	if got := s.NextDue().Sub(t0); got != 200*ms {
		t.Errorf("next due after %v", got)
	}
	equal(t, "too early", sequences(t, s, t0.Add(199*ms)))
	if again := due(t, s, t0.Add(200*ms)); !bytes.Equal(first, again) {
		t.Error("the resent frame differs")
	}
	if got := s.NextDue().Sub(t0); got != 600*ms {
		t.Errorf("the second resend after %v: no back-off", got)
	}
	equal(t, "head only", sequences(t, s, t0.Add(time.Hour)), 0)
	s.Acknowledge(t0.Add(time.Hour), 0)
	equal(t, "the next head is overdue", sequences(t, s, t0.Add(time.Hour)), 1)
	if !s.Acknowledge(t0, 1) || s.Acknowledge(t0, 1) || s.Acknowledge(t0, 99) || s.Acknowledge(t0, -1) || !s.Drained() {
		t.Error("acknowledgements are miscounted")
	}
}

func TestHolesAreResentTogether(t *testing.T) {
	t.Parallel()
	s := sender(t, SenderConfig{PayloadSize: 1})
	push(t, s, t0, "abcdef")
	sequences(t, s, t0)
	s.Acknowledge(t0.Add(ms), 3)
	equal(t, "holes", sequences(t, s, t0.Add(300*ms)), 0, 1, 2)
}

func TestAcknowledgementBeforeSendingIsIgnored(t *testing.T) {
	t.Parallel()
	s := sender(t, SenderConfig{})
	push(t, s, t0, "a")
	if s.Acknowledge(t0, 0) {
		t.Error("a frame never sent was acknowledged")
	}
	equal(t, "due", sequences(t, s, t0), 0)
}

func TestPause(t *testing.T) {
	t.Parallel()
	s := sender(t, SenderConfig{PayloadSize: 1})
	push(t, s, t0, "a")
	sequences(t, s, t0)
	s.Pause()
	push(t, s, t0, "bc")
	equal(t, "paused", sequences(t, s, t0.Add(time.Minute)))
	if !s.NextDue().IsZero() || !s.Paused() {
		t.Error("something is due in a pause")
	}
	s.Start(t0.Add(time.Minute))
	equal(t, "started", sequences(t, s, t0.Add(time.Minute)), 1, 2, 0)
	s.Acknowledge(t0.Add(time.Minute), 0)
	if s.RTO().RTT() != 100*ms {
		t.Errorf("the pause was measured as a round trip: %v", s.RTO().RTT())
	}
	s.Pause()
	s.Acknowledge(t0, 77)
	if s.Paused() {
		t.Error("an acknowledgement does not end the pause")
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	s := sender(t, SenderConfig{PayloadSize: 1})
	push(t, s, t0, "abc")
	sequences(t, s, t0)
	s.Acknowledge(t0.Add(50*ms), 1)
	if got := s.RTO().Timeout(); got != 143750*time.Microsecond {
		t.Errorf("timeout %v", got)
	}
	s.Resume(t0.Add(time.Minute))
	push(t, s, t0.Add(time.Minute), "d")
	equal(t, "resumed", sequences(t, s, t0.Add(time.Minute)), 0, 2, 3)
	rtt := s.RTO().RTT()
	s.Acknowledge(t0.Add(time.Minute+ms), 0)
	if s.RTO().RTT() != rtt {
		t.Error("the interruption was measured as a round trip")
	}
	// What arrived before the cut may be acknowledged before it is resent.
	s.Resume(t0.Add(2 * time.Minute))
	if !s.Acknowledge(t0.Add(2*time.Minute), 2) {
		t.Error("a late acknowledgement was ignored")
	}
	equal(t, "resumed again", sequences(t, s, t0.Add(2*time.Minute)), 3)
}

func TestLentFrameIsNotOverwritten(t *testing.T) {
	t.Parallel()
	s := sender(t, SenderConfig{PayloadSize: 4})
	push(t, s, t0, "aaaa")
	b, _ := s.Due(t0)
	want := bytes.Clone(b)
	s.Acknowledge(t0, 0) // it arrived while its write is still under way
	for range 10 {
		push(t, s, t0, "bbbb")
	}
	if !bytes.Equal(b, want) {
		t.Error("the frame being written was overwritten")
	}
}

// TestKeep: a session that carries much makes its buffers once.
func TestKeep(t *testing.T) {
	t.Parallel()
	payload := make([]byte, 64<<10)
	pump := func(l Link) {
		for range 2 {
			for range 8 {
				if n, err := l.Push(t0, 1, payload); n != len(payload) || err != nil {
					t.Fatal(n, err)
				}
			}
			for i, ok := 0, true; ok; i++ {
				_, ok = l.Due(t0)
			}
			for seq := range l.nextSeq {
				l.Acknowledge(t0, seq)
			}
			l.Due(t0) // gives the last one back
		}
	}
	for keep, want := range map[int]int{0: keepBytes, 1 << 20: 8 * (len(payload) + frame.HeaderSize)} {
		l, err := NewLink(SenderConfig{Type: mgs.TypeOutputStreamData, PayloadSize: len(payload)}, ReceiverConfig{Type: mgs.TypeInputStreamData})
		if err != nil {
			t.Fatal(err)
		}
		if keep > 0 {
			l.SetKeep(keep)
		}
		pump(l)
		if got := l.Sender.q.freeBytes; got > want || got < want/2 {
			t.Errorf("SetKeep(%d): %d bytes are kept, want about %d", keep, got, want)
		}
	}
}
