package mgs

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// recode decodes payload as T and encodes it again.
func recode[T any](payload []byte) ([]byte, error) {
	v, err := Decode[T](payload)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

type codec func([]byte) ([]byte, error)

// codecs are all payloads, by message type; stream messages by payload type.
func codecs() map[string]codec {
	return map[string]codec{
		TypeInteractiveShell:     recode[AgentTask],
		TypeChannelClosed:        recode[ChannelClosed],
		TypeAgentTaskComplete:    recode[AgentTaskComplete],
		TypeAgentTaskAcknowledge: recode[AgentTaskAcknowledge],
		TypeAgentJob:             recode[AgentJob],
		TypeAgentJobAck:          recode[AgentJobAck],
		TypeAgentJobReply:        recode[AgentJobReply],
		TypeAgentJobReplyAck:     recode[AgentJobReplyAck],
		TypeAgentTelemetry:       recode[AgentTelemetry],
		TypeAgentUpdateResult:    recode[AgentUpdateResult],
		TypeAgentSessionState:    recode[AgentSessionState],
		TypeAcknowledge:          recode[Acknowledge],
		"create-control":         recode[CreateControlChannelRequest],
		"create-data":            recode[CreateDataChannelRequest],
		"open-control":           recode[OpenControlChannel],
		"open-data":              recode[OpenDataChannel],
		"order":                  recode[AgentTaskContent],
	}
}

func streamCodecs() map[int]codec {
	return map[int]codec{
		PayloadSize:                 recode[Size],
		PayloadHandshakeRequest:     recode[HandshakeRequest],
		PayloadHandshakeResponse:    recode[HandshakeResponse],
		PayloadHandshakeComplete:    recode[HandshakeComplete],
		PayloadEncChallengeRequest:  recode[EncChallenge],
		PayloadEncChallengeResponse: recode[EncChallenge],
	}
}

type payload struct {
	Name, Type, Payload string
	PayloadType         int
}

func payloads(tb testing.TB) []payload {
	tb.Helper()
	b, err := os.ReadFile("testdata/payloads.json")
	if err != nil {
		tb.Fatal(err)
	}
	var ps []payload
	if err := json.Unmarshal(b, &ps); err != nil || len(ps) == 0 {
		tb.Fatalf("%d payloads, %v", len(ps), err)
	}
	return ps
}

// TestRecordedPayloads wants every recorded payload back byte for byte.
func TestRecordedPayloads(t *testing.T) {
	t.Parallel()
	for _, p := range payloads(t) {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			c := codecs()[p.Type]
			if p.PayloadType != 0 {
				c = streamCodecs()[p.PayloadType]
			}
			if c == nil {
				t.Fatalf("nothing decodes %s with payload type %d", p.Type, p.PayloadType)
			}
			got, err := c([]byte(p.Payload))
			if err != nil || string(got) != p.Payload {
				t.Errorf("%v\n got %s\nwant %s", err, got, p.Payload)
			}
		})
	}
}

// examples are bodies as stock agents and the service exchange them.
func examples() []payload {
	const job = "aws.ssm.9e107d9d-372b-4a5c-8f0a-1b2c3d4e5f60.mi-0a1b2c3d4e5f60718"
	return []payload{
		{Type: "create-control", Payload: `{"MessageSchemaVersion":"1.0","RequestId":"f2b7c1d0-0a5e-4d4c-9c55-6a7b8c9d0e1f"}`},
		{Type: "create-data", Payload: `{"MessageSchemaVersion":"1.0","RequestId":"f2b7c1d0-0a5e-4d4c-9c55-6a7b8c9d0e1f","ClientId":""}`},
		{Type: "open-control", Payload: `{"Cookie":null,"MessageSchemaVersion":"1.0","RequestId":"2f1e","TokenValue":"tok-8f14e45f","AgentVersion":"3.3.0.0","PlatformType":"linux"}`},
		{Name: "agent", Type: "open-data", Payload: `{"MessageSchemaVersion":"1.0","RequestId":"2f1e","TokenValue":"tok","ClientInstanceId":"mi-0","ClientId":""}`},
		{Name: "client", Type: "open-data", Payload: `{"MessageSchemaVersion":"1.0","RequestId":"2f1e","TokenValue":"tok","ClientId":"c-1","ClientVersion":"1.2.677.0"}`},
		{Type: TypeAgentJob, Payload: `{"SchemaVersion":1,"JobId":"` + job + `","Topic":"aws.ssm.sendCommand.eu.west.1.1","Content":"{\"CommandId\":\"9e10\"}"}`},
		{Type: TypeAgentJobAck, Payload: `{"jobId":"` + job + `","acknowledgedMessageId":"d92c58d7-0264-4d6c-bd7d-e909351e39a5","createdDate":"2025-03-14T09:30:00.125Z","statusCode":"200","errorMessage":"Successful"}`},
		{Type: TypeAgentJobReply, Payload: `{"schemaVersion":1,"jobId":"` + job + `","content":"{\"documentStatus\":\"InProgress\"}","topic":"aws.ssm.sendCommand"}`},
		{Type: TypeAgentJobReplyAck, Payload: `{"jobId":"` + job + `","acknowledgedMessageId":"e07f4182-7566-447f-a94c-45c1bee0da24"}`},
		{Type: TypeAgentTelemetry, Payload: `{"SchemaVersion":1,"NumberOfAgentReboot":1,"NumberOfSSMWorkerReboot":0,"NumberOfInProcExecuterStart":0,"AgentVersion":"3.3.0.0"}`},
		{Type: TypeAgentUpdateResult, Payload: `{"SchemaVersion":1,"AgentUpdateResultCode":"","SourceVersion":"3.3.0.0","TargetVersion":"3.3.1.0"}`},
	}
}

func TestWorkedExamples(t *testing.T) {
	t.Parallel()
	for _, p := range examples() {
		t.Run(p.Type+p.Name, func(t *testing.T) {
			t.Parallel()
			got, err := codecs()[p.Type]([]byte(p.Payload))
			if err != nil || string(got) != p.Payload {
				t.Errorf("%v\n got %s\nwant %s", err, got, p.Payload)
			}
		})
	}
}

// TestBodyLengths holds the request bodies to the lengths on record.
func TestBodyLengths(t *testing.T) {
	t.Parallel()
	const id = "f2b7c1d0-0a5e-4d4c-9c55-6a7b8c9d0e1f"
	c, err := json.Marshal(CreateControlChannelRequest{SchemaVersion, id})
	if err != nil || len(c) != 81 {
		t.Errorf("control channel: %d bytes, %v", len(c), err)
	}
	d, err := json.Marshal(CreateDataChannelRequest{SchemaVersion, id, ""})
	if err != nil || len(d) != 95 {
		t.Errorf("data channel: %d bytes, %v", len(d), err)
	}
}

func TestAckOfDuplicate(t *testing.T) {
	t.Parallel()
	at := time.Date(2025, 3, 14, 9, 30, 0, 125e6, time.FixedZone("", 3600))
	b, err := json.Marshal(AgentJobAck{"j", "m", FormatTime(at), AckDuplicate.Code, AckDuplicate.Message})
	const want = `{"jobId":"j","acknowledgedMessageId":"m","createdDate":"2025-03-14T08:30:00.125Z","statusCode":"51405","errorMessage":"DuplicateCommand"}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
}

func TestDecodeTakesAndRefuses(t *testing.T) {
	t.Parallel()
	j, err := Decode[AgentJob]([]byte(`{"jobid":"j","TOPIC":"t","Later":[1]}`))
	if err != nil || j.JobId != "j" || j.Topic != "t" {
		t.Errorf("other capitals and unknown members: %+v, %v", j, err)
	}
	for _, bad := range []string{"", "{", "[]", `{"JobId":1}`, `{} {}`, "\xff"} {
		if _, err := Decode[AgentJob]([]byte(bad)); err == nil || !strings.Contains(err.Error(), "mgs.AgentJob") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := Decode[ChannelClosed]([]byte(`{"CreatedDate":1}`)); err == nil {
		t.Error("a number was taken as CreatedDate")
	}
}

func TestJobRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := AgentJob{
			SchemaVersion: rapid.Int().Draw(t, "schema"), JobId: rapid.String().Draw(t, "job"),
			Topic: rapid.String().Draw(t, "topic"), Content: rapid.String().Draw(t, "content"),
		}
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode[AgentJob](b)
		if err != nil || got != want {
			t.Fatalf("%+v became %+v, %v", want, got, err)
		}
	})
}

// FuzzDecode feeds one input to every decoder. What is taken must encode, and
// what was encoded must come back the same.
func FuzzDecode(f *testing.F) {
	for _, p := range append(payloads(f), examples()...) {
		f.Add([]byte(p.Payload))
	}
	f.Add([]byte(`{"SessionId":"s","DocumentContent":{"schemaVersion":"1.0","inputs":{},"parameters":{"a":{"default":[1],"minChars":1}},"properties":[]},"Parameters":{"a":null}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		all := codecs()
		for n, c := range streamCodecs() {
			all[string(rune('0'+n))] = c
		}
		all["inputs"], all["command"], all["port"] = recode[SessionInputs], recode[CommandProperties], recode[PortProperties]
		all["kms"], all["session"] = recode[KMSEncryptionResult], recode[SessionTypeParameters]
		for name, c := range all {
			first, err := c(b)
			if err != nil {
				continue
			}
			second, err := c(first)
			if err != nil {
				t.Fatalf("%s: own output %s: %v", name, first, err)
			}
			if d := cmp.Diff(string(first), string(second)); d != "" {
				t.Fatalf("%s: does not settle: %s", name, d)
			}
		}
		if task, err := Decode[AgentTask](b); err == nil {
			if c, err := task.Session(); err == nil && !ValidSessionID(c.SessionId) {
				t.Fatalf("took the session id %q", c.SessionId)
			}
		}
	})
}
