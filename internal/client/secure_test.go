package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/client/clienttest"
	"ssmagent/internal/clock"
	"ssmagent/internal/seal"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

var dataKey = append(bytes.Repeat([]byte{5}, seal.KeySize/2), bytes.Repeat([]byte{6}, seal.KeySize/2)...)

// encryptedDouble is an agent that wants the session encrypted.
func encryptedDouble(t *testing.T, o clienttest.Options) *clienttest.Double {
	t.Helper()
	o.Actions = []mgs.ClientAction{action(t, "SessionType", mgs.SessionTypeParameters{SessionType: "Standard_Stream"}),
		action(t, "KMSEncryption", mgs.KMSEncryptionParameters{KMSKeyId: "alias/shells", Challenge: "MTIz"})}
	o.DataKey = dataKey
	return clienttest.NewDouble(t, o)
}

// withKey are the options of a client whose KMS knows the key.
func withKey(d *clienttest.Double) Options {
	o := options(d)
	o.DataKey = func(_ context.Context, keyID, challenge string) ([]byte, []byte, error) {
		return dataKey, []byte("sealed " + keyID + " " + challenge), nil
	}
	return o
}

func TestEncrypted(t *testing.T) {
	t.Parallel()
	for name, style := range map[string]clienttest.Style{"ours": clienttest.Ours, "stock": clienttest.Stock} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := encryptedDouble(t, clienttest.Options{Style: style, Customer: "encrypted."})
			s := start(t, withKey(d), func(s *Session) { s.Resize(90, 30) })
			var result mgs.KMSEncryptionResult
			r := d.Response()
			if err := json.Unmarshal(r.ProcessedClientActions[1].ActionResult, &result); err != nil || r.ProcessedClientActions[1].ActionStatus != 1 {
				t.Fatalf("%+v %v", r, err)
			}
			if string(result.KMSCipherTextKey) != "sealed alias/shells MTIz" || !result.ChallengeAcknowledgement {
				t.Errorf("%+v", result)
			}
			if typ, b, _ := d.Recv(); typ != mgs.PayloadSize || string(b) != `{"cols":90,"rows":30}` {
				t.Fatalf("type %d: %s", typ, b)
			}
			go d.Send(mgs.PayloadOutput, []byte("output"))
			if m, err := s.Next(t.Context()); err != nil || string(m.Payload) != "encrypted." {
				t.Errorf("%q %v", m.Payload, err)
			}
			if got := collect(t, s, 6); string(got) != "output" {
				t.Errorf("%q", got)
			}
			if err := s.Write(t.Context(), mgs.PayloadOutput, []byte("typed")); err != nil {
				t.Fatal(err)
			}
			if typ, b, _ := d.Recv(); typ != mgs.PayloadOutput || string(b) != "typed" { // opened by the double
				t.Errorf("type %d: %q", typ, b)
			}
			d.Cut() // what is sealed survives a new connection
			d.Send(mgs.PayloadExitCode, mgs.FormatExitCode(7))
			if m, err := s.Next(t.Context()); err != nil || m.Type != mgs.PayloadExitCode || string(m.Payload) != "EXIT_CODE: 7" {
				t.Errorf("type %d %q %v", m.Type, m.Payload, err)
			}
		})
	}
}

// TestNoKey: without a key the agent and the person are told why, and nothing
// is sent.
func TestNoKey(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]func(context.Context, string, string) ([]byte, []byte, error){
		"no client of KMS": nil,
		"denied": func(context.Context, string, string) ([]byte, []byte, error) {
			return nil, nil, errors.New("this client has no right")
		},
		"hangs": func(ctx context.Context, _, _ string) ([]byte, []byte, error) {
			if d, ok := ctx.Deadline(); !ok || time.Until(d) > keyWithin {
				t.Error("the call has no bound")
			}
			return nil, nil, errors.New("this client has to wait")
		},
		"short": func(context.Context, string, string) ([]byte, []byte, error) {
			return dataKey[1:], nil, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := encryptedDouble(t, clienttest.Options{})
			o := options(d)
			o.DataKey = key
			wait := hourglass{own: clock.NewFake(time.Now())}
			o.Clock = wait
			s := start(t, o, func(s *Session) { s.policy.refusedWithin = glass })
			r := d.Response()
			if a := r.ProcessedClientActions[1]; a.ActionStatus != mgs.ActionFailed || !strings.HasPrefix(a.Error, "Failed to process action KMSEncryption: ") || len(r.Errors) != 1 {
				t.Errorf("%+v", r)
			}
			if err := wait.own.Await(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			wait.own.Advance(glass)
			<-s.Done()
			if e := s.End(); e.Reason != Failed || !strings.Contains(e.Text, "Failed to process action KMSEncryption: th") {
				t.Errorf("%+v", e)
			}
		})
	}
}

// hourglass is the system's clock, but for waits of length glass, which a test
// ends.
type hourglass struct {
	clock.Real

	own *clock.Fake
}

const glass = 61 * time.Minute

func (h hourglass) NewTimer(d time.Duration) clock.Timer {
	if d == glass {
		return h.own.NewTimer(d)
	}
	return h.Real.NewTimer(d)
}

// TestKeyUnderWay: a call to KMS under way does not hold up the end.
func TestKeyUnderWay(t *testing.T) {
	t.Parallel()
	d := encryptedDouble(t, clienttest.Options{})
	o, asked := options(d), make(chan struct{})
	o.DataKey = func(ctx context.Context, _, _ string) ([]byte, []byte, error) {
		close(asked)
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}
	s := start(t, o)
	<-asked
	if err := s.Leave(t.Context()); err != nil || s.End().Reason != Left {
		t.Errorf("%+v %v", s.End(), err)
	}
}

// TestChallengeIsNoOracle: who stands between cannot have the agent's output
// sealed as our input.
func TestChallengeIsNoOracle(t *testing.T) {
	t.Parallel()
	t.Run("another size", func(t *testing.T) {
		t.Parallel()
		d := encryptedDouble(t, clienttest.Options{Challenge: []byte("rm -rf /\n")})
		s := start(t, withKey(d), func(s *Session) { s.policy.refusedWithin = time.Millisecond })
		<-s.Done()
		if e := s.End(); e.Reason != Failed || !strings.Contains(e.Text, "does not have the session's key") {
			t.Errorf("%+v", e)
		}
	})
	t.Run("later", func(t *testing.T) {
		t.Parallel()
		d := encryptedDouble(t, clienttest.Options{})
		s := start(t, withKey(d))
		<-s.Ready()
		b, err := json.Marshal(mgs.EncChallenge{Challenge: d.Seal(make([]byte, seal.ChallengeSize))})
		if err != nil {
			t.Fatal(err)
		}
		d.Send(mgs.PayloadEncChallengeRequest, b)
		d.Send(mgs.PayloadOutput, []byte("x"))
		if got := collect(t, s, 1); string(got) != "x" { // the challenge was looked at before
			t.Errorf("%q", got)
		}
		if err := s.Write(t.Context(), mgs.PayloadOutput, []byte("y")); err != nil {
			t.Fatal(err)
		}
		if typ, p, _ := d.Recv(); typ != mgs.PayloadOutput || string(p) != "y" {
			t.Errorf("type %d %q", typ, p)
		}
	})
}

// TestForgedOutput: what was not sealed ends the session unseen, at both ends.
func TestForgedOutput(t *testing.T) {
	t.Parallel()
	d := encryptedDouble(t, clienttest.Options{HoldComplete: true})
	o, ended := withKey(d), make(chan struct{})
	o.Terminate = func(context.Context) error { close(ended); return nil }
	s := start(t, o)
	d.Response()
	d.Drained() // request and challenge have arrived
	d.Inject(frame.Message{Type: mgs.TypeOutputStreamData, Created: time.Now(), ID: uuid.New(), Sequence: 2, PayloadType: mgs.PayloadOutput,
		Payload: []byte("an injected line that was never sealed")})
	<-s.Done()
	if m, err := s.Next(t.Context()); err == nil {
		t.Errorf("came through: %q", m.Payload)
	}
	if e := s.End(); e.Reason != Failed || !strings.Contains(e.Text, "cannot be opened") {
		t.Errorf("%+v", e)
	}
	<-ended
}
