package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mds"
	"ssmagent/internal/wire/mgs"
)

func frameBytes(t *testing.T, kind string, now time.Time, payload []byte) []byte {
	t.Helper()
	b, err := frame.New(kind, now, payload).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestBackToBack: fifty queued commands come without one acknowledgement
// between them, over the channel and by one poll.
func TestBackToBack(t *testing.T) {
	t.Parallel()
	const n = 50
	t.Run("channel", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		var ids []string
		for range n {
			ids = append(ids, l.send(nodeA))
		}
		a := l.agent(nodeA)
		a.connect()
		var jobs []mgs.AgentJob
		var frames []frame.Message
		for range n {
			j, m := a.job()
			jobs, frames = append(jobs, j), append(frames, m)
		}
		for i, j := range jobs {
			a.ack(j, frames[i], mgs.AckSuccessful)
			a.write(mgs.TypeAgentJobReply, uuid.New(), mgs.AgentJobReply{SchemaVersion: 1, JobId: j.JobId, Content: result("Success"), Topic: mgs.TopicSendCommand})
		}
		for range n {
			readAs[mgs.AgentJobReplyAck](a, mgs.TypeAgentJobReplyAck)
		}
		for _, id := range ids {
			l.wantDetails(id, nodeA, "Success")
		}
	})
	t.Run("poll", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		for range n {
			l.send(nodeA)
		}
		if got := l.agent(nodeA).poll(); len(got) != n {
			t.Errorf("one poll brings %d messages, want %d", len(got), n)
		}
	})
}

func TestAckCodes(t *testing.T) {
	t.Parallel()
	for code, want := range map[mgs.AckCode]string{
		mgs.AckSuccessful: "InProgress", mgs.AckDuplicate: "InProgress", mgs.AckBufferFull: "Delayed", mgs.AckClosed: "Delayed",
		mgs.AckUnexpectedType: "Failed", mgs.AckTranslation: "Failed", mgs.AckInvalidDocument: "Failed", mgs.AckNoContainer: "Failed",
		mgs.AckParseError: "Failed", mgs.AckUnexpectedError: "Failed", {Code: "599", Message: "Novelty"}: "Failed",
	} {
		t.Run(code.Message, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			a := l.agent(nodeA)
			a.connect()
			id := l.send(nodeA)
			j, m := a.job()
			if code == mgs.AckParseError {
				j.JobId = "" // the agent could not read it
			}
			a.ack(j, m, code)
			a.write(mgs.TypeAgentTaskComplete, uuid.New(), mgs.AgentTaskComplete{TaskId: "s-1"})
			readAs[mgs.AgentTaskAcknowledge](a, mgs.TypeAgentTaskAcknowledge)
			l.awaitDetails(id, nodeA, want)
			if want == "Failed" {
				if trace := l.trace(id); !strings.Contains(trace, code.Message) || !strings.Contains(trace, code.Code) {
					t.Errorf("TraceOutput is %q, want %s and %s in it", trace, code.Code, code.Message)
				}
			}
			if want == "Delayed" {
				l.awaitTimer(bufferFullRetry)
				l.clock.Advance(bufferFullRetry)
				if again, _ := a.job(); again.JobId != "aws.ssm."+id+"."+nodeA {
					t.Errorf("pushed again is %s", again.JobId)
				}
			}
		})
	}
}

// TestRoomInTheAgent: what found the agent full is offered again as soon as
// another of its commands ends.
func TestRoomInTheAgent(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a := l.agent(nodeA)
	a.connect()
	l.send(nodeA)
	one, m := a.job()
	a.ack(one, m, mgs.AckSuccessful)
	id := l.send(nodeA)
	two, m := a.job()
	a.ack(two, m, mgs.AckBufferFull)
	l.awaitDetails(id, nodeA, "Delayed")
	a.write(mgs.TypeAgentJobReply, uuid.New(), mgs.AgentJobReply{JobId: one.JobId, Content: result("Success"), Topic: mgs.TopicSendCommand})
	got := map[string]bool{}
	for range 2 {
		got[a.read().Type] = true
	}
	if !got[mgs.TypeAgentJob] || !got[mgs.TypeAgentJobReplyAck] {
		t.Errorf("frames: %v", got)
	}
}

func TestNewerChannelReplacesOlder(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	old := l.agent(nodeA)
	old.connect()
	l.send(nodeA)
	old.job() // not acknowledged: the newer channel gets it again
	newer := l.agent(nodeA)
	newer.connect()
	if _, _, err := old.conn.Read(t.Context()); err == nil {
		t.Error("the older channel is still open")
	}
	newer.job()
	if !l.gw.Connected(nodeA) {
		t.Error("not connected")
	}
	l.gw.Disconnect(nodeA)
	l.awaitUp(nodeA, false)
}

func TestDeadPeer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a := l.agent(nodeA)
	pinged := make(chan struct{}, 1)
	a.connectWith(&websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool { pinged <- struct{}{}; return false }})
	ended := make(chan error)
	go func() { _, _, err := a.conn.Read(t.Context()); ended <- err }()
	l.awaitTimer(pingEvery)
	l.clock.Advance(pingEvery)
	<-pinged
	l.awaitTimer(pongDeadline)
	l.clock.Advance(pongDeadline)
	if err := <-ended; err == nil {
		t.Error("the channel of a dead peer is open")
	}
	l.awaitUp(nodeA, false)
}

func TestLivePeer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a := l.agent(nodeA)
	pinged := make(chan struct{}, 1)
	a.connectWith(&websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool { pinged <- struct{}{}; return true }})
	go func() { _, _, _ = a.conn.Read(t.Context()) }()
	for range 3 {
		l.awaitTimer(pingEvery)
		l.clock.Advance(pingEvery)
		<-pinged
		l.awaitTimer(pongDeadline)
	}
	if !l.gw.Connected(nodeA) {
		t.Error("the channel of a live peer is closed")
	}
}

// TestSlowPeer: who does not read does not hold anything up for long, and
// what was pushed to it waits for its next channel.
func TestSlowPeer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.gw.writeTime = 50 * time.Millisecond
	l.narrow.Store(true)
	l.srv.Client().Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if tcp, ok := conn.(*net.TCPConn); ok {
			err = tcp.SetReadBuffer(4096)
		}
		return conn, err
	}
	long := strings.Repeat("x", 50<<10)
	l.doc = fmt.Appendf(nil, `{"schemaVersion":"2.2","parameters":{"commands":{"type":"StringList"}},"mainSteps":[{"action":"aws:runShellScript","name":"one","inputs":{"runCommand":[%q]}}]}`, long)
	for range 10 {
		l.send(nodeA)
	}
	a := l.agent(nodeA)
	conn, _, err := a.upgrade(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	_, changed := l.gw.hub.state(nodeA)
	if err := conn.Write(t.Context(), websocket.MessageText, a.hello(a.create())); err != nil {
		t.Fatal(err)
	}
	<-changed
	l.awaitUp(nodeA, false)
	l.narrow.Store(false)
	l.srv.Client().Transport.(*http.Transport).DialContext = nil
	l.srv.Client().CloseIdleConnections()
	if n := len(l.agent(nodeA).poll()); n != 10 {
		t.Errorf("%d commands are there for a poll, want 10", n)
	}
}

// TestSwitch: one way at a time, and the other when it is gone.
func TestSwitch(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a := l.agent(nodeA)
	a.connect()
	polled := make(chan []mds.Message)
	go func() { polled <- l.agent(nodeA).poll() }()
	l.awaitTimer(holdPoll)
	id := l.send(nodeA)
	j, _ := a.job() // not by the poll, which goes on
	_ = a.conn.CloseNow()
	if m := <-polled; len(m) != 1 || m[0].MessageId != j.JobId {
		t.Errorf("after the channel's end the poll brings %+v", m)
	}
	// Back again: the poll's lease first runs out.
	a.connect()
	l.clock.Advance(mds.VisibilityTimeoutSeconds * time.Second)
	again, m := a.job()
	a.ack(again, m, mgs.AckDuplicate)
	a.reply(again.JobId, receipt)
	l.wantDetails(id, nodeA, "InProgress")
}

func TestVisibility(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a := l.agent(nodeA)
	l.send(nodeA)
	first := a.poll()
	out := make(chan []mds.Message)
	go func() { out <- a.poll() }()
	l.awaitTimer(mds.VisibilityTimeoutSeconds * time.Second)
	l.clock.Advance(mds.VisibilityTimeoutSeconds * time.Second)
	if again := <-out; len(again) != 1 || again[0] != first[0] {
		t.Errorf("after the visibility time-out comes %+v", again)
	}
}

// TestRestart: a restart of the control plane loses no command and no result.
func TestRestart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a := l.agent(nodeA)
	a.connect()
	done, running, waiting := l.send(nodeA), l.send(nodeA), l.send(nodeA)
	var jobs []mgs.AgentJob
	var frames []frame.Message
	for range 3 {
		j, m := a.job()
		jobs, frames = append(jobs, j), append(frames, m)
	}
	a.reply(jobs[0].JobId, result("Success"))
	a.ack(jobs[1], frames[1], mgs.AckSuccessful)
	a.reply(jobs[1].JobId, receipt)
	l.down()
	l.up()
	l.wantDetails(done, nodeA, "Success")
	l.wantDetails(running, nodeA, "InProgress")
	a = l.agent(nodeA)
	a.connect()
	if j, _ := a.job(); j != jobs[2] {
		t.Errorf("pushed after the restart is %+v, want %+v", j, jobs[2])
	}
	a.reply(jobs[1].JobId, result("Failed"))
	a.reply(jobs[2].JobId, result("Success"))
	l.wantDetails(running, nodeA, "Failed")
	l.wantDetails(waiting, nodeA, "Success")
}

func TestRefusedUpgradeLeavesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a := l.agent(nodeA)
	r := a.request(t.Context(), http.MethodGet, "/v1/control-channel/"+nodeA+channelQuery, "ssmmessages", nil, nil)
	status, body, err := a.do(r)
	if err != nil || status != http.StatusUpgradeRequired || !strings.Contains(body, "websocket") {
		t.Errorf("%d %s %v", status, body, err)
	}
	if l.gw.Connected(nodeA) {
		t.Error("connected without an upgrade")
	}
}
