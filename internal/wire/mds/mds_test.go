package mds

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	node    = "mi-0a1b2c3d4e5f60718"
	message = "aws.ssm.9e107d9d-372b-4a5c-8f0a-1b2c3d4e5f60." + node
	request = "0b9b0f3e-66b1-4a57-9d1a-9d3b4a1b7c01"
	receipt = `{"additionalInfo":{"agent":{"lang":"en-US","name":"amazon-ssm-agent","os":"linux","osver":"1","ver":"3.3.0.0"},"dateTime":"2025-03-14T09:30:00.410Z","runId":"","runtimeStatusCounts":null,"ableToOpenMGSConnection":false},"documentStatus":"InProgress","documentTraceOutput":"","runtimeStatus":null}`
)

func recode[T any](b []byte) (any, []byte, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, nil, err
	}
	out, err := json.Marshal(v)
	return v, out, err
}

type example struct {
	wire   string
	value  any
	recode func([]byte) (any, []byte, error)
}

// examples are the worked examples 10.6, 10.9 and 10.11 of the service
// reference: bytes, and what they must decode to.
func examples(tb testing.TB) map[string]example {
	tb.Helper()
	quoted, err := json.Marshal(receipt)
	if err != nil {
		tb.Fatal(err)
	}
	return map[string]example{
		"poll": {`{"Destination":"` + node + `","MessagesRequestId":"` + request + `","VisibilityTimeoutInSeconds":10}`,
			GetMessagesInput{Destination: node, MessagesRequestId: request, VisibilityTimeoutInSeconds: VisibilityTimeoutSeconds},
			recode[GetMessagesInput]},
		"nothing": {`{"Destination":"` + node + `","Messages":[],"MessagesRequestId":"` + request + `"}`,
			GetMessagesOutput{Destination: node, Messages: []Message{}, MessagesRequestId: request}, recode[GetMessagesOutput]},
		"command": {`{"Destination":"` + node + `","MessagesRequestId":"` + request + `","Messages":[{"Topic":"aws.ssm.sendCommand.eu.west.1.1","Destination":"` + node +
			`","CreatedDate":"2025-03-14T09:30:00.125Z","MessageId":"` + message + `","Payload":"{\"CommandId\":\"9e10\"}"}]}`,
			GetMessagesOutput{Destination: node, MessagesRequestId: request, Messages: []Message{{
				Topic: "aws.ssm.sendCommand.eu.west.1.1", Destination: node, MessageId: message,
				CreatedDate: "2025-03-14T09:30:00.125Z", Payload: `{"CommandId":"9e10"}`,
			}}}, recode[GetMessagesOutput]},
		"receipt": {`{"MessageId":"` + message + `","ReplyId":"5b1f3a40-0c52-4a0e-8a77-2f60c1d2e3f4","Payload":` + string(quoted) + `}`,
			SendReplyInput{MessageId: message, ReplyId: "5b1f3a40-0c52-4a0e-8a77-2f60c1d2e3f4", Payload: receipt}, recode[SendReplyInput]},
		"queued": {`{"Description":"","MessageId":"` + message + `","ReplyId":"5b1f","ReplyStatus":"Queued"}`,
			SendReplyOutput{MessageId: message, ReplyId: "5b1f", ReplyStatus: ReplyQueued}, recode[SendReplyOutput]},
		"acknowledge": {`{"MessageId":"` + message + `"}`, AcknowledgeMessageInput{message}, recode[AcknowledgeMessageInput]},
		"delete":      {`{"MessageId":"` + message + `"}`, DeleteMessageInput{message}, recode[DeleteMessageInput]},
		"fail": {`{"FailureType":"InternalHandlerException","MessageId":"` + message + `"}`,
			FailMessageInput{FailureInternal, message}, recode[FailMessageInput]},
		"endpoint": {`{"Destination":"` + node + `"}`, GetEndpointInput{node}, recode[GetEndpointInput]},
		"empty":    {`{}`, Empty{}, recode[Empty]},
	}
}

// TestWorkedExamples wants each example to decode to its value and to be
// written with the very same members.
func TestWorkedExamples(t *testing.T) {
	t.Parallel()
	for name, e := range examples(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, out, err := e.recode([]byte(e.wire))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(e.value, v); d != "" {
				t.Errorf("decoded otherwise: %s", d)
			}
			if d := cmp.Diff(members(t, []byte(e.wire)), members(t, out)); d != "" {
				t.Errorf("written otherwise: %s", d)
			}
		})
	}
}

func members(t *testing.T, b []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNoMessagesIsAList(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(GetMessagesOutput{})
	if err != nil || !strings.Contains(string(b), `"Messages":[]`) {
		t.Errorf("%s, %v", b, err)
	}
}

func TestComplete(t *testing.T) {
	t.Parallel()
	whole := Message{Topic: "t", Destination: "d", MessageId: "m", CreatedDate: "c"}
	if !whole.Complete() {
		t.Error("a whole message is not complete")
	}
	for name, spoil := range map[string]func(*Message){
		"Topic": func(m *Message) { m.Topic = "" }, "Destination": func(m *Message) { m.Destination = "" },
		"MessageId": func(m *Message) { m.MessageId = "" }, "CreatedDate": func(m *Message) { m.CreatedDate = "" },
	} {
		m := whole
		spoil(&m)
		if m.Complete() {
			t.Errorf("complete without %s", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range examples(f) {
		f.Add([]byte(e.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, e := range examples(t) {
			v, out, err := e.recode(b)
			if err != nil {
				continue
			}
			again, settled, err := e.recode(out)
			if err != nil || string(settled) != string(out) {
				t.Fatalf("%s: %+v became %+v by %s, %v", name, v, again, out, err)
			}
		}
	})
}
