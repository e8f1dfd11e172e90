package program

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"ssmagent/internal/client"
	"ssmagent/internal/datakey"
	"ssmagent/internal/operator"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/ssm"
)

// sessions are the calls that a session needs; *operator.Client.
type sessions interface {
	StartSession(ctx context.Context, in ssm.StartSessionInput) (ssm.SessionOutput, error)
	ResumeSession(ctx context.Context, id string) (ssm.SessionOutput, error)
	TerminateSession(ctx context.Context, id string) error
	DataKey(ctx context.Context, s datakey.Session) (key, sealed []byte, err error)
}

var _ sessions = (*operator.Client)(nil)

// opened is a session that was started; client.Session's Run has yet to be
// called.
type opened struct {
	*client.Session
	id, node string
}

// openSession starts a session. accept judges its type, notify hears of the
// connection; both as in client.Options, which more may change.
func openSession(ctx context.Context, c sessions, in ssm.StartSessionInput, accept func(string, json.RawMessage) error, notify func(client.Event), more ...func(*client.Options)) (opened, error) {
	transport, err := sessionTransport()
	if err != nil {
		return opened{}, err
	}
	out, err := c.StartSession(ctx, in)
	if err != nil {
		return opened{}, fmt.Errorf("%s: %w", in.Target, err)
	}
	o := client.Options{
		StreamURL: out.StreamUrl, SessionID: out.SessionId, Token: string(out.TokenValue), ClientVersion: version,
		Transport: transport, Accept: accept, Notify: notify,
		Resume: func(ctx context.Context) (string, error) {
			o, err := c.ResumeSession(ctx, out.SessionId)
			if ssmclient.Code(err) == "DoesNotExistException" {
				return "", client.ErrGone
			}
			return string(o.TokenValue), err
		},
		DataKey: func(ctx context.Context, keyID, challenge string) (key, sealed []byte, err error) {
			return c.DataKey(ctx, datakey.Session{KeyID: keyID, SessionID: out.SessionId, TargetID: in.Target, Challenge: challenge})
		},
		Terminate: func(ctx context.Context) error { return c.TerminateSession(ctx, out.SessionId) },
	}
	for _, f := range more {
		f(&o)
	}
	sess, err := client.New(o)
	if err != nil {
		return opened{}, fmt.Errorf("the service's answer is unusable: %w", err)
	}
	return opened{sess, out.SessionId, in.Target}, nil
}

// withStreams asks for the standard streams of a command apart.
func withStreams(o *client.Options) { o.Streams = true }

// sessionTransport trusts what AWS_CA_BUNDLE names besides the system's store.
func sessionTransport() (*http.Transport, error) {
	file := os.Getenv("AWS_CA_BUNDLE")
	if file == "" {
		return ssmclient.Transport(nil)
	}
	ca, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("AWS_CA_BUNDLE: %w", err)
	}
	t, err := ssmclient.Transport(ca)
	if err != nil {
		return nil, fmt.Errorf("AWS_CA_BUNDLE %s: %w", file, err)
	}
	return t, nil
}
