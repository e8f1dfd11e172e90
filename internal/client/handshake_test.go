package client

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/client/clienttest"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"

	"github.com/google/uuid"
)

func action(t *testing.T, kind string, parameters any) mgs.ClientAction {
	t.Helper()
	b, err := json.Marshal(parameters)
	if err != nil {
		t.Fatal(err)
	}
	return mgs.ClientAction{ActionType: kind, ActionParameters: b}
}

func TestHandshakeAnswer(t *testing.T) {
	t.Parallel()
	shell := action(t, "SessionType", mgs.SessionTypeParameters{SessionType: "Standard_Stream"})
	for _, tc := range []struct {
		name    string
		actions []mgs.ClientAction
		accept  error
		status  []mgs.ActionStatus
		says    string // in Errors and, when the agent ends it, to the person
	}{
		{"shell", []mgs.ClientAction{shell}, nil, []mgs.ActionStatus{1}, ""},
		{"commands", []mgs.ClientAction{action(t, "SessionType", mgs.SessionTypeParameters{SessionType: "NonInteractiveCommands"})}, nil, []mgs.ActionStatus{1}, ""},
		{"none", []mgs.ClientAction{}, nil, nil, ""},
		{"unknown session", []mgs.ClientAction{action(t, "SessionType", mgs.SessionTypeParameters{SessionType: "Hologram"})}, nil, []mgs.ActionStatus{2}, `session type "Hologram" is unknown`},
		{"parameters", []mgs.ClientAction{action(t, "SessionType", 7)}, nil, []mgs.ActionStatus{2}, "SessionType"},
		{"not accepted", []mgs.ClientAction{shell}, errors.New("use a port client"), []mgs.ActionStatus{2}, "use a port client"},
		{"encryption", []mgs.ClientAction{shell, action(t, "KMSEncryption", mgs.KMSEncryptionParameters{KMSKeyId: "k"})}, nil, []mgs.ActionStatus{1, 2}, "this client has no access to KMS"},
		{"encryption garbage", []mgs.ClientAction{shell, action(t, "KMSEncryption", 7)}, nil, []mgs.ActionStatus{1, 2}, "Failed to process action KMSEncryption"},
		{"unknown action", []mgs.ClientAction{shell, action(t, "Dance", nil)}, nil, []mgs.ActionStatus{1, 3}, `Unsupported action "Dance"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := clienttest.NewDouble(t, clienttest.Options{Style: clienttest.Stock, Actions: tc.actions})
			o := options(d)
			o.Accept = func(string, json.RawMessage) error { return tc.accept }
			s := start(t, o)
			r := d.Response()
			if r.ClientVersion != "3.3.9000.0" || len(r.Extensions) != 0 || len(r.ProcessedClientActions) != len(tc.status) {
				t.Fatalf("response %+v", r)
			}
			for i, want := range tc.status {
				if got := r.ProcessedClientActions[i]; got.ActionStatus != want || got.ActionType != tc.actions[i].ActionType {
					t.Errorf("action %d: %+v, want status %d", i, got, want)
				}
			}
			if text := strings.Join(r.Errors, " "); (r.Errors == nil) != (tc.says == "") || !strings.Contains(text, tc.says) {
				t.Errorf("errors %q", r.Errors)
			}
			d.Close("")
			<-s.Done()
			if e := s.End(); e.Reason != Closed || (e.Text == "") != (tc.says == "") || !strings.Contains(e.Text, tc.says) {
				t.Errorf("end %+v", e)
			}
		})
	}
}

// TestRefusedAndLeftAlone: an agent that ignores our refusal does not keep us.
func TestRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	d := clienttest.NewDouble(t, clienttest.Options{Actions: []mgs.ClientAction{action(t, "Dance", nil)}})
	s := start(t, options(d), func(s *Session) { s.policy.refusedWithin = time.Millisecond })
	<-s.Done()
	if e := s.End(); e.Reason != Failed || !strings.Contains(e.Text, "Dance") {
		t.Errorf("end %+v", e)
	}
}

// TestInputWaits: to a stock agent nothing goes before the handshake is
// complete; to ours the size does, and nothing else.
func TestInputWaits(t *testing.T) {
	t.Parallel()
	for _, style := range []clienttest.Style{clienttest.Stock, clienttest.Ours} {
		d := clienttest.NewDouble(t, clienttest.Options{Style: style, HoldComplete: true, Customer: "Welcome.",
			Properties: json.RawMessage(`{"a":1}`)})
		s := start(t, options(d), func(s *Session) { s.Resize(90, 30) })
		d.Response()
		if n, err := s.TryWrite(mgs.PayloadOutput, []byte("early")); n != 0 || err != nil {
			t.Fatal("input was taken before the handshake was complete", n, err)
		}
		sized := func(want string) {
			t.Helper()
			if typ, b, _ := d.Recv(); typ != mgs.PayloadSize || string(b) != want {
				t.Fatalf("type %d: %s", typ, b)
			}
		}
		if style == clienttest.Ours {
			sized(`{"cols":90,"rows":30}`) // before the next: sizes overtake each other
		}
		s.Resize(91, 31)
		if style == clienttest.Ours {
			sized(`{"cols":91,"rows":31}`)
		}
		wrote := make(chan error, 1)
		go func() { wrote <- s.Write(t.Context(), mgs.PayloadOutput, []byte("ls\r")) }()
		d.Complete()
		if style == clienttest.Stock {
			sized(`{"cols":91,"rows":31}`)
		}
		if typ, b, _ := d.Recv(); typ != mgs.PayloadOutput || string(b) != "ls\r" {
			t.Fatalf("type %d: %s", typ, b)
		}
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}
		if m, err := s.Next(t.Context()); err != nil || m.Type != mgs.PayloadHandshakeComplete || string(m.Payload) != "Welcome." {
			t.Errorf("got %d %q, %v", m.Type, m.Payload, err)
		}
		if p := s.Peer(); string(p.Properties) != `{"a":1}` || p.AgentVersion != "3.3.9000.0" {
			t.Errorf("peer %+v", p)
		}
		if d.Dropped() != 0 {
			t.Error("payload came before a stock agent takes it")
		}
	}
}

// TestPayloadSizes: large frames go to those who announced that they take them.
func TestPayloadSizes(t *testing.T) {
	t.Parallel()
	for style, want := range map[clienttest.Style]int{clienttest.Ours: mgs.LargePayload, clienttest.Stock: 1024, clienttest.NoHandshake: 1024} {
		d := clienttest.NewDouble(t, clienttest.Options{Style: style})
		s := start(t, options(d))
		d.Send(mgs.PayloadOutput, []byte("x"))
		const n = 100 << 10
		go func() { _ = s.Write(t.Context(), mgs.PayloadOutput, make([]byte, n)) }()
		for got := 0; got < n; {
			_, b, ok := d.Recv()
			if !ok {
				t.Fatal("over")
			}
			got += len(b)
		}
		if d.Largest() != want {
			t.Errorf("style %d: largest payload %d, want %d", style, d.Largest(), want)
		}
	}
}

// TestStrangeFrames: what is no message of ours is ignored, and harmless.
func TestStrangeFrames(t *testing.T) {
	t.Parallel()
	d := clienttest.NewDouble(t, clienttest.Options{})
	s := start(t, options(d))
	<-s.Ready()
	now := time.Now()
	for _, raw := range [][]byte{nil, {0}, make([]byte, 119), make([]byte, 120), make([]byte, 4096), []byte("{}")} {
		d.InjectRaw(raw)
	}
	for _, m := range []frame.Message{
		{Type: "agent_session_state", Payload: []byte("{}")},
		{Type: mgs.TypePausePublication}, {Type: mgs.TypeInputStreamData, Payload: []byte("mine")},
		{Type: mgs.TypeAcknowledge, Payload: []byte("garbage")},
		{Type: mgs.TypeAcknowledge, Payload: []byte(`{"AcknowledgedMessageSequenceNumber":-9223372036854775808}`)},
		{Type: mgs.TypeOutputStreamData, Sequence: -1, PayloadType: 1, Payload: []byte("x")},
		{Type: mgs.TypeOutputStreamData, Sequence: 1 << 62, PayloadType: 1, Payload: []byte("x")},
		{Type: mgs.TypeOutputStreamData, Sequence: 0, PayloadType: 1, Payload: []byte("again")},
	} {
		m.Created, m.ID = now, uuid.New()
		d.Inject(m)
	}
	// A second request is not answered, a second completion is not harmful.
	d.Send(mgs.PayloadHandshakeRequest, []byte(`{"RequestedClientActions":[{"ActionType":"Dance"}]}`))
	d.Send(mgs.PayloadHandshakeComplete, []byte(`garbage`))
	d.Send(mgs.PayloadEncChallengeRequest, []byte(`garbage`))
	d.Send(mgs.PayloadOutput, []byte("alive"))
	if got := collect(t, s, 5); string(got) != "alive" {
		t.Errorf("got %q", got)
	}
	if err := s.Write(t.Context(), mgs.PayloadOutput, []byte("y")); err != nil {
		t.Fatal(err)
	}
	if typ, b, _ := d.Recv(); typ != mgs.PayloadOutput || string(b) != "y" {
		t.Errorf("type %d: %q", typ, b)
	}
}
