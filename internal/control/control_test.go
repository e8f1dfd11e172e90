package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/outbox"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mds"
	"ssmagent/internal/wire/mgs"
)

func refused() (Conn, error) { return nil, errors.New("connection refused") }

func denied() (Conn, error) { return nil, &ssmclient.Error{Code: ssmclient.AccessDenied} }

func TestChoiceOfChannel(t *testing.T) {
	t.Parallel()
	no, den := errors.New("no"), &ssmclient.Error{Code: ssmclient.AccessDenied}
	for _, tc := range []struct {
		name string
		errs []error
		want string
	}{
		{"start", nil, ""},
		{"opened", []error{nil}, ChannelMGS},
		{"failed", []error{no}, ChannelMDS},
		{"failed, then opened", []error{no, nil}, ChannelMGS},
		{"opened, then failed", []error{nil, no}, ChannelMGS},
		{"opened, then denied", []error{nil, fmt.Errorf("create: %w", den)}, ChannelMDS},
		{"denied at the start", []error{den}, ChannelMDS},
	} {
		c := New(Options{Calls: new(service), Log: slog.New(slog.DiscardHandler)})
		only := New(Options{Log: slog.New(slog.DiscardHandler)})
		for _, err := range tc.errs {
			c.note(err)
			only.note(err)
		}
		if got := c.Channel(); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
		if got := only.Channel(); got == ChannelMDS {
			t.Errorf("%s, with the gateway only: %q", tc.name, got)
		}
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		failures int
		denied   bool
		longest  time.Duration
	}{
		{0, false, 250 * time.Millisecond}, {1, false, 500 * time.Millisecond}, {5, false, 8 * time.Second},
		{8, false, time.Minute}, {1000, false, time.Minute}, {1000, true, 5 * time.Minute},
	} {
		if got := delay(tc.failures, tc.denied, 1); got != tc.longest {
			t.Errorf("%+v: %v", tc, got)
		}
		if got := delay(tc.failures, tc.denied, 0); got != 0 {
			t.Errorf("%+v: %v at least", tc, got)
		}
	}
}

func TestChannelIsOpenedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conns := make(chan *conn, 10)
		tries := 0
		b := run(t, func() (Conn, error) {
			if tries++; tries%2 == 0 {
				return refused()
			}
			c := newConn()
			conns <- c
			return c, nil
		}, nil)
		c := <-conns
		for range 5 {
			<-time.After(20 * time.Second) // nothing but pings
			synctest.Wait()
		}
		if c.pings.Load() != 1 {
			t.Errorf("%d pings in 100 s", c.pings.Load())
		}
		start := time.Now()
		_ = c.CloseNow()
		c = <-conns
		if d := time.Since(start); d > 750*time.Millisecond {
			t.Errorf("open again after %v", d)
		}
		start = time.Now()
		c.mute.Store(true)
		<-conns
		if d := time.Since(start); d < 69*time.Second || d > 71*time.Second {
			t.Errorf("a mute gateway was left after %v", d)
		}
		synctest.Wait()
		if len(b.box.again) != 3 || !b.Open() || b.svc.polls() != 0 {
			t.Errorf("resent %q, open %v, %d polls", b.box.again, b.Open(), b.svc.polls())
		}
	})
}

func TestJobs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConn()
		verdicts := map[string]Verdict{
			"good": {Code: mgs.AckSuccessful, Receipt: "receipt", Topic: mgs.TopicSendCommand},
			"dup":  {Code: mgs.AckDuplicate, Receipt: "receipt"},
			"bad":  {Code: mgs.AckParseError, Unhandled: true},
		}
		b := run(t, func() (Conn, error) { return c, nil }, func(_ context.Context, d Delivery) Verdict { return verdicts[d.JobID] })
		for _, job := range []string{"good", "dup", "bad"} {
			id := c.push(t, mgs.TypeAgentJob, mgs.AgentJob{JobId: job})
			ack, err := mgs.Decode[mgs.AgentJobAck](c.take(t).Payload)
			if err != nil || ack.JobId != job || ack.StatusCode != verdicts[job].Code.Code || ack.AcknowledgedMessageId != id.String() || ack.CreatedDate == "" {
				t.Errorf("%s: %+v %v", job, ack, err)
			}
			if job == "good" {
				m := c.take(t)
				r, err := mgs.Decode[mgs.AgentJobReply](m.Payload)
				if err != nil || m.Type != mgs.TypeAgentJobReply || r.Content != "receipt" || r.JobId != job || r.SchemaVersion != 1 {
					t.Errorf("%+v %v", r, err)
				}
			}
		}
		c.push(t, mgs.TypeAgentJob, 7)
		if ack, err := mgs.Decode[mgs.AgentJobAck](c.take(t).Payload); err != nil || ack.StatusCode != mgs.AckParseError.Code {
			t.Errorf("%+v %v", ack, err)
		}
		for _, junk := range [][]byte{nil, make([]byte, 119), make([]byte, 120), make([]byte, frame.MaxSize+1)} {
			c.in <- junk
		}
		c.push(t, "no_such_type", "x")
		c.push(t, mgs.TypeAgentJobReplyAck, "x")
		c.push(t, mgs.TypeAgentJobReplyAck, mgs.AgentJobReplyAck{AcknowledgedMessageId: "x"})
		id := uuid.New()
		b.box.give[ChannelMGS] <- outbox.Entry{ID: id.String(), JobID: "good", Topic: mgs.TopicSendCommand, Content: "result"}
		if m := c.take(t); m.ID != id || m.Type != mgs.TypeAgentJobReply {
			t.Errorf("%+v", m)
		}
		c.push(t, mgs.TypeAgentJobReplyAck, mgs.AgentJobReplyAck{JobId: "good", AcknowledgedMessageId: strings.ToUpper(id.String())})
		synctest.Wait()
		if len(b.box.done) != 1 || b.box.done[0] != id.String() {
			t.Errorf("done %q", b.box.done)
		}
		if len(c.out) != 0 || !b.Open() {
			t.Error("more was said, or the channel was closed")
		}
	})
}

func message(id string) mds.Message {
	return mds.Message{Topic: "t", Destination: "mi-0123456789", MessageId: id, CreatedDate: "2025-03-14T09:30:00.125Z", Payload: "{}"}
}

func TestPollAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		verdicts []Verdict
		want     string
	}{
		{"accepted", []Verdict{{Code: mgs.AckSuccessful, Receipt: "r"}}, "SendReply r, AcknowledgeMessage"},
		{"duplicate", []Verdict{{Code: mgs.AckDuplicate, Receipt: "r"}}, "SendReply r, AcknowledgeMessage"},
		{"refused", []Verdict{{Code: mgs.AckParseError}}, ""},
		{"stopping", []Verdict{{Code: mgs.AckClosed}}, ""},
		{"unhandled", []Verdict{{Code: mgs.AckParseError, Unhandled: true}}, "FailMessage"},
		{"full twice", []Verdict{{Code: mgs.AckBufferFull}, {Code: mgs.AckBufferFull}, {Code: mgs.AckSuccessful, Receipt: "r"}}, "SendReply r, AcknowledgeMessage"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := 0
				b := run(t, refused, func(_ context.Context, d Delivery) Verdict {
					if d.JobID != "m" || d.Channel != ChannelMDS || d.Created.Year() != 2025 {
						t.Errorf("%+v", d)
					}
					n++
					return tc.verdicts[n-1]
				})
				synctest.Wait()
				broken := message("broken")
				broken.Topic = ""
				b.svc.mu.Lock()
				b.svc.give = []mds.Message{broken, message("m")}
				b.svc.mu.Unlock()
				start := time.Now()
				<-time.After(70 * time.Second)
				synctest.Wait()
				if n != len(tc.verdicts) || b.svc.text() != tc.want {
					t.Errorf("%d verdicts in %v, said %q", n, time.Since(start), b.svc.text())
				}
			})
		})
	}
}

// TestPollAfterNews: a poll that brought a new command is followed by the next
// at once, one that brought the same again is not.
func TestPollAfterNews(t *testing.T) {
	t.Parallel()
	for code, want := range map[mgs.AckCode]int{mgs.AckSuccessful: 2, mgs.AckDuplicate: 1} {
		synctest.Test(t, func(t *testing.T) {
			b := run(t, refused, func(context.Context, Delivery) Verdict { return Verdict{Code: code} })
			synctest.Wait()
			<-time.After(time.Second) // the poll that holds began before
			b.svc.mu.Lock()
			b.svc.hold, b.svc.at = 0, nil
			b.svc.mu.Unlock()
			<-time.After(time.Minute)
			b.svc.mu.Lock()
			b.svc.give, b.svc.at = []mds.Message{message("m")}, nil
			b.svc.mu.Unlock()
			for b.svc.polls() == 0 {
				<-time.After(time.Millisecond)
				synctest.Wait()
			}
			<-time.After(time.Second)
			synctest.Wait()
			if n := b.svc.polls(); n != want {
				t.Errorf("%v: %d polls within a second of the news, want %d", code, n, want)
			}
		})
	}
}

func TestPollPaceAndEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		open := denied
		b := run(t, func() (Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			return open()
		}, nil)
		set := func(hold time.Duration, err error) {
			b.svc.mu.Lock()
			defer b.svc.mu.Unlock()
			b.svc.hold, b.svc.fail[mds.OpGetMessages], b.svc.at = hold, err, nil
		}
		pace := func(d time.Duration) int {
			<-time.After(d)
			synctest.Wait()
			return b.svc.polls()
		}
		if n := pace(150 * time.Second); n < 10 || n > 11 {
			t.Errorf("%d long polls of 15 s in 150 s", n)
		}
		set(0, nil)
		pace(20 * time.Second)
		set(0, nil)
		if n := pace(100 * time.Second); n < 40 || n > 50 {
			t.Errorf("%d quick polls in 100 s, want one every 2 to 2.5 s", n)
		}
		set(0, errors.New("no"))
		pace(5 * time.Minute)
		set(0, errors.New("no"))
		if n := pace(10 * time.Minute); n < 8 || n > 11 {
			t.Errorf("%d failing polls in 10 minutes, want about one a minute", n)
		}
		set(12*time.Second, errors.New("timed out"))
		pace(2 * time.Minute)
		set(12*time.Second, errors.New("timed out"))
		if n := pace(2 * time.Minute); n < 9 || n > 11 {
			t.Errorf("%d polls that time out after 12 s in 2 minutes", n)
		}
		mu.Lock()
		open = func() (Conn, error) { return newConn(), nil }
		mu.Unlock()
		set(15*time.Second, nil)
		pace(10 * time.Minute) // the denied gateway is tried every 5 minutes at most
		if b.Channel() != ChannelMGS {
			t.Fatalf("channel %q", b.Channel())
		}
		set(15*time.Second, nil)
		if n := pace(10 * time.Minute); n != 0 {
			t.Errorf("%d polls while the gateway is open", n)
		}
	})
}

func TestRepliesByPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := run(t, func() (Conn, error) { return newConn(), nil }, nil)
		send := func(id string, err error) {
			b.svc.mu.Lock()
			b.svc.fail[mds.OpSendReply] = err
			b.svc.mu.Unlock()
			b.box.give[ChannelMDS] <- outbox.Entry{ID: id, JobID: "job", Content: id}
			synctest.Wait()
		}
		send("sent", nil)
		send("kept", errors.New("no network"))
		send("throttled", &ssmclient.Error{Code: "TooManyRequestsException"})
		send("refused", fmt.Errorf("SendReply: %w", &ssmclient.Error{Code: "InvalidMessageIdException"}))
		if got := strings.Join(b.box.done, " "); got != "sent refused" {
			t.Errorf("done %q", got)
		}
	})
}
