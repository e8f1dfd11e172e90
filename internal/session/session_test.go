package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mgs"
	"ssmagent/platform/proc"
)

const id = "ada-0123456789abcdef0"

func node() Node {
	return Node{InstanceID: "mi-0123456789abcdef0", Region: "us-east-1", Endpoint: "http://127.0.0.1:1", Version: "3.3.9000.0", Platform: Linux}
}

// manager takes orders at a fixed time.
func manager(store doc.ParameterStore) *Manager {
	return New(Options{Clock: clock.NewFake(time.Unix(1, 0)), Node: node(), Store: store})
}

// stored is a Parameter Store. It repeats no selector, as some services do.
type stored struct{}

func (stored) GetParameters(_ context.Context, names []string) (found []doc.StoreParameter, err error) {
	for _, n := range names {
		p, ok := map[string]doc.StoreParameter{
			"/lab/cmd:prod": {Name: "/lab/cmd", Version: "3", Type: "String", Value: "uptime"},
			"host":          {Name: "host", Type: "String", Value: "{{ on }}"},
			"list":          {Name: "list", Type: "StringList", Value: "a,b"},
			"secret":        {Name: "secret", Type: "SecureString", Value: "sealed"},
		}[n]
		if ok {
			found = append(found, p)
		}
	}
	return found, nil
}

func TestSubstitute(t *testing.T) {
	t.Parallel()
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	params := map[string]mgs.SessionParameter{
		"cmd": {Type: "String", Default: raw(`"ls"`), AllowedPattern: "^[a-z ]+$"}, "on": {Type: "Boolean", Default: raw(`true`)}, "none": {Type: "String"},
	}
	for _, tc := range []struct {
		name, inputs string
		given        map[string]json.RawMessage
		want, err    string
	}{
		{"default", `{"a":"{{ cmd }}"}`, nil, `{"a":"ls"}`, ""},
		{"given", `{"a":"x{{cmd}}y{{ cmd }}"}`, map[string]json.RawMessage{"cmd": raw(`"id"`)}, `{"a":"xidyid"}`, ""},
		{"typed", `{"a":"{{ on }}","b":["{{on}} it"]}`, nil, `{"a":true,"b":["true it"]}`, ""},
		{"unknown stays", `{"a":"{{ other }} {{ none }} {{","b":1}`, nil, `{"a":"{{ other }} {{ none }} {{","b":1}`, ""},
		{"dollars", `{"a":"{{none}}","b":"{{none}}."}`, map[string]json.RawMessage{"none": raw(`"$$$ $"`)}, `{"a":"$$$ $","b":"$$ $."}`, ""},
		{"one pass", `{"a":"{{cmd}}"}`, map[string]json.RawMessage{"cmd": raw(`"on"`)}, `{"a":"on"}`, ""},
		{"pattern", `{"a":"{{cmd}}"}`, map[string]json.RawMessage{"cmd": raw(`"ID;"`)}, "", "allowedPattern"},
		{"from the store", `{"a":"{{cmd}} {{none}}"}`, map[string]json.RawMessage{"cmd": raw(`"{{ ssm:/lab/cmd:prod }}"`), "none": raw(`"at {{ssm:host}}:80"`)}, `{"a":"uptime at {{ on }}:80"}`, ""},
		{"from the store, against the pattern", `{"a":"{{cmd}}"}`, map[string]json.RawMessage{"cmd": raw(`"{{ssm:host}}"`)}, "", "allowedPattern"},
		{"not in the store", `{"a":"{{cmd}}"}`, map[string]json.RawMessage{"none": raw(`"{{ssm:no}}"`)}, "", "no such parameter"},
		{"a secret of the store", `{"a":"{{cmd}}"}`, map[string]json.RawMessage{"none": raw(`"{{ssm:secret}}"`)}, "", "SecureString"},
		{"a secret's reference stays", `{"a":"{{none}}"}`, map[string]json.RawMessage{"none": raw(`"{{ssm-secure:secret}}"`)}, `{"a":"{{ssm-secure:secret}}"}`, ""},
		{"a list of the store", `{"a":"{{cmd}}"}`, map[string]json.RawMessage{"none": raw(`"{{ssm:list}}"`)}, "", "StringList"},
		{"in the document itself it stays", `{"a":"{{ssm:host}}"}`, nil, `{"a":"{{ssm:host}}"}`, ""},
		{"too much", `{"a":"` + strings.Repeat("{{none}}", 1000) + `"}`, map[string]json.RawMessage{"none": raw(`"` + strings.Repeat("x", 1000) + `"`)}, "", "more than"},
	} {
		c := mgs.AgentTaskContent{Parameters: tc.given}
		c.DocumentContent.Parameters = params
		values, err := parameters(t.Context(), c, stored{})
		var got json.RawMessage
		if err == nil {
			got, err = substitute(raw(tc.inputs), values)
		}
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %s, %v", tc.name, got, err)
		}
	}
}

// stopping is a Parameter Store that is asked while the agent is told to stop.
type stopping struct{ stop context.CancelFunc }

func (s stopping) GetParameters(ctx context.Context, _ []string) ([]doc.StoreParameter, error) {
	s.stop()
	return nil, context.Cause(ctx)
}

// TestStopWhileParametersAreFetched: the order is left to the next agent; there
// is no outbox here that could take a refusal.
func TestStopWhileParametersAreFetched(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	m := manager(stopping{cancel})
	close(m.ready)
	err := m.Open(ctx, mgs.AgentTask{Content: `{"SessionId":"ada-1","DocumentContent":{"schemaVersion":"1.0","sessionType":"InteractiveCommands","properties":{"linux":{"commands":"{{command}}"}},
		"parameters":{"command":{"type":"String","default":"{{ssm:x}}"}}}}`})
	if !errors.Is(err, doc.ErrStore) || m.Live() != 0 {
		t.Errorf("%v, %d sessions", err, m.Live())
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(`{"SessionId":"ada-1","DocumentContent":{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"shellProfile":{"linux":"{{x}}"}},"parameters":{"x":{"type":"String","default":"y"}}}}`)
	f.Add(`{"SessionId":"ada-1","DocumentContent":{"schemaVersion":"1.0","sessionType":"InteractiveCommands","properties":{"linux":{"commands":"{{command}}"}},"parameters":{"command":{"type":"String","default":"y"}}}}`)
	f.Add(`{"SessionId":"ada-1","DocumentContent":{"schemaVersion":"1.0","sessionType":"Port","properties":{"portNumber":"80","type":"LocalPortForwarding"}}}`)
	f.Add(`{"SessionId":"../../x","DocumentContent":{"schemaVersion":"1.0"}}`)
	f.Fuzz(func(t *testing.T, content string) {
		r, err := manager(stored{}).request(t.Context(), mgs.AgentTask{Content: content})
		if r.ID != "" && (!mgs.ValidSessionID(r.ID) || filepath.Base(r.ID) != r.ID) {
			t.Fatalf("id %q", r.ID)
		}
		if err == nil && r.checkProperties() != nil {
			t.Fatalf("%+v", r)
		}
		if errors.Is(err, errRejected) && r.ID == "" {
			t.Fatal("a refusal to nobody")
		}
	})
}

func TestProperties(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ kind, properties, err string }{
		{mgs.SessionStandardStream, `null`, ""},
		{mgs.SessionInteractiveCommands, `{"linux":{"commands":"{{ p }}","runAsElevated":false}}`, ""},
		{mgs.SessionInteractiveCommands, `{"linux":{"commands":" "}}`, "Commands cannot be empty for session type InteractiveCommands"},
		{mgs.SessionInteractiveCommands, `{"windows":{"commands":"dir"}}`, "properties.linux.commands"},
		{mgs.SessionInteractiveCommands, `{"linux":{"commands":7}}`, "properties of the session document"},
		{mgs.SessionInteractiveCommands, ``, "properties of the session document"},
		{mgs.SessionInteractiveCommands, `{"linux":{"commands":"x","stdOutSeparatorPrefix":"a b"}}`, "stdOutSeparatorPrefix"},
		{"Dance", `{}`, "unknown"},
	} {
		var c mgs.AgentTaskContent
		c.SessionId, c.Parameters = id, map[string]json.RawMessage{"p": json.RawMessage(`"id -un"`)}
		c.DocumentContent = mgs.SessionDocument{SchemaVersion: "1.0", SessionType: tc.kind, Properties: json.RawMessage(tc.properties), Parameters: map[string]mgs.SessionParameter{"p": {Type: "String"}}}
		if tc.properties == "" {
			c.DocumentContent.Properties = nil
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		r, err := manager(nil).request(t.Context(), mgs.AgentTask{Content: string(b)})
		if tc.err == "" {
			if err != nil || tc.kind == mgs.SessionInteractiveCommands && !strings.Contains(string(r.Properties), "id -un") {
				t.Errorf("%s %s: %s, %v", tc.kind, tc.properties, r.Properties, err)
			}
		} else if !errors.Is(err, errRejected) || !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s %s: %v, want %q", tc.kind, tc.properties, err, tc.err)
		}
	}
}

// A session's directory is whole after every crash, or none.
func TestDirectory(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	if err := disk.Mkdir("/s", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := disk.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	d := Dir{FS: disk, Path: "/s/" + id}
	r := Request{Version: Version, ID: id, Accepted: time.Unix(1, 0).UTC(), Type: mgs.SessionStandardStream, Node: node()}
	if err := d.create(r); err != nil {
		t.Fatal(err)
	}
	if err := d.saveWorker(proc.ID{PID: 7, Start: 9}); err != nil {
		t.Fatal(err)
	}
	if w := d.loadWorker(); w.PID != 7 || w.Start != 9 {
		t.Errorf("%+v", w)
	}
	disk.Crash(fsystest.Nothing())
	if got, err := d.Load(); err != nil || got.ID != id || !reflect.DeepEqual(got.Node, node()) {
		t.Fatalf("%+v %v", got, err)
	}
	if _, over := d.Result(); over {
		t.Error("over before its end")
	}
	if err := d.Finish(Result{Status: Failed, Output: strings.Repeat("x", 10_000)}); err != nil {
		t.Fatal(err)
	}
	disk.Crash(fsystest.Nothing())
	if res, over := d.Result(); !over || res.Status != Failed || len(res.Output) != maxResult || !strings.HasSuffix(res.Output, cut) {
		t.Errorf("%+v %v", res, over)
	}
	d.remove()
	if names, err := disk.ReadDir("/s"); err != nil || len(names) != 0 {
		t.Errorf("%v %v", names, err)
	}
	r.Version = Version + 1
	if err := d.create(r); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Load(); err == nil || errors.Is(err, errTorn) {
		t.Error("a later layout was read", err)
	}
}

// FuzzWorker: a record of a worker that cannot be read is none.
func FuzzWorker(f *testing.F) {
	f.Add([]byte(`{"PID":7,"Start":9}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := Dir{FS: fsystest.NewDisk(), Path: "/s"}
		if err := d.FS.Mkdir(d.Path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := d.write(workerFile, b, false); err != nil {
			t.Fatal(err)
		}
		if w := d.loadWorker(); w != (workerRecord{}) && !json.Valid(b) {
			t.Errorf("%q is %+v", b, w)
		}
	})
}

// TestSetNode: the next session begins with the new node, and the new limit
// counts at once; the ones that are open stay.
func TestSetNode(t *testing.T) {
	t.Parallel()
	m := manager(nil)
	m.SetNode(node(), 1)
	enter := func(id string) int {
		known, full := m.enter(&entry{req: Request{ID: id}}, true)
		if known {
			t.Errorf("%s is known", id)
		}
		return full
	}
	if full := enter("a"); full != 0 {
		t.Errorf("the first finds a limit of %d", full)
	}
	if full := enter("b"); full != 1 {
		t.Errorf("the second finds a limit of %d", full)
	}
	other := node()
	other.LoginShells = true
	m.SetNode(other, 2)
	if full := enter("b"); full != 0 || !m.current().LoginShells {
		t.Errorf("a limit of %d, %+v", full, m.current())
	}
	m.SetNode(other, 1)
	if full := enter("c"); full != 1 || len(m.live) != 2 {
		t.Errorf("a limit of %d, %d open", full, len(m.live))
	}
}

func TestRecent(t *testing.T) {
	t.Parallel()
	var r recent
	for i := range 3 * maxRecent {
		r.add(fmt.Sprint(i))
		r.add(fmt.Sprint(i))
	}
	if len(r.ids) != maxRecent || len(r.ring) != maxRecent || !r.has(fmt.Sprint(3*maxRecent-1)) || !r.has(fmt.Sprint(2*maxRecent)) || r.has("0") {
		t.Errorf("%d ids", len(r.ids))
	}
}
