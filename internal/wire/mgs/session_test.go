package mgs

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestRecordedOrder wants the inner object of the recorded interactive_shell
// back byte for byte, and our own wrapping to give the outer one.
func TestRecordedOrder(t *testing.T) {
	t.Parallel()
	for _, p := range payloads(t) {
		if p.Type != TypeInteractiveShell {
			continue
		}
		task, err := Decode[AgentTask]([]byte(p.Payload))
		if err != nil {
			t.Fatal(err)
		}
		c, err := task.Session()
		if err != nil {
			t.Fatal(err)
		}
		if c.SessionId != "demo-user-0123456789abcdef0" || c.DocumentContent.SessionType != SessionStandardStream ||
			c.SessionOwner != "arn:aws:iam::123456789012:user/demo" || c.DocumentName != "SSM-SessionManagerRunShell" {
			t.Errorf("order %+v", c)
		}
		in, err := json.Marshal(SessionInputs{})
		if err != nil || string(in) != string(c.DocumentContent.Inputs) {
			t.Errorf("empty inputs %s, want %s (%v)", in, c.DocumentContent.Inputs, err)
		}
		again, err := NewAgentTask(c)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := json.Marshal(again); err != nil || string(b) != p.Payload {
			t.Errorf("%v\n got %s\nwant %s", err, b, p.Payload)
		}
		return
	}
	t.Fatal("no recorded order")
}

func TestOrderRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]string{
		"not JSON":       `{`,
		"no session":     `{"DocumentContent":{"schemaVersion":"1.0"}}`,
		"climbs":         `{"SessionId":"../x","DocumentContent":{"schemaVersion":"1.0"}}`,
		"other schema":   `{"SessionId":"s","DocumentContent":{"schemaVersion":"2.2"}}`,
		"no document":    `{"SessionId":"s"}`,
		"params a list":  `{"SessionId":"s","DocumentContent":{"schemaVersion":"1.0"},"Parameters":[]}`,
		"owner a number": `{"SessionId":"s","DocumentContent":{"schemaVersion":"1.0"},"SessionOwner":1}`,
	} {
		if _, err := (AgentTask{Content: c}).Session(); err == nil || !strings.HasPrefix(err.Error(), "start-session order: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewAgentTask(AgentTaskContent{SessionId: "s"}); err == nil {
		t.Error("an order without schema version was made")
	}
	task, err := NewAgentTask(AgentTaskContent{SessionId: "s", DocumentContent: SessionDocument{SchemaVersion: SessionSchema}})
	if err != nil || !strings.Contains(task.Content, `"Parameters":{}`) || task.TaskId != "s" {
		t.Errorf("without parameters: %+v, %v", task, err)
	}
	bad := AgentTaskContent{SessionId: "s", DocumentContent: SessionDocument{SchemaVersion: SessionSchema, Inputs: json.RawMessage("{")}}
	if _, err := NewAgentTask(bad); err == nil {
		t.Error("broken inputs were encoded")
	}
}

func TestValidSessionID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"demo-user-0123456789abcdef0", "a.b+c=d,e@f_g-0", strings.Repeat("a", 128)} {
		if !ValidSessionID(id) {
			t.Errorf("%q refused", id)
		}
	}
	for _, id := range []string{"", ".", "..", ".a", "a.", "-a", "a/b", `a\b`, "a b", "a:b", "a\x00", "é", strings.Repeat("a", 129)} {
		if ValidSessionID(id) {
			t.Errorf("%q taken", id)
		}
	}
}

func TestInputs(t *testing.T) {
	t.Parallel()
	const fresh = `{"s3BucketName":"","s3KeyPrefix":"","s3EncryptionEnabled":true,"cloudWatchLogGroupName":"",
		"cloudWatchEncryptionEnabled":"T","cloudWatchStreamingEnabled":true,"kmsKeyId":"","runAsEnabled":"","runAsDefaultUser":"",
		"idleSessionTimeout":"20","maxSessionDuration":1,"shellProfile":{"windows":"w","linux":"l"}}`
	in, err := Decode[SessionInputs]([]byte(fresh))
	if err != nil {
		t.Fatal(err)
	}
	if !bool(in.S3EncryptionEnabled) || !bool(in.CloudWatchEncryptionEnabled) || bool(in.RunAsEnabled) || !in.CloudWatchStreamingEnabled ||
		in.ShellProfile != (ShellProfile{"w", "l"}) || string(in.IdleSessionTimeout) != `"20"` {
		t.Errorf("inputs %+v", in)
	}
	if _, err := Decode[SessionInputs]([]byte(`{"cloudWatchStreamingEnabled":"true"}`)); err == nil {
		t.Error("cloudWatchStreamingEnabled was taken as a string")
	}
	if _, err := Decode[PortProperties]([]byte(`{"portNumber":80}`)); err == nil {
		t.Error("portNumber was taken as a number")
	}
}

func TestBool(t *testing.T) {
	t.Parallel()
	for _, s := range []string{`true`, `"1"`, `"t"`, `"T"`, `"TRUE"`, `"true"`, `"True"`} {
		if b, err := Decode[Bool]([]byte(s)); err != nil || !bool(b) {
			t.Errorf("%s: %v, %v", s, b, err)
		}
	}
	for _, s := range []string{`false`, `""`, `null`, `"0"`, `"f"`, `"F"`, `"FALSE"`, `"false"`, `"False"`} {
		if b, err := Decode[Bool]([]byte(s)); err != nil || bool(b) {
			t.Errorf("%s: %v, %v", s, b, err)
		}
	}
	for _, s := range []string{`1`, `0`, `"yes"`, `" true"`, `[]`, `{}`, `"tRUE"`} {
		if _, err := Decode[Bool]([]byte(s)); err == nil {
			t.Errorf("%s was taken", s)
		}
	}
}

// TestHandshake builds both recorded requests and the answers from parts.
func TestHandshake(t *testing.T) {
	t.Parallel()
	recorded := map[string]string{}
	for _, p := range payloads(t) {
		recorded[p.Name] = p.Payload
	}
	props, err := json.Marshal(PortProperties{LocalPortNumber: "9999", PortNumber: "80", Type: LocalPortForwarding})
	if err != nil {
		t.Fatal(err)
	}
	port, err := NewSessionType(SessionPort, props)
	if err != nil {
		t.Fatal(err)
	}
	shell, err := NewSessionType(SessionStandardStream, nil)
	if err != nil {
		t.Fatal(err)
	}
	kms, err := NewKMSEncryption("alias/lab", "AAECAwQFBgcICQoLDA0ODw==")
	if err != nil {
		t.Fatal(err)
	}
	key, err := json.Marshal(KMSEncryptionResult{KMSCipherTextKey: []byte("wrapped-key")})
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"output_handshake_request":     HandshakeRequest{AgentVersion: "3.3.0.0", RequestedClientActions: []ClientAction{port}},
		"output_handshake_request_kms": HandshakeRequest{AgentVersion: "3.3.0.0", RequestedClientActions: []ClientAction{shell, kms}},
		"input_handshake_response": HandshakeResponse{ClientVersion: "1.2.677.0",
			ProcessedClientActions: []ProcessedClientAction{{ActionType: ActionSessionType, ActionStatus: ActionSuccess}}},
		"input_handshake_response_kms": HandshakeResponse{ClientVersion: "1.2.677.0", ProcessedClientActions: []ProcessedClientAction{
			{ActionType: ActionSessionType, ActionStatus: ActionSuccess},
			{ActionType: ActionKMSEncryption, ActionStatus: ActionSuccess, ActionResult: key},
		}},
		"output_handshake_complete": HandshakeComplete{HandshakeTimeToComplete: 123456789 * time.Nanosecond},
		"input_size":                Size{80, 24},
	} {
		if b, err := json.Marshal(v); err != nil || string(b) != recorded[name] {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, b, recorded[name])
		}
	}
	if _, err := NewSessionType(SessionPort, json.RawMessage("{")); err == nil {
		t.Error("broken properties were encoded")
	}
}

func TestHandshakeExtensions(t *testing.T) {
	t.Parallel()
	const with = `{"AgentVersion":"3.3.9000.0","RequestedClientActions":null,"Extensions":{"frames":65536}}`
	q, err := Decode[HandshakeRequest]([]byte(with))
	if err != nil || string(q.Extensions) != `{"frames":65536}` {
		t.Fatalf("%+v, %v", q, err)
	}
	if b, err := json.Marshal(q); err != nil || string(b) != with {
		t.Errorf("%s, %v", b, err)
	}
	// A stock client's answer to an action that it does not know.
	r, err := Decode[HandshakeResponse]([]byte(`{"ClientVersion":"1.2.677.0","ProcessedClientActions":` +
		`[{"ActionType":"X","ActionStatus":0,"ActionResult":3,"Error":"Unsupported action X"}],"Errors":["Unsupported action X"]}`))
	if err != nil || r.ProcessedClientActions[0].ActionStatus == ActionSuccess || r.Extensions != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestFlagsAndExitCodes(t *testing.T) {
	t.Parallel()
	if b := FlagTerminateSession.Encode(); string(b) != "\x00\x00\x00\x02" {
		t.Errorf("flag %x", b)
	}
	if f, err := DecodeFlag([]byte{0, 0, 0, 3}); err != nil || f != FlagConnectToPortError {
		t.Errorf("flag %v, %v", f, err)
	}
	for _, bad := range [][]byte{nil, {1}, {0, 0, 0, 1, 0}} {
		if _, err := DecodeFlag(bad); err == nil {
			t.Errorf("%x was taken as a flag", bad)
		}
	}
	for code, want := range map[int]string{3: "EXIT_CODE: 3", 0: "EXIT_CODE: 0", -1: "EXIT_CODE: -1"} {
		b := FormatExitCode(code)
		if got, err := ParseExitCode(b); string(b) != want || err != nil || got != code {
			t.Errorf("%d is %q and comes back as %d, %v", code, b, got, err)
		}
	}
	for _, bad := range []string{"", "3", "EXIT_CODE:3", "EXIT_CODE: x", "EXIT_CODE: 99999999999999999999", "EXIT_CODE: " + strings.Repeat("0", 99)} {
		if _, err := ParseExitCode([]byte(bad)); err == nil {
			t.Errorf("%q was taken as an exit code", bad)
		}
	}
}

func TestExit(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]Exit{
		"EXIT_CODE: 42":                           {Code: 42},
		"EXIT_CODE: -1":                           {Code: -1},
		"EXIT_CODE: -1 SIGNAL: 9 SIGKILL":         {Code: -1, Signal: 9, Name: "SIGKILL"},
		"EXIT_CODE: -1 SIGNAL: 64 SIGRTMIN+30":    {Code: -1, Signal: 64, Name: "SIGRTMIN+30"},
		"EXIT_CODE: -2147483648 SIGNAL: 1 SIGHUP": {Code: -2147483648, Signal: 1, Name: "SIGHUP"},
	} {
		b := FormatExit(e)
		if got, err := ParseExit(b); string(b) != want || err != nil || got != e {
			t.Errorf("%s: %q, %+v, %v", want, b, got, err)
		}
		if code, err := ParseExitCode(b); err != nil || code != e.Code {
			t.Errorf("%s: %d, %v", want, code, err)
		}
	}
	for _, bad := range []string{"EXIT_CODE: -1 SIGNAL: 9", "EXIT_CODE: -1 SIGNAL: 0 SIGKILL", "EXIT_CODE: -1 SIGNAL: 9 \x1b[2J", "EXIT_CODE: -1 SIGNAL: x SIGKILL", "EXIT_CODE:  SIGNAL: 9 SIGKILL"} {
		if e, err := ParseExit([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, e)
		}
	}
	if got := string(FormatExit(Exit{Code: -1, Signal: 9, Name: "killed now"})); got != "EXIT_CODE: -1" {
		t.Errorf("%q", got)
	}
}

func FuzzExitCode(f *testing.F) {
	f.Add([]byte("EXIT_CODE: -1 SIGNAL: 9 SIGKILL"))
	f.Add([]byte("EXIT_CODE: 3"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseExit(b)
		if err != nil {
			return
		}
		if m, err := ParseExit(FormatExit(n)); err != nil || m != n {
			t.Fatalf("%q is %+v, then %+v, %v", b, n, m, err)
		}
	})
}
