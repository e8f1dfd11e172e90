package stream

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

var errForged = errors.New("forged")

// toy is a cipher that can be read by eye: it turns bits round, behind a mark.
type toy struct{}

func (toy) Seal(dst, plain []byte) []byte {
	dst = append(dst, '#')
	for _, b := range plain {
		dst = append(dst, ^b)
	}
	return dst
}

func (toy) Open(sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != '#' {
		return nil, errForged
	}
	for i := range sealed {
		sealed[i] = ^sealed[i]
	}
	return sealed[1:], nil
}

func sealedPair(t *testing.T) (agent, client Link) {
	t.Helper()
	agent, err := NewLink(SenderConfig{Type: mgs.TypeOutputStreamData}, ReceiverConfig{Type: mgs.TypeInputStreamData})
	if err != nil {
		t.Fatal(err)
	}
	if client, err = NewLink(SenderConfig{Type: mgs.TypeInputStreamData}, ReceiverConfig{Type: mgs.TypeOutputStreamData}); err != nil {
		t.Fatal(err)
	}
	return agent, client
}

// carry moves what one end has to write to the other and returns the payloads
// as they were on the way.
func carry(t *testing.T, from, to Link) (onTheWire [][]byte) {
	t.Helper()
	for {
		b, ok := from.Write(t0)
		if !ok {
			return onTheWire
		}
		m, err := frame.Unmarshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if m.Type != mgs.TypeAcknowledge {
			onTheWire = append(onTheWire, bytes.Clone(m.Payload))
		}
		if _, _, err := to.Handle(t0, m); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCipher(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		kind   uint32
		sealed bool
	}{
		{mgs.PayloadOutput, true}, {mgs.PayloadStdErr, true}, {mgs.PayloadExitCode, true},
		{mgs.PayloadSize, false}, {mgs.PayloadFlag, false}, {mgs.PayloadHandshakeRequest, false}, {mgs.PayloadHandshakeResponse, false},
		{mgs.PayloadHandshakeComplete, false}, {mgs.PayloadEncChallengeRequest, false}, {mgs.PayloadEncChallengeResponse, false},
	} {
		agent, client := sealedPair(t)
		agent.SetCipher(toy{})
		client.SetCipher(toy{})
		if ok, err := agent.PushWhole(t0, tc.kind, []byte("secret")); !ok || err != nil {
			t.Fatal(ok, err)
		}
		way := carry(t, agent, client)
		if len(way) != 1 || bytes.Contains(way[0], []byte("secret")) == tc.sealed {
			t.Errorf("type %d went as %q", tc.kind, way)
		}
		if kind, p, ok := client.Next(); !ok || kind != tc.kind || string(p) != "secret" {
			t.Errorf("type %d came as %d %q", tc.kind, kind, p)
		}
	}
}

// TestCipherFromHere: frames before it are not touched, whoever is first.
func TestCipherFromHere(t *testing.T) {
	t.Parallel()
	agent, client := sealedPair(t)
	if _, err := agent.Push(t0, mgs.PayloadOutput, []byte("before")); err != nil {
		t.Fatal(err)
	}
	agent.SetCipher(toy{})
	data := bytes.Repeat([]byte("after"), DefaultPayloadSize)
	if n, err := agent.Push(t0, mgs.PayloadOutput, data); n != len(data) || err != nil {
		t.Fatal(n, err)
	}
	way := carry(t, agent, client)
	if string(way[0]) != "before" || len(way) != 6 || len(way[1]) != DefaultPayloadSize+1 {
		t.Errorf("%d frames, the first %q, then %d bytes", len(way), way[0], len(way[1]))
	}
	if _, p, ok := client.Next(); !ok || string(p) != "before" {
		t.Errorf("%q", p)
	}
	client.SetCipher(toy{})
	var got []byte
	for {
		_, p, ok := client.Next()
		if !ok {
			break
		}
		got = append(got, p...)
	}
	if !slices.Equal(got, data) || client.Forged() != nil {
		t.Errorf("%d bytes, want %d; %v", len(got), len(data), client.Forged())
	}
}

// TestForged: nothing is given after what could not be opened.
func TestForged(t *testing.T) {
	t.Parallel()
	agent, client := sealedPair(t)
	client.SetCipher(toy{})
	for _, text := range []string{"#ok", "plain", "#ok"} {
		if _, err := agent.Push(t0, mgs.PayloadOutput, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	carry(t, agent, client)
	if _, _, ok := client.Next(); !ok {
		t.Fatal("nothing came")
	}
	for range 2 {
		if _, p, ok := client.Next(); ok || !errors.Is(client.Forged(), errForged) {
			t.Errorf("%q %v", p, client.Forged())
		}
	}
}

// TestRequired: nothing goes in clear, nor is taken, before there is a cipher.
func TestRequired(t *testing.T) {
	t.Parallel()
	agent, client := sealedPair(t)
	agent.RequireCipher()
	if _, err := agent.Push(t0, mgs.PayloadOutput, []byte("secret")); !errors.Is(err, ErrUnsealed) {
		t.Errorf("pushed: %v", err)
	}
	if _, err := agent.PushWhole(t0, mgs.PayloadExitCode, []byte("secret")); !errors.Is(err, ErrUnsealed) {
		t.Errorf("pushed: %v", err)
	}
	if ok, err := agent.PushWhole(t0, mgs.PayloadHandshakeRequest, []byte("{}")); !ok || err != nil {
		t.Errorf("the handshake does not go: %v", err)
	}
	for _, kind := range []uint32{mgs.PayloadOutput, mgs.PayloadSize} {
		if _, err := client.Push(t0, kind, []byte("early")); err != nil {
			t.Fatal(err)
		}
	}
	carry(t, client, agent)
	if kind, _, ok := agent.Next(); !ok || kind != mgs.PayloadSize {
		t.Errorf("type %d, %v", kind, ok)
	}
	if way := carry(t, agent, client); len(way) != 1 {
		t.Errorf("%q went", way)
	}
	agent.SetCipher(toy{})
	client.SetCipher(toy{})
	if _, err := agent.Push(t0, mgs.PayloadOutput, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	carry(t, agent, client)
	client.Next()
	if _, p, ok := client.Next(); !ok || string(p) != "secret" {
		t.Errorf("%q", p)
	}
}
