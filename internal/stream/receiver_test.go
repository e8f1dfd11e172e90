package stream

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

func receiver(t testing.TB, c ReceiverConfig) *Receiver {
	t.Helper()
	if c.Type == "" {
		c.Type = mgs.TypeOutputStreamData
	}
	r, err := NewReceiver(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func msg(seq int64, payload string) frame.Message {
	m := frame.New(mgs.TypeOutputStreamData, t0, []byte(payload))
	m.Sequence, m.PayloadType = seq, mgs.PayloadOutput
	return m
}

func acks(t testing.TB, r *Receiver) []int64 {
	t.Helper()
	out := []int64{}
	for b, ok := r.Ack(t0); ok; b, ok = r.Ack(t0) {
		m, err := frame.Unmarshal(b)
		if err != nil || m.Type != mgs.TypeAcknowledge {
			t.Fatal(m.Type, err)
		}
		var a mgs.Acknowledge
		if err := json.Unmarshal(m.Payload, &a); err != nil {
			t.Fatal(err)
		}
		out = append(out, a.AcknowledgedMessageSequenceNumber)
	}
	return out
}

func text(r *Receiver) string {
	s := ""
	for _, b, ok := r.Next(); ok; _, b, ok = r.Next() {
		s += string(b)
	}
	return s
}

func accept(t testing.TB, r *Receiver, m frame.Message, want Kind) {
	t.Helper()
	if o, err := r.Accept(m); err != nil || o.Kind != want {
		t.Fatalf("frame %d: kind %d, %v; want %d", m.Sequence, o.Kind, err, want)
	}
}

func TestReceiverOrders(t *testing.T) {
	t.Parallel()
	r := receiver(t, ReceiverConfig{})
	accept(t, r, msg(2, "c"), OutOfOrder)
	accept(t, r, msg(2, "c"), Duplicate)
	accept(t, r, msg(1, "b"), OutOfOrder)
	if got := text(r); got != "" {
		t.Errorf("%q before its turn", got)
	}
	accept(t, r, msg(0, "a"), InOrder)
	if got := text(r); got != "abc" {
		t.Errorf("%q", got)
	}
	accept(t, r, msg(1, "b"), Duplicate)
	equal(t, "acknowledged", acks(t, r), 2, 2, 1, 0, 1)
}

func TestReceiverAcknowledgesWhatIsTaken(t *testing.T) {
	t.Parallel()
	r := receiver(t, ReceiverConfig{AckAhead: 2})
	for i, c := range "abcd" {
		accept(t, r, msg(int64(i), string(c)), InOrder)
	}
	equal(t, "ahead", acks(t, r), 0, 1)
	accept(t, r, msg(3, "d"), Duplicate)
	accept(t, r, msg(1, "b"), Duplicate)
	equal(t, "of duplicates", acks(t, r), 1)
	if r.Waiting() != 4 || text(r) != "abcd" {
		t.Error("wrong text")
	}
	equal(t, "taken", acks(t, r), 2, 3)
	accept(t, r, msg(4, "e"), InOrder)
	equal(t, "ahead again", acks(t, r), 4)
	none := receiver(t, ReceiverConfig{AckAhead: -1})
	accept(t, none, msg(0, "a"), InOrder)
	equal(t, "none ahead", acks(t, none))
}

// TestAckWaits: what lets a peer go on, or says how things stand, is told at
// once; a few frames in order may wait.
func TestAckWaits(t *testing.T) {
	t.Parallel()
	size := msg(1, "s")
	size.PayloadType = mgs.PayloadSize
	for _, c := range []struct {
		name    string
		frames  []frame.Message
		waits   bool
		patient bool
	}{
		{"nothing", nil, false, true},
		{"a key", []frame.Message{msg(0, "a")}, true, true},
		{"seven keys", []frame.Message{msg(0, "a"), msg(1, "a"), msg(2, "a"), msg(3, "a"), msg(4, "a"), msg(5, "a"), msg(6, "a")}, true, true},
		{"eight keys", []frame.Message{msg(0, "a"), msg(1, "a"), msg(2, "a"), msg(3, "a"), msg(4, "a"), msg(5, "a"), msg(6, "a"), msg(7, "a")}, true, false},
		{"a large one", []frame.Message{msg(0, strings.Repeat("a", 64<<10))}, true, true},
		{"a quarter of a window, read", []frame.Message{msg(0, strings.Repeat("a", 128<<10)), msg(1, strings.Repeat("a", 128<<10))}, true, false},
		{"a size behind a key", []frame.Message{msg(0, "a"), size}, true, false},
		{"a key twice", []frame.Message{msg(0, "a"), msg(0, "a")}, true, false},
		{"a key too early", []frame.Message{msg(0, "a"), msg(2, "a")}, true, false},
	} {
		r := receiver(t, ReceiverConfig{})
		for _, m := range c.frames {
			if _, err := r.Accept(m); err != nil {
				t.Fatal(c.name, err)
			}
		}
		for r.Waiting() > DefaultAckAhead {
			r.Next()
		}
		if waits, patient := r.AckWaits(); waits != c.waits || patient != c.patient {
			t.Errorf("%s: waits %v, patient %v", c.name, waits, patient)
		}
		acks(t, r)
		if waits, patient := r.AckWaits(); waits || !patient {
			t.Errorf("%s, acknowledged: waits %v, patient %v", c.name, waits, patient)
		}
	}
}

func TestReceiverRefuses(t *testing.T) {
	t.Parallel()
	r := receiver(t, ReceiverConfig{QueueBytes: 4, QueueFrames: 10, AckAhead: -1})
	input := msg(0, "a")
	input.Type = mgs.TypeInputStreamData
	for _, c := range []struct {
		m    frame.Message
		want error
	}{
		{input, ErrNotStream},
		{msg(-1, "a"), ErrOutOfWindow},
		{msg(math.MinInt64, "a"), ErrOutOfWindow},
		{msg(10, "a"), ErrOutOfWindow},
		{msg(math.MaxInt64, "a"), ErrOutOfWindow},
	} {
		if _, err := r.Accept(c.m); !errors.Is(err, c.want) {
			t.Errorf("%s %d: %v, want %v", c.m.Type, c.m.Sequence, err, c.want)
		}
	}
	accept(t, r, msg(2, "cccc"), OutOfOrder)
	if _, err := r.Accept(msg(3, "d")); !errors.Is(err, ErrQueueFull) {
		t.Errorf("too much out of order: %v", err)
	}
	accept(t, r, msg(0, "aaaa"), InOrder)
	if _, err := r.Accept(msg(1, "b")); !errors.Is(err, ErrQueueFull) {
		t.Errorf("too much in order: %v", err)
	}
	if got := text(r); got != "aaaa" {
		t.Errorf("%q", got)
	}
	accept(t, r, msg(1, "b"), InOrder)
	if got := text(r); got != "bcccc" {
		t.Errorf("%q", got)
	}
	equal(t, "acknowledged", acks(t, r), 2, 0, 1)
	accept(t, r, msg(4, "eeee"), OutOfOrder) // there is room again
	if _, err := NewReceiver(ReceiverConfig{Type: "x"}); err == nil {
		t.Error("a receiver of x was made")
	}
}

// TestSharedNumber: the stock plugin may give one number to two messages that it
// sends at the same time, and leaves the next out.
func TestSharedNumber(t *testing.T) {
	t.Parallel()
	of := func(seq int64, payloadType uint32, payload string) frame.Message {
		m := msg(seq, payload)
		m.Type, m.PayloadType = mgs.TypeInputStreamData, payloadType
		return m
	}
	begin := func() *Receiver {
		r := receiver(t, ReceiverConfig{Type: mgs.TypeInputStreamData})
		accept(t, r, of(0, mgs.PayloadOutput, "a"), InOrder)
		accept(t, r, of(1, mgs.PayloadOutput, "b"), InOrder)
		return r
	}
	t.Run("both are taken, and what follows", func(t *testing.T) {
		t.Parallel()
		r := begin()
		accept(t, r, of(1, mgs.PayloadSize, "size"), InOrder)
		accept(t, r, of(3, mgs.PayloadOutput, "c"), InOrder)
		if got := text(r); got != "absizec" {
			t.Errorf("%q", got)
		}
		if got := acks(t, r); !slices.Equal(got, []int64{0, 1, 1, 3}) {
			t.Errorf("acknowledged %v", got)
		}
	})
	t.Run("the second came later", func(t *testing.T) {
		t.Parallel()
		r := begin()
		accept(t, r, of(0, mgs.PayloadFlag, "flag"), InOrder)
		accept(t, r, of(3, mgs.PayloadOutput, "c"), InOrder)
		if got := text(r); got != "abflagc" {
			t.Errorf("%q", got)
		}
	})
	t.Run("repetitions of either stay such", func(t *testing.T) {
		t.Parallel()
		r := begin()
		first, second := of(2, mgs.PayloadOutput, "c"), of(2, mgs.PayloadSize, "size")
		accept(t, r, first, InOrder)
		accept(t, r, second, InOrder)
		accept(t, r, first, Duplicate)
		accept(t, r, second, Duplicate)
		accept(t, r, of(1, mgs.PayloadOutput, "b"), Duplicate) // as clients do that make ids anew
		if got := text(r); got != "abcsize" {
			t.Errorf("%q", got)
		}
	})
	t.Run("what stock agents send has its own numbers", func(t *testing.T) {
		t.Parallel()
		r := receiver(t, ReceiverConfig{})
		accept(t, r, msg(0, "a"), InOrder)
		m := msg(0, "x")
		m.PayloadType = mgs.PayloadFlag
		accept(t, r, m, Duplicate)
	})
}

func TestReceiverReportsBadDigest(t *testing.T) {
	t.Parallel()
	m := msg(0, "a")
	m.DigestOK = false
	r := receiver(t, ReceiverConfig{})
	if o, err := r.Accept(m); err != nil || !o.BadDigest || text(r) != "a" {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestPendingAcksAreBounded(t *testing.T) {
	t.Parallel()
	r := receiver(t, ReceiverConfig{})
	accept(t, r, msg(0, "a"), InOrder)
	for range 3 * maxPendingAcks {
		accept(t, r, msg(0, "a"), Duplicate)
	}
	if n := len(acks(t, r)); n != maxPendingAcks {
		t.Errorf("%d acknowledgements wait", n)
	}
}

func TestLinkHandles(t *testing.T) {
	t.Parallel()
	l, err := NewLink(SenderConfig{Type: mgs.TypeInputStreamData}, ReceiverConfig{Type: mgs.TypeOutputStreamData})
	if err != nil {
		t.Fatal(err)
	}
	now := t0.Add(time.Second)
	push(t, l.Sender, now, "x")
	sequences(t, l.Sender, now)
	handle := func(m frame.Message, want Event) error {
		t.Helper()
		got, _, err := l.Handle(now, m)
		if got != want {
			t.Errorf("%s: event %d, want %d", m.Type, got, want)
		}
		return err
	}
	handle(frame.New(mgs.TypePausePublication, now, nil), PauseChanged)
	if !l.Paused() {
		t.Error("not paused")
	}
	handle(msg(0, "hi"), Data)
	if l.Paused() {
		t.Error("data did not end the pause")
	}
	l.Pause()
	handle(frame.New(mgs.TypeStartPublication, now, []byte("{")), PauseChanged)
	if err := handle(frame.New(mgs.TypeAcknowledge, now, []byte("{")), Acknowledged); err == nil || l.Drained() {
		t.Error("a broken acknowledgement counted")
	}
	handle(frame.New(mgs.TypeAcknowledge, now, []byte(`{"AcknowledgedMessageSequenceNumber":0}`)), Acknowledged)
	handle(frame.New(mgs.TypeChannelClosed, now, nil), Ignored)
	if b, ok := l.Write(now); !ok || len(b) == 0 || !l.Drained() {
		t.Error("no acknowledgement to write")
	}
	if _, err := NewLink(SenderConfig{Type: mgs.TypeInputStreamData}, ReceiverConfig{Type: mgs.TypeInputStreamData}); err == nil {
		t.Error("both directions alike")
	}
}

func FuzzLinkHandle(f *testing.F) {
	for _, v := range load(f).Frames {
		b := load(f).frame(f, v.Name)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := frame.Unmarshal(b)
		if err != nil {
			return
		}
		l, err := NewLink(SenderConfig{Type: mgs.TypeInputStreamData}, ReceiverConfig{Type: mgs.TypeOutputStreamData})
		if err != nil {
			t.Fatal(err)
		}
		push(t, l.Sender, t0, "abc")
		sequences(t, l.Sender, t0)
		for range 2 {
			l.Handle(t0, m)
		}
		for _, _, ok := l.Next(); ok; _, _, ok = l.Next() {
		}
		for n := 0; ; n++ {
			if _, ok := l.Write(t0); !ok {
				break
			}
			if n > 10 {
				t.Fatal("Write never ends")
			}
		}
	})
}

func FuzzAckedSequence(f *testing.F) {
	f.Add(string(appendAck(nil, mgs.TypeInputStreamData, idA, 17)))
	f.Add(string(appendAck(nil, "", idB, math.MaxInt64)))
	f.Add(`{"acknowledgedmessagesequencenumber": 5}`)
	f.Fuzz(func(t *testing.T, s string) {
		got, gotErr := ackedSequence([]byte(s))
		want, wantErr := mgs.Decode[mgs.Acknowledge]([]byte(s))
		if (gotErr == nil) != (wantErr == nil) || gotErr == nil && got != want.AcknowledgedMessageSequenceNumber {
			t.Fatalf("%q: %d, %v; want %d, %v", s, got, gotErr, want.AcknowledgedMessageSequenceNumber, wantErr)
		}
	})
}
