package commands

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/ssm"
)

const (
	oneStep = `{"schemaVersion":"2.2","description":"run","parameters":{"commands":{"type":"StringList"},"executionTimeout":{"type":"String","default":"100","allowedPattern":"[0-9]+"}},
 "mainSteps":[{"action":"aws:runShellScript","name":"stepOne","inputs":{"runCommand":"{{ commands }}","timeoutSeconds":"{{ executionTimeout }}"}}]}`
	twoSteps = `{"schemaVersion":"2.2","parameters":{},"mainSteps":[
 {"action":"aws:runShellScript","name":"first","inputs":{"runCommand":["true"],"timeoutSeconds":10}},
 {"action":"aws:runShellScript","name":"second","inputs":{"runCommand":["true"],"timeoutSeconds":20}}]}`
	oldSchema = `{"schemaVersion":"1.2","parameters":{},"runtimeConfig":{"aws:runShellScript":{"properties":[{"id":"0.aws:runShellScript","runCommand":["true"],"timeoutSeconds":"60"}]}}}`
)

// library is a document store in memory; names end in a platform or not.
type library map[string]Document

func (l library) Resolve(_ *store.Tx, name, version string) (Document, error) {
	d, ok := l[name]
	if !ok {
		return Document{}, api.Errorf("InvalidDocument", "no document %s", name)
	}
	if version != "" && version != "$DEFAULT" && version != "$LATEST" && version != d.Version {
		return Document{}, api.Errorf("InvalidDocumentVersion", "no version %s", version)
	}
	return d, nil
}

func newLibrary() library {
	l := library{}
	add := func(name, kind, content string, platforms ...string) {
		sum := sha256.Sum256([]byte(content))
		l[name] = Document{Name: name, Version: "1", Type: kind, Content: []byte(content), Hash: hex.EncodeToString(sum[:]), Platforms: platforms}
	}
	add("One", "Command", oneStep, "Linux")
	add("Two", "Command", twoSteps)
	add("Old", "Command", oldSchema)
	add("Shell", "Session", oneStep)
	add("Windows", "Command", twoSteps, "Windows")
	return l
}

// bench is a service on a store of its own, with a clock to turn.
type bench struct {
	*Service
	t     *testing.T
	path  string
	db    *store.DB
	clock *clock.Fake
}

var start = time.Date(2025, 3, 14, 9, 30, 0, 125e6, time.UTC)

func newBench(t *testing.T, n int) *bench {
	t.Helper()
	b := &bench{t: t, path: filepath.Join(t.TempDir(), "store"), clock: clock.NewFake(start)}
	b.open()
	t.Cleanup(func() { _ = b.db.Close() })
	b.register(n)
	return b
}

func (b *bench) open() {
	b.t.Helper()
	db, err := store.Open(b.path)
	if err != nil {
		b.t.Fatal(err)
	}
	b.db = db
	b.Service, err = New(Config{DB: db, Documents: newLibrary(), Clock: b.clock, Log: slog.New(slog.DiscardHandler), Region: "eu-west-1"})
	if err != nil {
		b.t.Fatal(err)
	}
}

// restart ends the service and opens another on the same store.
func (b *bench) restart() {
	b.t.Helper()
	if err := b.db.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.open()
}

func nodeID(i int) string { return fmt.Sprintf("mi-%017d", i) }

// register adds n Linux nodes with tags Role=web or db and All=yes.
func (b *bench) register(n int) {
	b.t.Helper()
	err := b.db.Update(func(tx *store.Tx) error {
		for i := range n {
			role := "web"
			if i%2 == 1 {
				role = "db"
			}
			v := nodes.Node{ID: nodeID(i), Tags: []ssm.Tag{{Key: "Role", Value: role}, {Key: "All", Value: "yes"}}}
			v.Info.PlatformType, v.Info.ComputerName = "Linux", fmt.Sprintf("host%d", i)
			if err := nodes.Nodes.Put(tx, v.ID, v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) unregister(i int) {
	b.t.Helper()
	if err := b.db.Update(func(tx *store.Tx) error { return nodes.Nodes.Delete(tx, nodeID(i)) }); err != nil {
		b.t.Fatal(err)
	}
}

// to is a request to run document One on nodes.
func to(ids ...int) ssm.SendCommandInput {
	in := ssm.SendCommandInput{DocumentName: "One", Parameters: map[string][]string{"commands": {"echo hello"}}}
	for _, i := range ids {
		in.InstanceIds = append(in.InstanceIds, nodeID(i))
	}
	return in
}

func toAll(doc string) ssm.SendCommandInput {
	in := ssm.SendCommandInput{DocumentName: doc, Targets: []ssm.Target{{Key: "tag:All", Values: []string{"yes"}}}}
	if doc == "One" {
		in.Parameters = map[string][]string{"commands": {"true"}}
	}
	return in
}

func (b *bench) send(in ssm.SendCommandInput) string {
	b.t.Helper()
	out, err := b.SendCommand(b.t.Context(), api.Caller{Kind: api.Operator}, in)
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Command.CommandId
}

// due takes what there is for a node now.
func (b *bench) due(i int) []Delivery {
	b.t.Helper()
	return b.dueFor(i, b)
}

func (b *bench) dueFor(i int, owner any) []Delivery {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	cancel()
	out, err := b.Next(ctx, nodeID(i), 10, Lease{Owner: owner, For: func(int) time.Duration { return 10 * time.Second }})
	if err != nil && !errors.Is(err, context.Canceled) {
		b.t.Fatal(err)
	}
	return out
}

// take takes the only message due for a node.
func (b *bench) take(i int) Delivery {
	b.t.Helper()
	d := b.due(i)
	if len(d) != 1 {
		b.t.Fatalf("node %d: %d messages are due, want 1", i, len(d))
	}
	return d[0]
}

func (b *bench) idle(i int) {
	b.t.Helper()
	if d := b.due(i); len(d) != 0 {
		b.t.Fatalf("node %d: %d messages are due, want none: %+v", i, len(d), d)
	}
}

func (b *bench) ack(i int, d Delivery) {
	b.t.Helper()
	if err := b.Ack(b.t.Context(), nodeID(i), d.MessageID); err != nil {
		b.t.Fatal(err)
	}
}

// deliver takes and acknowledges.
func (b *bench) deliver(i int) Delivery {
	b.t.Helper()
	d := b.take(i)
	b.ack(i, d)
	return d
}

func (b *bench) reply(i int, id string, r doc.Reply) {
	b.t.Helper()
	if err := b.Reply(b.t.Context(), nodeID(i), MessageID(id, nodeID(i)), r); err != nil {
		b.t.Fatal(err)
	}
}

// finish delivers a command to a node and has it end so.
func (b *bench) finish(i int, id string, s doc.Status) {
	b.t.Helper()
	b.deliver(i)
	b.reply(i, id, final(s))
}

// expireAt turns the clock and ends what is overdue.
func (b *bench) pass(d time.Duration) {
	b.t.Helper()
	b.clock.Advance(d)
	if _, err := b.expire(); err != nil {
		b.t.Fatal(err)
	}
}

func step(s doc.Status, code int, stdout, stderr string) doc.StepStatus {
	return doc.StepStatus{
		Status: s, Code: int64(code), Name: "aws:runShellScript", Output: stdout + stderr, StandardOutput: stdout, StandardError: stderr,
		StartDateTime: "2025-03-14T09:30:00.433Z", EndDateTime: "2025-03-14T09:30:00.559Z",
	}
}

// final is the last reply of a document of one step.
func final(s doc.Status) doc.Reply {
	code := 0
	if s == doc.Failed {
		code = 3
	}
	return doc.Reply{DocumentStatus: s, RuntimeStatus: map[string]doc.StepStatus{"stepOne": step(s, code, "hello\n", "oops\n")}}
}

func (b *bench) command(id string) ssm.Command {
	b.t.Helper()
	out, err := b.ListCommands(b.t.Context(), api.Caller{}, ssm.ListCommandsInput{CommandId: id})
	if err != nil || len(out.Commands) != 1 {
		b.t.Fatalf("list command %s: %v, %d commands", id, err, len(out.Commands))
	}
	return out.Commands[0]
}

func (b *bench) get(id string, i int, name string) ssm.GetCommandInvocationOutput {
	b.t.Helper()
	out, err := b.GetCommandInvocation(b.t.Context(), api.Caller{}, ssm.GetCommandInvocationInput{CommandId: id, InstanceId: nodeID(i), PluginName: name})
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// state is the StatusDetails of an invocation.
func (b *bench) state(id string, i int) State {
	b.t.Helper()
	out, err := b.ListCommandInvocations(b.t.Context(), api.Caller{}, ssm.ListCommandInvocationsInput{CommandId: id, InstanceId: nodeID(i)})
	if err != nil || len(out.CommandInvocations) != 1 {
		b.t.Fatalf("invocation %s on node %d: %v, %d found", id, i, err, len(out.CommandInvocations))
	}
	w := out.CommandInvocations[0]
	if State(w.StatusDetails).Status() != w.Status {
		b.t.Errorf("Status %s does not go with StatusDetails %s", w.Status, w.StatusDetails)
	}
	return State(w.StatusDetails)
}

func (b *bench) wantState(id string, i int, want State) {
	b.t.Helper()
	if got := b.state(id, i); got != want {
		b.t.Fatalf("node %d: state is %s, want %s", i, got, want)
	}
}

func (b *bench) wantCommand(id, status string, details State) {
	b.t.Helper()
	if c := b.command(id); c.Status != status || c.StatusDetails != string(details) {
		b.t.Fatalf("command is %s/%s, want %s/%s", c.Status, c.StatusDetails, status, details)
	}
}

func cancelTarget(t *testing.T, d Delivery) string {
	t.Helper()
	var c doc.CancelCommand
	if err := json.Unmarshal([]byte(d.Payload), &c); err != nil {
		t.Fatal(err)
	}
	return c.CancelMessageId
}

// refusal is the code of an error that operators see.
func refusal(err error) string {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err == nil {
		return ""
	}
	return "no api error: " + err.Error()
}
