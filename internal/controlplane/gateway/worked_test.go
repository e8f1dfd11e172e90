package gateway

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mds"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

const workedID, cancelID = "9e107d9d-372b-4a5c-8f0a-1b2c3d4e5f60", "0d4f1111-372b-4a5c-8f0a-1b2c3d4e5f60"

// wantWorked is the result that both worked exchanges lead to.
func (l *lab) wantWorked() {
	l.t.Helper()
	got := l.get(workedID, nodeA)
	want := ssm.GetCommandInvocationOutput{
		CommandId: workedID, InstanceId: nodeA, DocumentName: "AWS-RunShellScript", DocumentVersion: "$DEFAULT", PluginName: "stepOne",
		ExecutionStartDateTime: "2025-03-14T09:30:00.433Z", ExecutionElapsedTime: "PT0.126S", ExecutionEndDateTime: "2025-03-14T09:30:00.559Z",
		Status: "Success", StatusDetails: "Success", StandardOutputContent: "hello\n", StandardErrorContent: "oops\n",
		CloudWatchOutputConfig: got.CloudWatchOutputConfig, StandardOutputUrl: got.StandardOutputUrl, StandardErrorUrl: got.StandardErrorUrl,
	}
	if got != want {
		l.t.Errorf("invocation is\n%+v\nwant\n%+v", got, want)
	}
}

// finalOf turns the worked example's step reply into the final one.
func finalOf(t *testing.T, stepReply json.RawMessage) string {
	t.Helper()
	return strings.Replace(string(stepReply), `"documentStatus":"InProgress"`, `"documentStatus":"Success"`, 1)
}

// TestWorkedPoll replays the exchanges over ec2messages.
func TestWorkedPoll(t *testing.T) {
	t.Parallel()
	w := worked(t)
	l := newLab(t)
	a := l.agent(nodeA)

	// An empty poll is held and then answered with an empty list.
	body := make(chan string)
	go func() {
		_, b, _ := a.mds(t.Context(), mds.OpGetMessages, w["getMessages"])
		body <- b
	}()
	l.awaitTimer(holdPoll)
	l.clock.Advance(holdPoll)
	same(t, []byte(<-body), w["empty"])
	l.clock.Advance(-holdPoll)

	l.ids = []string{workedID}
	l.send(nodeA)
	var out mds.GetMessagesOutput
	text := a.call(mds.OpGetMessages, w["getMessages"])
	if err := json.Unmarshal([]byte(text), &out); err != nil || len(out.Messages) != 1 {
		t.Fatalf("messages: %v %s", err, text)
	}
	m := out.Messages[0]
	same(t, []byte(m.Payload), w["sendCommand"])
	m.Payload = ""
	got, _ := json.Marshal(m)
	same(t, []byte(strings.Replace(string(got), `,"Payload":""`, "", 1)), w["message"])

	a.call(mds.OpSendReply, w["receipt"])
	l.wantDetails(workedID, nodeA, "InProgress")
	if got := a.call(mds.OpAcknowledgeMessage, map[string]string{"MessageId": m.MessageId}); got != "{}" {
		t.Errorf("AcknowledgeMessage answered %s", got)
	}
	for _, content := range []string{string(w["stepFinished"]), finalOf(t, w["stepFinished"])} {
		var r mds.SendReplyOutput
		in := mds.SendReplyInput{MessageId: m.MessageId, ReplyId: uuid.NewString(), Payload: content}
		if err := json.Unmarshal([]byte(a.call(mds.OpSendReply, in)), &r); err != nil || r.ReplyId != in.ReplyId || r.MessageId != m.MessageId || r.ReplyStatus == "" {
			t.Errorf("SendReply answered %+v, %v", r, err)
		}
	}
	if got := a.call(mds.OpDeleteMessage, map[string]string{"MessageId": m.MessageId}); got != "{}" {
		t.Errorf("DeleteMessage answered %s", got)
	}
	l.wantWorked()
}

func TestWorkedCancelAndFailures(t *testing.T) {
	t.Parallel()
	w := worked(t)
	l := newLab(t)
	a := l.agent(nodeA)
	l.ids = []string{workedID, cancelID}
	l.send(nodeA)
	m := a.poll()[0]
	a.call(mds.OpAcknowledgeMessage, mds.AcknowledgeMessageInput{MessageId: m.MessageId})
	l.cancel(workedID)
	c := a.poll()[0]
	if c.Topic != "aws.ssm.cancelCommand.eu.west.1.1" || c.MessageId != "aws.ssm."+cancelID+"."+nodeA {
		t.Errorf("cancel message: %+v", c)
	}
	same(t, []byte(c.Payload), w["cancelCommand"])
	a.call(mds.OpSendReply, mds.SendReplyInput{MessageId: c.MessageId, ReplyId: uuid.NewString(), Payload: receipt})
	a.call(mds.OpAcknowledgeMessage, mds.AcknowledgeMessageInput{MessageId: c.MessageId})
	l.wantDetails(workedID, nodeA, "Cancelling")
	a.call(mds.OpSendReply, mds.SendReplyInput{MessageId: m.MessageId, ReplyId: uuid.NewString(), Payload: result("Cancelled")})
	l.wantDetails(workedID, nodeA, "Cancelled")

	// A parse failure is a reply and nothing else; the message never returns.
	bad := l.send(nodeA)
	m = a.poll()[0]
	a.call(mds.OpSendReply, mds.SendReplyInput{MessageId: m.MessageId, ReplyId: uuid.NewString(), Payload: string(w["parseFailure"])})
	l.wantDetails(bad, nodeA, "Failed")
	failed := l.send(nodeA)
	again := a.poll()
	if len(again) != 1 || again[0].MessageId != "aws.ssm."+failed+"."+nodeA {
		t.Errorf("polled after a parse failure: %+v", again)
	}
	if got := a.call(mds.OpFailMessage, mds.FailMessageInput{FailureType: mds.FailureInternal, MessageId: again[0].MessageId}); got != "{}" {
		t.Errorf("FailMessage answered %s", got)
	}
	l.wantDetails(failed, nodeA, "Failed")
}

// TestWorkedChannel replays the exchanges over the control channel.
func TestWorkedChannel(t *testing.T) {
	t.Parallel()
	w := worked(t)
	l := newLab(t)
	a := l.agent(nodeA)
	a.connect()
	l.ids = []string{workedID}
	l.send(nodeA)
	j, m := a.job()
	same(t, []byte(j.Content), w["sendCommand"])
	j.Content = ""
	got, _ := json.Marshal(j)
	same(t, []byte(strings.Replace(string(got), `,"Content":""`, "", 1)), w["agentJob"])
	if m.Sequence != 0 || m.Flags != 0 || m.PayloadType != 0 || m.Created.IsZero() {
		t.Errorf("frame of agent_job: %+v", m)
	}
	a.writeRaw(frame.Message{Type: mgs.TypeAgentJobAck, Created: l.clock.Now(), ID: uuid.New(), Payload: w["agentJobAck"]})
	id := uuid.MustParse("e07f4182-7566-447f-a94c-45c1bee0da24")
	for _, content := range []string{receipt, string(w["stepFinished"]), finalOf(t, w["stepFinished"])} {
		var r mgs.AgentJobReply
		if err := json.Unmarshal(w["agentJobReply"], &r); err != nil {
			t.Fatal(err)
		}
		r.Content = content
		a.write(mgs.TypeAgentJobReply, id, r)
		ack := a.read()
		if ack.Type != mgs.TypeAgentJobReplyAck {
			t.Fatalf("a reply is answered with %s", ack.Type)
		}
		same(t, ack.Payload, w["agentJobReplyAck"])
	}
	l.wantWorked()

	// A duplicate is acknowledged as one, and nothing follows.
	dup := l.send(nodeA)
	j, m = a.job()
	a.ack(j, m, mgs.AckDuplicate)
	a.reply(j.JobId, receipt)
	l.wantDetails(dup, nodeA, "InProgress")
}
