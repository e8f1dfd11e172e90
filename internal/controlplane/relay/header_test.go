package relay

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

func kindName(k kind) string {
	return map[kind]string{output: mgs.TypeOutputStreamData, input: mgs.TypeInputStreamData, ack: mgs.TypeAcknowledge, state: mgs.TypeAgentSessionState}[k]
}

// FuzzHead: what the relay passes on, the strict decoder takes too (but for
// what only the receiver judges), and both see the same in it.
func FuzzHead(f *testing.F) {
	for _, v := range vectors(f) {
		b, err := hex.DecodeString(v.FrameHex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	nul := newFrame("x", 1, 1, []byte("y"))
	b, err := nul.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	copy(b[4:], append([]byte("acknowledge"), make([]byte, 21)...))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		k, sequence, err := head(b)
		m, strict := frame.Unmarshal(b)
		if err != nil || k == other {
			return
		}
		if strict != nil {
			// The one thing that is not looked at here is a far future.
			c := append([]byte{}, b...)
			copy(c[atCreated:], []byte{0, 0, 1, 0, 0, 0, 0, 0})
			if m, strict = frame.Unmarshal(c); strict != nil {
				t.Fatalf("relayed, but %v", strict)
			}
		}
		if m.Type != kindName(k) || m.Sequence != sequence || m.ID != idOf(b) {
			t.Errorf("%s %d %s, the decoder sees %s %d %s", kindName(k), sequence, idOf(b), m.Type, m.Sequence, m.ID)
		}
	})
}

// FuzzAck: the quick way and the decoder agree on what programs write.
func FuzzAck(f *testing.F) {
	f.Add([]byte(`{"AcknowledgedMessageType":"output_stream_data","AcknowledgedMessageId":"dd01e56b-ff48-483e-a508-b5f073f31b16","AcknowledgedMessageSequenceNumber":17,"IsSequentialMessage":true}`))
	f.Add([]byte(`{"acknowledgedmessagesequencenumber": 5}`))
	f.Add([]byte(`{"AcknowledgedMessageSequenceNumber":-1}`))
	f.Add([]byte(`{"AcknowledgedMessageSequenceNumber":99999999999999999999}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := ackedSequence(b)
		if ok && n < 0 {
			t.Errorf("%d", n)
		}
		var a mgs.Acknowledge
		if json.Unmarshal(b, &a) != nil {
			return
		}
		again, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		want := a.AcknowledgedMessageSequenceNumber
		if n, ok := ackedSequence(again); ok != (want >= 0) || ok && n != want {
			t.Errorf("%s: %d %v", again, n, ok)
		}
	})
}

func TestAckedSequence(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		want int64
		ok   bool
	}{
		{`{"AcknowledgedMessageSequenceNumber":0}`, 0, true},
		{`{"AcknowledgedMessageSequenceNumber":9223372036854775807}`, 9223372036854775807, true},
		{`{"ACKNOWLEDGEDMESSAGESEQUENCENUMBER":12}`, 12, true},
		{`{"AcknowledgedMessageSequenceNumber": 12 }`, 12, true},
		{`{"AcknowledgedMessageSequenceNumber":-3}`, 0, false},
		{`{"AcknowledgedMessageSequenceNumber":1e3}`, 0, false},
		{`{"AcknowledgedMessageSequenceNumber":`, 0, false},
		{`{"AcknowledgedMessageSequenceNumber":"1"}`, 0, false},
		{``, 0, false},
		{`[]`, 0, false},
	} {
		if n, ok := ackedSequence([]byte(tc.text)); ok != tc.ok || ok && n != tc.want {
			t.Errorf("%s: %d %v", tc.text, n, ok)
		}
	}
}

// FuzzFirst: the first message never passes without a token of usual length.
func FuzzFirst(f *testing.F) {
	f.Add([]byte(`{"MessageSchemaVersion":"1.0","RequestId":"r","TokenValue":"t","ClientInstanceId":"mi-0","ClientId":""}`))
	f.Add([]byte(`{"MessageSchemaVersion":"1.0","TokenValue":null}`))
	f.Add([]byte(`{"ClientId":7}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := firstMessage(b)
		if err == nil && (m.TokenValue == "" || len(m.TokenValue) > maxToken || m.MessageSchemaVersion != "1.0") {
			t.Errorf("%+v", m)
		}
		if err != nil && (err.Error() == "" || len(err.Error()) > 200) {
			t.Errorf("%q", err)
		}
	})
}

// TestAcks holds the set by a map, for any order of acknowledgements.
func TestAcks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var a acks
		model := map[int64]bool{}
		for range rapid.IntRange(0, 300).Draw(t, "count") {
			n := rapid.Int64Range(0, 80).Draw(t, "n")
			a.add(n)
			model[n] = true
		}
		for n := int64(-1); n < 82; n++ {
			if a.has(n) != model[n] {
				t.Fatalf("%d: %v, want %v", n, a.has(n), model[n])
			}
		}
		if len(a.sparse) > len(model) {
			t.Fatalf("%d numbers kept for %d", len(a.sparse), len(model))
		}
	})
}

// TestAcksBounded: a peer that acknowledges what nobody sent makes nothing
// grow beyond the bound, and usual acknowledgements keep nothing.
func TestAcksBounded(t *testing.T) {
	t.Parallel()
	f := newFlow()
	for n := range int64(100000) {
		f.pass(n)
		f.acked(n)
	}
	if len(f.acks.sparse) != 0 || f.owed() {
		t.Errorf("%d numbers are kept", len(f.acks.sparse))
	}
	for n := range int64(100000) {
		f.acked(200000 + 2*n)
	}
	if len(f.acks.sparse) != maxSparse {
		t.Errorf("%d numbers are kept", len(f.acks.sparse))
	}
	if fresh, acked := f.pass(200000); !fresh || acked {
		t.Error("a message that was never there counts as a copy")
	}
	if fresh, acked := f.pass(99999); fresh || !acked {
		t.Error("a copy of what was acknowledged is not known")
	}
}

func TestTypeOf(t *testing.T) {
	t.Parallel()
	for _, text := range []string{paddedOutput, paddedInput, paddedAck, paddedState} {
		if len(text) != 32 || kindOf([]byte(text)) == other {
			t.Errorf("%q has %d bytes and is of kind %d", text, len(text), kindOf([]byte(text)))
		}
		nul := bytes.ReplaceAll([]byte(text), []byte(" "), []byte{0})
		if kindOf(nul) != kindOf([]byte(text)) {
			t.Errorf("%q is of another kind with NULs", text)
		}
	}
}
