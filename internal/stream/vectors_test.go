package stream

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
	"time"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"

	"github.com/google/uuid"
)

type vectors struct {
	Frames []struct {
		Name     string
		FrameHex string
	}
	Retransmission struct {
		InitialTimeoutNs int64
		Steps            []struct {
			SampleMs        int64
			RoundTripTimeNs float64
			VariationNs     float64
			TimeoutNs       int64
		}
	}
}

var (
	idA = uuid.MustParse("dd01e56b-ff48-483e-a508-b5f073f31b16")
	idB = uuid.MustParse("01234567-89ab-4cde-8f01-23456789abcd")
	t0  = time.UnixMilli(1700000000000)
)

func load(t testing.TB) vectors {
	t.Helper()
	b, err := os.ReadFile("testdata/session-frames.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v vectors) frame(t testing.TB, name string) []byte {
	t.Helper()
	for _, f := range v.Frames {
		if f.Name == name {
			b, err := hex.DecodeString(f.FrameHex)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	t.Fatalf("no vector %s", name)
	return nil
}

func TestEstimatorVectors(t *testing.T) {
	t.Parallel()
	v := load(t).Retransmission
	e := NewEstimator()
	if e.Timeout().Nanoseconds() != v.InitialTimeoutNs {
		t.Fatalf("initial timeout %v", e.Timeout())
	}
	for i, s := range v.Steps {
		e.Sample(time.Duration(s.SampleMs) * time.Millisecond)
		if e.rtt != s.RoundTripTimeNs || e.variation != s.VariationNs || e.Timeout().Nanoseconds() != s.TimeoutNs {
			t.Errorf("step %d: rtt %v var %v timeout %d, want %v %v %d",
				i, e.rtt, e.variation, e.Timeout().Nanoseconds(), s.RoundTripTimeNs, s.VariationNs, s.TimeoutNs)
		}
	}
	if len(v.Steps) != 7 {
		t.Errorf("%d steps", len(v.Steps))
	}
}

func fixed(id uuid.UUID) func() uuid.UUID { return func() uuid.UUID { return id } }

func TestSenderVectors(t *testing.T) {
	t.Parallel()
	v := load(t)
	in := sender(t, SenderConfig{Type: mgs.TypeInputStreamData, NewID: fixed(idA)})
	push(t, in, t0, "ls -la\r")
	if got := due(t, in, t0); !bytes.Equal(got, v.frame(t, "input_output_first")) {
		t.Errorf("input: %x", got)
	}
	request, err := frame.Unmarshal(v.frame(t, "output_handshake_request"))
	if err != nil {
		t.Fatal(err)
	}
	next := idA
	out := sender(t, SenderConfig{Type: mgs.TypeOutputStreamData, NewID: func() uuid.UUID { return next }})
	if ok, err := out.PushWhole(t0, mgs.PayloadHandshakeRequest, request.Payload); !ok || err != nil {
		t.Fatal(ok, err)
	}
	next = idB
	push(t, out, t0, "h\u00e9llo\r\n")
	for _, name := range []string{"output_handshake_request", "output_data"} {
		if got := due(t, out, t0); !bytes.Equal(got, v.frame(t, name)) {
			t.Errorf("%s: %x", name, got)
		}
	}
}

func TestAcknowledgeVectors(t *testing.T) {
	t.Parallel()
	v := load(t)
	for _, c := range []struct {
		name, typ string
		own, ack  uuid.UUID
		seq       int64
	}{
		{"acknowledge_from_client", mgs.TypeOutputStreamData, idB, idA, 0},
		{"acknowledge_from_agent", mgs.TypeInputStreamData, idA, idB, 1},
	} {
		want := v.frame(t, c.name)
		m := frame.Message{Type: c.typ, ID: c.ack, Sequence: c.seq}
		if got, err := AcknowledgeFrame(nil, t0, c.own, m); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		r, err := NewReceiver(ReceiverConfig{Type: c.typ, NewID: fixed(c.own)})
		if err != nil {
			t.Fatal(err)
		}
		for seq := range c.seq + 1 {
			m.Sequence = seq
			if _, err := r.Accept(m); err != nil {
				t.Fatal(err)
			}
		}
		for range c.seq {
			r.Ack(t0)
		}
		if got, ok := r.Ack(t0); !ok || !bytes.Equal(got, want) {
			t.Errorf("%s by a receiver: %q", c.name, got)
		}
	}
}
