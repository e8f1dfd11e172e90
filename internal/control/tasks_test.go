package control

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/outbox"
	"ssmagent/internal/wire/mgs"
)

// Orders about sessions come in order, do not wait for commands, and bad ones
// end nothing.
func TestSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConn()
		heard := make(chan string, 10)
		b := run(t, func() (Conn, error) { return c, nil },
			func(ctx context.Context, _ Delivery) Verdict { <-ctx.Done(); return Verdict{} }, // a disk that is stuck
			func(o *Options) {
				o.OpenSession = func(_ context.Context, t mgs.AgentTask) error {
					<-time.After(time.Second)
					heard <- "open " + t.Content
					return errors.New("as it may be")
				}
				o.CloseSession = func(_ context.Context, id string) error {
					heard <- "close " + id
					return nil
				}
			})
		c.push(t, mgs.TypeAgentJob, mgs.AgentJob{JobId: "slow"})
		c.push(t, mgs.TypeInteractiveShell, mgs.AgentTask{Content: "one"})
		c.push(t, mgs.TypeChannelClosed, mgs.ChannelClosed{SessionId: "one"})
		c.push(t, mgs.TypeInteractiveShell, 7)
		c.push(t, mgs.TypeChannelClosed, "x")
		c.push(t, mgs.TypeInteractiveShell, mgs.AgentTask{Content: "two"})
		for _, want := range []string{"open one", "close one", "open two"} {
			if got := <-heard; got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		if !b.Open() || len(c.out) != 0 {
			t.Error("the channel was closed, or something was said")
		}
	})
}

// The end of a session is sent under one id until it is acknowledged.
func TestCompletion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConn()
		b := run(t, func() (Conn, error) { return c, nil }, nil)
		id := uuid.New()
		text, err := json.Marshal(mgs.AgentTaskComplete{SchemaVersion: 1, TaskId: "one", Topic: mgs.TypeAgentTaskComplete, FinalTaskStatus: "Success", RetryNumber: 1})
		if err != nil {
			t.Fatal(err)
		}
		e := outbox.Entry{ID: id.String(), JobID: "one", Topic: mgs.TypeAgentTaskComplete, Content: string(text)}
		for n := 1; n <= 3; n++ {
			b.box.give[ChannelMGS] <- e
			m := c.take(t)
			got, err := mgs.Decode[mgs.AgentTaskComplete](m.Payload)
			if err != nil || m.Type != mgs.TypeAgentTaskComplete || m.ID != id || got.RetryNumber != n || got.TaskId != "one" || got.FinalTaskStatus != "Success" {
				t.Errorf("transmission %d: %+v %+v %v", n, m, got, err)
			}
		}
		c.push(t, mgs.TypeAgentTaskAcknowledge, mgs.AgentTaskAcknowledge{MessageId: id.String(), TaskId: "one"})
		c.push(t, mgs.TypeAgentTaskAcknowledge, "x")
		bad := outbox.Entry{ID: uuid.NewString(), Topic: mgs.TypeAgentTaskComplete, Content: "{"}
		b.box.give[ChannelMGS] <- bad
		synctest.Wait()
		if !slices.Equal(b.box.done, []string{id.String(), bad.ID}) {
			t.Errorf("done %q", b.box.done)
		}
		if len(c.out) != 0 || !b.Open() {
			t.Error("more was said, or the channel was closed")
		}
	})
}
