package sessions

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

func TestStart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	out := l.startWith(ada, `{"Target":"web","Reason":"ticket 7"}`)
	if !strings.HasPrefix(out.SessionId, "ada-") || len(out.SessionId) != 4+17 || strings.Trim(out.SessionId[4:], "0123456789abcdef") != "" {
		t.Errorf("id %s", out.SessionId)
	}
	if want := "ws://plane.example:8080/v1/data-channel/" + out.SessionId + "?role=publish_subscribe"; out.StreamUrl != want {
		t.Errorf("URL %s", out.StreamUrl)
	}
	if len(out.TokenValue) < 40 || len(out.TokenValue) > 300 {
		t.Errorf("token %q", string(out.TokenValue))
	}
	m := <-l.pushes
	task, err := mgs.Decode[mgs.AgentTask](m.payload)
	if err != nil || m.node != nodeA || m.kind != mgs.TypeInteractiveShell {
		t.Fatalf("%+v %v", m, err)
	}
	order, err := task.Session()
	if err != nil {
		t.Fatal(err)
	}
	var in mgs.SessionInputs
	if err := json.Unmarshal(order.DocumentContent.Inputs, &in); err != nil {
		t.Errorf("an agent refuses the inputs: %v", err)
	}
	if order.SessionId != out.SessionId || order.DocumentName != Preferences || order.DocumentContent.SessionType != mgs.SessionStandardStream || order.SessionOwner != ada.ARN {
		t.Errorf("%+v", order)
	}
	s := l.session(out.SessionId)
	if s.Target != nodeA || s.Owner != ada.ARN || s.Reason != "ticket 7" || s.Status != ssm.SessionConnecting || !s.StartDate.Equal(began) || s.EndDate != nil || s.AccessType != "Standard" {
		t.Errorf("%+v", s)
	}
}

func TestStartRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.set(func() { l.down[nodeB] = true })
	l.document("Choice", `{"schemaVersion":"1.0","sessionType":"Port","parameters":{"portNumber":{"type":"String","default":"80","allowedPattern":"^[0-9]{1,5}$"},
		"host":{"type":"String","allowedValues":["a","b"]},"word":{"type":"String","default":"","maxChars":3}},
		"properties":{"portNumber":"{{ portNumber }}","host":"{{ host }}"}}`)
	l.document("Number", `{"schemaVersion":"1.0","sessionType":"Port","properties":{"portNumber":80}}`)
	l.document("Nothing", `{"schemaVersion":"1.0","sessionType":"InteractiveCommands","properties":{"linux":{"commands":" "}}}`)
	l.document("NoProperties", `{"schemaVersion":"1.0","sessionType":"NonInteractiveCommands"}`)
	l.document("Idle", `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"61"}}`)
	l.document("Max", `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"maxSessionDuration":0}}`)
	l.document("Bool", `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"cloudWatchStreamingEnabled":"true"}}`)
	l.document("Asks", `{"schemaVersion":"1.0","sessionType":"Standard_Stream","parameters":{"m":{"type":"String","default":"x"}},"inputs":{"idleSessionTimeout":"{{ m }}"}}`)
	l.update(func(tx *store.Tx) error {
		return nodes.Nodes.Put(tx, "mi-0123456789abcdef0", nodes.Node{ID: "mi-0123456789abcdef0", Name: "web"})
	})
	target := `"Target":"` + nodeA + `"`
	for _, tc := range []struct{ body, code, says string }{
		{`{}`, api.CodeValidation, "Target"},
		{`{"Target":""}`, api.CodeValidation, "Target"},
		{`{"Target":"` + strings.Repeat("x", 401) + `"}`, api.CodeValidation, "Target"},
		{`{"Target":"mi-00000000000000000"}`, codeNotConnected, "not connected"},
		{`{"Target":"../../x"}`, codeNotConnected, "not connected"},
		{`{"Target":"db-1.EXAMPLE"}`, codeNotConnected, "not connected"},
		{`{"Target":"web"}`, api.CodeValidation, "several nodes"},
		{`{` + target + `,"Reason":""}`, api.CodeValidation, "Reason"},
		{`{` + target + `,"Extra":1}`, api.CodeValidation, "Extra"},
		{`{` + target + `,"DocumentName":"No-Such"}`, codeDocument, "No-Such"},
		{`{` + target + `,"DocumentName":"AWS-RunShellScript"}`, codeDocument, "type Command"},
		{`{` + target + `,"DocumentName":"Idle"}`, codeDocument, "1 to 60"},
		{`{` + target + `,"DocumentName":"Max"}`, codeDocument, "1 to 1440"},
		{`{` + target + `,"DocumentName":"Bool"}`, codeDocument, "inputs"},
		{`{` + target + `,"DocumentName":"Asks"}`, codeDocument, "idleSessionTimeout"},
		{`{` + target + `,"DocumentName":"Asks","Parameters":{"m":["0"]}}`, codeDocument, "1 to 60"},
		{`{` + target + `,"DocumentName":"Choice","Parameters":{"host":["a"],"portNumber":["65536"]}}`, codeDocument, "portNumber"},
		{`{` + target + `,"DocumentName":"Number"}`, codeDocument, "properties"},
		{`{` + target + `,"DocumentName":"Nothing"}`, codeDocument, "commands"},
		{`{` + target + `,"DocumentName":"NoProperties"}`, codeDocument, "commands"},
		{`{` + target + `,"DocumentName":"AWS-StartSSHSession","Parameters":{"portNumber":["0"]}}`, api.CodeValidation, "portNumber"},
		{`{` + target + `,"DocumentName":"AWS-StartInteractiveCommand"}`, api.CodeValidation, "command"},
		{`{` + target + `,"DocumentName":"AWS-StartPortForwardingSessionToSocket"}`, api.CodeValidation, "localUnixSocket"},
		{`{` + target + `,"DocumentName":"AWS-StartNonInteractiveCommand","Parameters":{"command":["id"],"separateOutputStream":["yes"]}}`, api.CodeValidation, "separateOutputStream"},
		{`{` + target + `,"Parameters":{"x":["1"]}}`, api.CodeValidation, "not declared"},
		{`{` + target + `,"DocumentName":"Choice"}`, api.CodeValidation, "required"},
		{`{` + target + `,"DocumentName":"Choice","Parameters":{"host":["c"]}}`, api.CodeValidation, "host"},
		{`{` + target + `,"DocumentName":"Choice","Parameters":{"host":["a","b"]}}`, api.CodeValidation, "one value"},
		{`{` + target + `,"DocumentName":"Choice","Parameters":{"host":["a"],"portNumber":["80x"]}}`, api.CodeValidation, "portNumber"},
		{`{` + target + `,"DocumentName":"Choice","Parameters":{"host":["a"],"word":["long"]}}`, api.CodeValidation, "word"},
		{`{` + target + `,"DocumentName":"Choice","Parameters":{"host":"a"}}`, api.CodeValidation, "Parameters.host"},
	} {
		_, err := invoke[ssm.SessionOutput](l, ada, "StartSession", tc.body)
		if code(err) != tc.code || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.120s: %v", tc.body, err)
		}
	}
	if len(l.pushes) != 0 || len(l.list(ssm.SessionsActive)) != 0 {
		t.Error("a refused session is there")
	}
	for name, op := range l.Ops() {
		if len(op.Allow) != 1 || op.Allow[0] != api.Operator {
			t.Errorf("%s may be called by %v", name, op.Allow)
		}
	}
}

// TestOwnedDocuments: each of AWS's session documents makes the order that
// agents know, with its defaults and without.
func TestOwnedDocuments(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	both := func(commands string) string {
		return `{"linux":` + commands + `,"macos":` + commands + `,"windows":` + commands + `}`
	}
	for _, tc := range []struct{ name, parameters, kind, properties string }{
		{"AWS-StartSSHSession", `{}`, mgs.SessionPort, `{"portNumber":"22"}`},
		{"AWS-StartSSHSession", `{"portNumber":["65535"]}`, mgs.SessionPort, `{"portNumber":"65535"}`},
		{"AWS-StartPortForwardingSession", `{}`, mgs.SessionPort, `{"localPortNumber":"0","portNumber":"80","type":"LocalPortForwarding"}`},
		{"AWS-StartPortForwardingSession", `{"portNumber":["1"],"localPortNumber":["10000"]}`, mgs.SessionPort, `{"localPortNumber":"10000","portNumber":"1","type":"LocalPortForwarding"}`},
		{"AWS-StartPortForwardingSessionToRemoteHost", `{"host":["db.example"],"portNumber":["5432"]}`, mgs.SessionPort, `{"host":"db.example","localPortNumber":"0","portNumber":"5432","type":"LocalPortForwarding"}`},
		{"AWS-StartPortForwardingSessionToSocket", `{"localUnixSocket":["/tmp/s"]}`, mgs.SessionPort, `{"localConnectionType":"unix","localUnixSocket":"/tmp/s","portNumber":"80","type":"LocalPortForwarding"}`},
		{"AWS-StartInteractiveCommand", `{"command":["top -d 1"]}`, mgs.SessionInteractiveCommands, both(`{"commands":"top -d 1","runAsElevated":false}`)},
		{"AWS-StartNonInteractiveCommand", `{"command":["id"],"separateOutputStream":["true"],"stdoutSeparatorPrefix":["O:"]}`, mgs.SessionNonInteractiveCommands,
			both(`{"commands":"id","runAsElevated":false,"separateOutputStream":"true","stdErrSeparatorPrefix":"","stdOutSeparatorPrefix":"O:"}`)},
	} {
		l.startWith(ada, `{"Target":"web","DocumentName":"`+tc.name+`","Parameters":`+tc.parameters+`}`)
		task, err := mgs.Decode[mgs.AgentTask]((<-l.pushes).payload)
		if err != nil {
			t.Fatal(err)
		}
		order, err := task.Session()
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]any{}
		for name, p := range order.DocumentContent.Parameters {
			for _, raw := range []json.RawMessage{p.Default, order.Parameters[name]} {
				var v any
				if len(raw) > 0 && json.Unmarshal(raw, &v) == nil {
					values[name] = v
				}
			}
		}
		got, err := resolve(order.DocumentContent.Properties, values)
		if err != nil || string(got) != tc.properties || order.DocumentContent.SessionType != tc.kind {
			t.Errorf("%s: %s %s, %v; want %s", tc.name, order.DocumentContent.SessionType, got, err, tc.properties)
		}
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.document("Forward", `{"schemaVersion":"1.0","sessionType":"Port","parameters":{"portNumber":{"type":"String","default":"80"},"minutes":{"type":"String","default":"7"}},
		"inputs":{"idleSessionTimeout":"{{ minutes }}","maxSessionDuration":30},"properties":{"portNumber":"{{ portNumber }}"}}`)
	out := l.startWith(ada, `{"Target":"web","DocumentName":"Forward","Parameters":{"portNumber":["2222"]}}`)
	task, err := mgs.Decode[mgs.AgentTask]((<-l.pushes).payload)
	if err != nil {
		t.Fatal(err)
	}
	order, err := task.Session()
	if err != nil || string(order.Parameters["portNumber"]) != `"2222"` || order.DocumentContent.SessionType != mgs.SessionPort || len(order.Parameters) != 1 {
		t.Errorf("%+v %v", order, err)
	}
	if s := l.session(out.SessionId); s.MaxSessionDuration != "30" || s.DocumentName != "Forward" {
		t.Errorf("%+v", s)
	}
	// The account's own preferences take the place of the built-in ones.
	l.document(Preferences, `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":1}}`)
	id, _ := l.open(`{"Target":"web"}`)
	l.after(30 * time.Second)
	l.after(30 * time.Second)
	<-l.ends
	<-l.ends // the other one was never opened
	if s := l.session(id); s.Details != "session ended: idle for 1 minute" || s.EndDate.Sub(began) != time.Minute {
		t.Errorf("%+v", s)
	}
}

func TestUserOf(t *testing.T) {
	t.Parallel()
	for arn, want := range map[string]string{
		"arn:aws:iam::0:user/ada":                 "ada",
		"arn:aws:iam::0:user/ada@example.com":     "ada@example.com",
		"arn:aws:iam::0:user/a b/../c d":          "c_d",
		"arn:aws:iam::0:user/..":                  "user",
		"arn:aws:iam::0:user/-x":                  "x",
		"arn:aws:iam::0:user/\u00fcber":           "_ber",
		"":                                        "user",
		"arn:aws:iam::0:root":                     "root",
		"a/" + strings.Repeat("x", 300):           strings.Repeat("x", maxUser),
		"arn:aws:iam::0:user/" + "\x00\n..\\..\\": "__.._.._",
	} {
		if got := userOf(arn); got != want {
			t.Errorf("%q: %q, want %q", arn, got, want)
		}
		if id := newID(arn); !mgs.ValidSessionID(id) || len(id) > 96 {
			t.Errorf("%q: id %q", arn, id)
		}
	}
}

func TestGetConnectionStatus(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.set(func() { l.down[nodeB] = true })
	for target, want := range map[string]string{nodeA: "connected", "web": "connected", nodeB: "notconnected", "nobody": "notconnected"} {
		out, err := invoke[ssm.GetConnectionStatusOutput](l, ada, "GetConnectionStatus", `{"Target":"`+target+`"}`)
		if err != nil || out.Status != want || out.Target != target {
			t.Errorf("%s: %+v %v", target, out, err)
		}
	}
}

// TestOrigin: clients are sent back to the host and scheme that they used.
func TestOrigin(t *testing.T) {
	t.Parallel()
	var got string
	h := Origin(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = streamURL(r.Context(), "ada-0") }))
	for _, tc := range []struct{ url, want string }{
		{"http://127.0.0.1:8080/", "ws://127.0.0.1:8080/v1/data-channel/ada-0?role=publish_subscribe"},
		{"https://plane.example/", "wss://plane.example/v1/data-channel/ada-0?role=publish_subscribe"},
		{"http://[::1]:9/", "ws://[::1]:9/v1/data-channel/ada-0?role=publish_subscribe"},
	} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, tc.url, nil))
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.url, got, tc.want)
		}
	}
}
