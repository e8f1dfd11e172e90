package commands

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/ssm"
)

// call makes a call as the rim does: JSON in, value out.
func (b *bench) call(op, body string) (any, error) {
	h, ok := b.Ops()["AmazonSSM."+op]
	if !ok {
		b.t.Fatalf("no operation %s", op)
	}
	return h.Handle(b.t.Context(), api.Caller{Kind: api.Operator}, []byte(body))
}

func TestSendRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	ids := `"InstanceIds":["` + nodeID(0) + `"]`
	target := func(key, values string) string {
		return `"DocumentName":"Two","Targets":[{"Key":"` + key + `","Values":[` + values + `]}]`
	}
	for _, tc := range []struct{ name, body, code, says string }{
		{"no document", ids, "ValidationException", "DocumentName is required"},
		{"unknown document", `"DocumentName":"None",` + ids, "InvalidDocument", "None"},
		{"unknown version", `"DocumentName":"Two","DocumentVersion":"7",` + ids, "InvalidDocumentVersion", "7"},
		{"session document", `"DocumentName":"Shell",` + ids, "InvalidDocument", "type Session"},
		{"unknown member", `"DocumentName":"Two","Foo":1,` + ids, "ValidationException", "Foo"},
		{"no node", `"DocumentName":"Two"`, "InvalidParameters", "InstanceIds or Targets"},
		{"both", target("tag:All", `"yes"`) + "," + ids, "InvalidParameters", "together"},
		{"unknown node", `"DocumentName":"Two","InstanceIds":["mi-0000000000000ffff"]`, "InvalidInstanceId", "mi-0000000000000ffff"},
		{"malformed node", `"DocumentName":"Two","InstanceIds":["server1"]`, "ValidationException", "server1"},
		{"twice", `"DocumentName":"Two","InstanceIds":["` + nodeID(0) + `","` + nodeID(0) + `"]`, "DuplicateInstanceId", nodeID(0)},
		{"51 nodes", `"DocumentName":"Two","InstanceIds":[` + strings.TrimSuffix(strings.Repeat(`"`+nodeID(0)+`",`, 51), ",") + `]`, "ValidationException", "51"},
		{"unknown target key", target("resource-groups:Name", `"x"`), "InvalidParameters", "resource-groups:Name"},
		{"target without a tag name", target("tag:", `"x"`), "InvalidParameters", "tag:"},
		{"target without values", target("tag:Role", ""), "InvalidParameters", "Values is empty"},
		{"unknown node as target", target("InstanceIds", `"mi-0000000000000ffff"`), "InvalidInstanceId", "mi-0000000000000ffff"},
		{"missing parameter", `"DocumentName":"One",` + ids, "InvalidParameters", `"commands" is required`},
		{"surplus parameter", `"DocumentName":"One","Parameters":{"commands":["x"],"foo":["y"]},` + ids, "InvalidParameters", `"foo" is not declared`},
		{"wrong value", `"DocumentName":"One","Parameters":{"commands":["x"],"executionTimeout":["soon"]},` + ids, "InvalidParameters", "executionTimeout"},
		{"hash", `"DocumentName":"Two","DocumentHash":"abc",` + ids, "InvalidDocument", "DocumentHash"},
		{"hash type", `"DocumentName":"Two","DocumentHash":"abc","DocumentHashType":"Md5",` + ids, "ValidationException", "DocumentHashType"},
		{"old hash type", `"DocumentName":"Two","DocumentHash":"abc","DocumentHashType":"Sha1",` + ids, "ValidationException", "Sha256"},
		{"short timeout", `"DocumentName":"Two","TimeoutSeconds":29,` + ids, "ValidationException", "30 to 2592000"},
		{"no timeout", `"DocumentName":"Two","TimeoutSeconds":0,` + ids, "ValidationException", "30 to 2592000"},
		{"long timeout", `"DocumentName":"Two","TimeoutSeconds":2592001,` + ids, "ValidationException", "30 to 2592000"},
		{"concurrency", `"DocumentName":"Two","MaxConcurrency":"0",` + ids, "ValidationException", "MaxConcurrency"},
		{"concurrency percent", `"DocumentName":"Two","MaxConcurrency":"101%",` + ids, "ValidationException", "MaxConcurrency"},
		{"errors", `"DocumentName":"Two","MaxErrors":"-1",` + ids, "ValidationException", "MaxErrors"},
		{"comment", `"DocumentName":"Two","Comment":"` + strings.Repeat("x", 101) + `",` + ids, "ValidationException", "Comment"},
		{"platform", `"DocumentName":"Windows",` + ids, "UnsupportedPlatformType", "Windows"},
		{"notices", `"DocumentName":"Two","NotificationConfig":{"NotificationArn":"x"},` + ids, "InvalidNotificationConfig", "no SNS"},
		{"role", `"DocumentName":"Two","ServiceRoleArn":"x",` + ids, "InvalidRole", "ServiceRoleArn"},
		{"alarms", `"DocumentName":"Two","AlarmConfiguration":{"Alarms":[{"Name":"x"}]},` + ids, "ValidationException", "alarms"},
		{"too large", `"DocumentName":"One","Parameters":{"commands":["` + strings.Repeat("x", 1<<20) + `"]},` + ids, "MaxDocumentSizeExceeded", "parameters"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := b.call("SendCommand", "{"+tc.body+"}")
			if refusal(err) != tc.code || !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Errorf("error is %v, want %s saying %q", err, tc.code, tc.says)
			}
		})
	}
	out, err := b.ListCommands(t.Context(), api.Caller{}, ssm.ListCommandsInput{})
	if err != nil || len(out.Commands) != 0 {
		t.Errorf("refused commands were kept: %v %+v", err, out)
	}
	if len(b.queue.jobs)+len(b.queue.commands)+len(b.queue.due) != 0 {
		t.Errorf("refused commands are queued: %v", b.queue.jobs)
	}
}

func TestSendEchoes(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	hash := newLibrary()["One"].Hash
	out, err := b.call("SendCommand", `{"DocumentName":"One","DocumentVersion":"1","DocumentHash":"`+hash+`","DocumentHashType":"Sha256","InstanceIds":["`+nodeID(0)+`"],
		"Parameters":{"commands":["echo <a> & b"]},"TimeoutSeconds":60,"Comment":"hi","OutputS3BucketName":"results","OutputS3KeyPrefix":"lab/out","OutputS3Region":"xx-1",
		"MaxConcurrency":"10%","MaxErrors":"100%","CloudWatchOutputConfig":{"CloudWatchLogGroupName":"g","CloudWatchOutputEnabled":true}}`)
	if err != nil {
		t.Fatal(err)
	}
	c := out.(ssm.SendCommandOutput).Command
	want := ssm.Command{
		CommandId: c.CommandId, DocumentName: "One", DocumentVersion: "1", Comment: "hi",
		ExpiresAfter: ssm.Time{Time: start.Add(time.Minute)}, Parameters: map[string][]string{"commands": {"echo <a> & b"}},
		InstanceIds: []string{nodeID(0)}, Targets: []ssm.Target{}, RequestedDateTime: ssm.Time{Time: start}, Status: "Pending", StatusDetails: "Pending",
		OutputS3BucketName: "results", OutputS3KeyPrefix: "lab/out", MaxConcurrency: "10%", MaxErrors: "100%", TargetCount: 1,
		CloudWatchOutputConfig: &ssm.CloudWatchOutputConfig{CloudWatchLogGroupName: "g", CloudWatchOutputEnabled: true}, TimeoutSeconds: 60,
	}
	if got, want := asJSON(t, c), asJSON(t, want); got != want {
		t.Errorf("command is\n%s\nwant\n%s", got, want)
	}
	d := b.deliver(0)
	if d.Topic != "aws.ssm.sendCommand.eu.west.1.1" || !d.Created.Equal(start) {
		t.Errorf("delivery: %+v", d)
	}
	p, err := doc.ParseSendCommand([]byte(d.Payload))
	if err != nil {
		t.Fatal(err)
	}
	if p.CommandId != c.CommandId || p.CloudWatchOutputEnabled != "true" || p.CloudWatchLogGroupName != "g" || p.OutputS3KeyPrefix != "lab/out" ||
		string(p.Parameters["commands"]) != `["echo <a> & b"]` || strings.Contains(d.Payload, "\\u003c") {
		t.Errorf("payload: %s", d.Payload)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTargets(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4) // Role: web, db, web, db
	for _, tc := range []struct {
		name, targets string
		want          []int
	}{
		{"tag", `[{"Key":"tag:Role","Values":["web"]}]`, []int{0, 2}},
		{"one of two values", `[{"Key":"tag:Role","Values":["web","db"]}]`, []int{0, 1, 2, 3}},
		{"tag-key", `[{"Key":"tag-key","Values":["Role","Other"]}]`, []int{0, 1, 2, 3}},
		{"both must hold", `[{"Key":"tag:Role","Values":["web"]},{"Key":"InstanceIds","Values":["` + nodeID(2) + `","` + nodeID(3) + `"]}]`, []int{2}},
		{"ids", `[{"Key":"InstanceIds","Values":["` + nodeID(3) + `"]}]`, []int{3}},
		{"none", `[{"Key":"tag:Role","Values":["mail"]}]`, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := b.call("SendCommand", `{"DocumentName":"Two","Targets":`+tc.targets+`}`)
			if err != nil {
				t.Fatal(err)
			}
			c := out.(ssm.SendCommandOutput).Command
			if c.TargetCount != len(tc.want) {
				t.Errorf("TargetCount is %d, want %d", c.TargetCount, len(tc.want))
			}
			for i := range 4 {
				if got, want := len(b.due(i)) == 1, contains(tc.want, i); got != want {
					t.Errorf("node %d: delivered is %v, want %v", i, got, want)
				}
			}
			if tc.want == nil {
				b.wantCommand(c.CommandId, "Failed", NoInstancesInTag)
			}
		})
	}
}

func contains(all []int, n int) bool {
	for _, v := range all {
		if v == n {
			return true
		}
	}
	return false
}

func TestInvalidPlatform(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	b.must(b.db.Update(func(tx *store.Tx) error {
		n, _, err := nodes.Nodes.Get(tx, nodeID(1))
		if err != nil {
			return err
		}
		n.Info.PlatformType = "Windows"
		return nodes.Nodes.Put(tx, n.ID, n)
	}))
	id := b.send(toAll("Windows"))
	b.wantState(id, 0, InvalidPlatform)
	b.idle(0)
	b.wantState(id, 1, Pending)
	b.deliver(1)
	b.reply(1, id, doc.Reply{DocumentStatus: doc.Success})
	b.wantCommand(id, "Failed", Incomplete)
}

// TestTimeoutSeconds: the same wait ends one command and not the other.
func TestTimeoutSeconds(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	short, long := to(0), to(0)
	short.TimeoutSeconds, long.TimeoutSeconds = 30, 60
	a, c := b.send(short), b.send(long)
	b.pass(31 * time.Second)
	b.wantState(a, 0, DeliveryTimedOut)
	b.wantState(c, 0, Pending)
	if d := b.take(0); d.MessageID != MessageID(c, nodeID(0)) {
		t.Errorf("%s is delivered, want the other", d.MessageID)
	}
}

func TestExecutionSum(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		content string
		params  map[string][]string
		want    time.Duration
	}{
		{oneStep, map[string][]string{"commands": {"x"}}, 100 * time.Second},
		{oneStep, map[string][]string{"commands": {"x"}, "executionTimeout": {"7"}}, 7 * time.Second},
		{oneStep, map[string][]string{"commands": {"x"}, "executionTimeout": {"1"}}, time.Hour}, // out of range
		{oneStep, map[string][]string{"commands": {"x"}, "executionTimeout": {"{{ssm:limit}}"}}, time.Hour},
		{twoSteps, nil, 30 * time.Second},
		{oldSchema, nil, time.Minute},
	} {
		p, err := planFor([]byte(tc.content), tc.params)
		if err != nil {
			t.Fatal(err)
		}
		if p.execution != tc.want {
			t.Errorf("%v: sum is %s, want %s", tc.params, p.execution, tc.want)
		}
	}
}
