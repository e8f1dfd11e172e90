package gateway

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/commands"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// sieve is a queue that lets only what is the node's own pass.
type sieve struct{}

func (sieve) Next(ctx context.Context, _ string, _ int, _ commands.Lease) ([]commands.Delivery, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
func (sieve) Release(string, any) {}
func (sieve) Ack(_ context.Context, node, message string) error {
	return own(node, message)
}
func (sieve) Fail(_ context.Context, node, message, _ string) error { return own(node, message) }
func (sieve) Delay(_ context.Context, node, message string, _ time.Duration) error {
	return own(node, message)
}
func (sieve) Reply(_ context.Context, node, message string, _ doc.Reply) error {
	return own(node, message)
}

func own(node, message string) error {
	owner, _, err := commands.ParseMessageID(message)
	if err != nil {
		return err
	}
	if owner != node {
		return commands.ErrForeign
	}
	return nil
}

// silent is a socket that takes everything and says nothing.
type silent struct{}

func (silent) Read(ctx context.Context) (websocket.MessageType, []byte, error) {
	<-ctx.Done()
	return 0, nil, ctx.Err()
}
func (silent) Write(context.Context, websocket.MessageType, []byte) error { return nil }
func (silent) Ping(context.Context) error                                 { return nil }
func (silent) CloseNow() error                                            { return nil }

// FuzzInbound: no frame that a node sends does harm.
func FuzzInbound(f *testing.F) {
	job := "aws.ssm.9e107d9d-372b-4a5c-8f0a-1b2c3d4e5f60." + nodeA
	for kind, payload := range map[string]string{
		mgs.TypeAgentJobAck:       `{"jobId":"` + job + `","acknowledgedMessageId":"d92c58d7-0264-4d6c-bd7d-e909351e39a5","statusCode":"200"}`,
		mgs.TypeAgentJobReply:     `{"schemaVersion":1,"jobId":"` + job + `","content":"{\"documentStatus\":\"Success\"}","topic":"aws.ssm.sendCommand"}`,
		mgs.TypeAgentTaskComplete: `{"TaskId":"s-1"}`,
		"agent_novelty":           `{}`,
	} {
		b, err := frame.Message{Type: kind, Created: start, ID: uuid.New(), Payload: []byte(payload)}.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	g := New(Options{Queue: sieve{}, Clock: clock.Real{}, Log: log})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := frame.Unmarshal(b)
		if err != nil {
			return
		}
		c := newChannel(g, nodeA, silent{}, log)
		_ = lineOf(m)
		_ = c.handle(t.Context(), m)
	})
}
