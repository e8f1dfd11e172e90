package client

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"

	"github.com/google/uuid"
)

// alone is a session without a connection, to be given frames by hand.
func alone(tb testing.TB) *Session {
	tb.Helper()
	s, err := New(Options{StreamURL: "ws://127.0.0.1:1/x", SessionID: "a", Token: "t", ClientVersion: "1.2.3.4",
		Resume: func(context.Context) (string, error) { return "", nil }, Clock: clock.NewFake(time.Unix(1700000000, 0))})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// settle takes everything that a session has to say and to hand out.
func settle(t *testing.T, s *Session) (said []frame.Message) {
	t.Helper()
	now := s.opt.Clock.Now()
	for range 10000 {
		if _, ok := s.pop(now); !ok {
			break
		}
	}
	for b, ok := s.link.Write(now); ok; b, ok = s.link.Write(now) {
		m, err := frame.Unmarshal(append([]byte(nil), b...))
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, m)
	}
	return said
}

// FuzzHandshake: whatever an agent asks, it gets one answer at most, and the
// answer is sound.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte(`{"AgentVersion":"3.3.0.0","RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":{"SessionType":"Standard_Stream","Properties":null}}]}`), []byte(`{"HandshakeTimeToComplete":1,"CustomerMessage":"hi"}`))
	f.Add([]byte(`{"AgentVersion":"3","RequestedClientActions":[{"ActionType":"KMSEncryption","ActionParameters":{"KMSKeyId":"k"}},{"ActionType":""}],"Extensions":{"ssmagent":{"maxPayload":-5}}}`), []byte(`null`))
	f.Add([]byte(`{"RequestedClientActions":[null,null]}`), []byte(`[]`))
	f.Fuzz(func(t *testing.T, request, complete []byte) {
		s := alone(t)
		s.Resize(80, 24)
		now := s.opt.Clock.Now()
		for i, p := range [][]byte{request, request, complete, complete, []byte("out")} {
			kind := []uint32{mgs.PayloadHandshakeRequest, mgs.PayloadHandshakeRequest, mgs.PayloadHandshakeComplete, mgs.PayloadHandshakeComplete, mgs.PayloadOutput}[i]
			if len(p) > 1<<16 {
				return
			}
			s.take(now, frame.Message{Type: mgs.TypeOutputStreamData, Created: now, Sequence: int64(i), ID: uuid.New(), PayloadType: kind, Payload: p, DigestOK: true})
		}
		answers, sizes := 0, 0
		for _, m := range settle(t, s) {
			switch m.PayloadType {
			case mgs.PayloadHandshakeResponse:
				answers++
				var r mgs.HandshakeResponse
				if err := json.Unmarshal(m.Payload, &r); err != nil || m.Sequence != 0 {
					t.Fatal(err, m.Sequence)
				}
			case mgs.PayloadSize:
				sizes++
			}
		}
		if answers > 1 || sizes != 1 {
			t.Errorf("%d answers, %d sizes", answers, sizes)
		}
		if n := s.link.PayloadSize(); n < mgs.MinExtensionPayload || n > mgs.LargePayload {
			t.Errorf("payload size %d", n)
		}
	})
}

// FuzzFrames: no sequence of messages upsets a session; what comes in order
// comes out in order.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{}, int64(0), uint32(1), []byte("x"), uint8(0))
	f.Add([]byte("\x00\x00\x00\x74"), int64(-1), uint32(12), []byte("EXIT_CODE: 1"), uint8(1))
	f.Add(make([]byte, 120), int64(1), uint32(7), []byte("{}"), uint8(2))
	f.Add(make([]byte, 121), int64(2), uint32(3), []byte(`{"Output":"bye"}`), uint8(3))
	f.Fuzz(func(t *testing.T, raw []byte, seq int64, kind uint32, payload []byte, which uint8) {
		s := alone(t)
		now := s.opt.Clock.Now()
		if m, err := frame.Unmarshal(raw); err == nil {
			s.take(now, m)
		}
		types := []string{mgs.TypeOutputStreamData, mgs.TypeAcknowledge, mgs.TypePausePublication, mgs.TypeChannelClosed, mgs.TypeInputStreamData, "other"}
		m := frame.Message{Type: types[int(which)%len(types)], Created: now, Sequence: seq, ID: uuid.New(), PayloadType: kind, Payload: payload}
		s.take(now, m)
		s.take(now, m)
		closed := s.over()
		if closed != (m.Type == mgs.TypeChannelClosed) && len(raw) < frame.HeaderSize {
			t.Errorf("over: %v after %s", closed, m.Type)
		}
		settle(t, s)
	})
}
