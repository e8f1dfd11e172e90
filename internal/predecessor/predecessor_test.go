package predecessor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/job"
	"ssmagent/internal/outbox"
	"ssmagent/internal/predecessor"
	"ssmagent/internal/wire/doc"
)

const (
	dir   = "/data/mi-0a1b2c3d4e5f60718"
	state = dir + "/document/state"
	jobs  = dir + "/document/jobs"

	one, two, three = "9e107d9d-372b-4a5c-8f0a-1b2c3d4e5f60", "9e107d9d-372b-4a5c-8f0a-1b2c3d4e5f61", "9e107d9d-372b-4a5c-8f0a-1b2c3d4e5f62"
	offline         = "9e107d9d-372b-4a5c-8f0a-1b2c3d4e5f63"
	replyID         = "5b1f3a40-0c52-4a0e-8a77-2f60c1d2e3f4"
)

func message(id string) string { return "aws.ssm." + id + ".mi-0a1b2c3d4e5f60718" }

// step is one of a document, with its state.
func step(id, status string) string {
	return fmt.Sprintf(`{"Configuration":{"Properties":{"runCommand":["sleep 9"]}},"Name":"aws:runShellScript","Id":%q,
	"Result":{"pluginID":%q,"pluginName":"aws:runShellScript","status":%q,"code":0,"output":"","startDateTime":"2026-03-09T10:11:12.123Z","endDateTime":"0001-01-01T00:00:00Z"}}`, id, id, status)
}

// document is a state file as the stock agent keeps it.
func document(kind, id, service string, steps ...string) string {
	return fmt.Sprintf(`{"DocumentInformation":{"DocumentID":%q,"CommandID":%q,"MessageID":%q,"CreatedDate":"2026-03-09T10:11:12.000Z","DocumentName":"AWS-RunShellScript",
	"DocumentStatus":"InProgress","RunCount":1,"ProcInfo":{"Pid":4711,"StartTime":"2026-03-09T10:11:12Z"}},"DocumentType":%q,"SchemaVersion":"2.2",
	"InstancePluginsInformation":[%s],"CancelInformation":{},"IOConfig":{},"UpstreamServiceName":%q}`, id, id, message(id), kind, strings.Join(steps, ","), service)
}

// sink is the way of reports to the outbox.
type sink struct {
	box interface{ Put(...outbox.Entry) error }
	// offline are documents of the node's folder that are told.
	offline map[string]doc.Status
}

func (s sink) Report(_ context.Context, rs ...job.Report) error {
	var entries []outbox.Entry
	for _, r := range rs {
		if r.Request.Channel == "offline" {
			s.offline[r.Request.ID] = doc.Overall(r.Results)
			continue
		}
		reply := doc.NewReply(doc.AgentInfo{}, time.Unix(0, 0), r.Results, doc.Overall(r.Results))
		if !r.Final {
			reply = doc.NewStepReply(doc.AgentInfo{}, time.Unix(0, 0), r.Results, *r.Result)
		}
		text, err := reply.Encode(0)
		if err != nil {
			return err
		}
		entries = append(entries, outbox.Entry{ID: fmt.Sprint(r.Request.JobID, r.Seq), JobID: r.Request.JobID, Content: text, Channel: r.Request.Channel})
	}
	return s.box.Put(entries...)
}

// lay puts files onto a disk.
func lay(t *testing.T, files map[string]string) *fsystest.Disk {
	t.Helper()
	d := fsystest.NewDisk()
	for name, text := range files {
		if err := fsys.MkdirAll(d, path.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := fsys.WriteFile(d, name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// life is a start of an agent up to where it would send.
func life(t *testing.T, d *fsystest.Disk) (replies []outbox.Entry, told map[string]doc.Status, err error) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	box, err := outbox.Open(d, dir+"/outbox", clock.NewFake(time.Unix(1_800_000_000, 0)), log)
	if err != nil {
		return nil, nil, err
	}
	defer box.Close()
	s := sink{box, map[string]doc.Status{}}
	err = predecessor.TakeOver(t.Context(), predecessor.Options{
		FS: d, Clock: clock.NewFake(time.Unix(1_800_000_000, 0)), Log: log, Dir: dir, Jobs: jobs, Sink: s, Outbox: box, Offline: "offline",
	})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(t.Context())
	for range box.Len() {
		e, err := box.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		replies = append(replies, e)
	}
	cancel()
	return replies, s.offline, nil
}

// exists says whether a file is there.
func exists(t *testing.T, d *fsystest.Disk, name string) bool {
	t.Helper()
	_, err := d.Lstat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func left() map[string]string {
	return map[string]string{
		state + "/current/" + one:   document("SendCommand", one, "MessageGatewayService", step("first", "Success"), step("second", "InProgress"), step("third", "NotStarted")),
		state + "/pending/" + two:   document("SendCommand", two, "MessageDeliveryService", step("only", "NotStarted")),
		state + "/current/" + three: document("SendCommand", three, "MessageGatewayService", step("only", "Success")),
		dir + "/replies_mgs/2026-03-09T10-11-12_" + replyID: `{"AgentResult":{"DocumentName":"AWS-RunShellScript","MessageID":"` + message(three) + `","Status":"Success","LastPlugin":"",
			"PluginResults":{"only":{"pluginID":"only","pluginName":"aws:runShellScript","status":"Success","code":0,"output":"done","standardOutput":"done"}}},"ReplyId":"` + replyID + `","RetryNumber":3}`,
		state + "/current/" + offline:                  document("SendCommandOffline", offline, "", step("only", "InProgress")),
		state + "/current/session-1":                   `{"DocumentType":"StartSession"}`,
		state + "/pending/aws.ssm.cancel":              `{"DocumentType":"CancelComamnd"}`,
		state + "/current/broken":                      `{"DocumentType":"SendCommand","DocumentInformation":{"DocumentID":"bro`,
		state + "/current/../../../replies/unreadable": `{"MessageId":"x"}`,
	}
}

// want checks what the service will get: each command's end once, and why.
func want(t *testing.T, replies []outbox.Entry) {
	t.Helper()
	ends := map[string]doc.Reply{}
	steps := map[string]doc.StepStatus{}
	channels := map[string]string{}
	for _, e := range replies {
		var r doc.Reply
		if err := json.Unmarshal([]byte(e.Content), &r); err != nil {
			t.Fatal(err)
		}
		channels[e.JobID] = e.Channel
		for id, s := range r.RuntimeStatus {
			steps[e.JobID+" "+id] = s
		}
		if !r.DocumentStatus.Terminal() {
			continue
		}
		if _, twice := ends[e.JobID]; twice {
			t.Errorf("%s ends twice", e.JobID)
		}
		ends[e.JobID] = r
	}
	if len(replies) != 4 || len(ends) != 3 {
		t.Errorf("%d replies, %d ends: %+v", len(replies), len(ends), replies)
	}
	if r := ends[message(one)]; r.DocumentStatus != doc.Failed || r.AdditionalInfo.RuntimeStatusCounts[doc.Failed] != 1 || r.AdditionalInfo.RuntimeStatusCounts[doc.Success] != 1 {
		t.Errorf("cut off: %+v", r)
	}
	if s := steps[message(one)+" second"]; s.Status != doc.Failed || s.Code != 1 || !strings.Contains(s.Output, "interrupted by the replacement of the stock agent") {
		t.Errorf("the step that was cut off: %+v", s)
	}
	if s := steps[message(two)+" only"]; ends[message(two)].DocumentStatus != doc.Failed || !strings.Contains(s.Output, "before this command began") || !strings.Contains(s.StandardError, "before this command began") {
		t.Errorf("not begun: %+v", s)
	}
	if s := steps[message(three)+" only"]; ends[message(three)].DocumentStatus != doc.Success || s.StandardOutput != "done" {
		t.Errorf("ended, not told: %+v", s)
	}
	if channels[message(one)] != job.ChannelMGS || channels[message(two)] != job.ChannelMDS {
		t.Errorf("channels: %v", channels)
	}
}

func TestTakeOver(t *testing.T) {
	t.Parallel()
	d := lay(t, left())
	replies, told, err := life(t, d)
	if err != nil {
		t.Fatal(err)
	}
	want(t, replies)
	if told[offline] != doc.Failed {
		t.Errorf("the document of the node's folder: %v", told)
	}
	for name, is := range map[string]bool{
		state + "/current/" + one: false, state + "/corrupt/" + one: true, state + "/pending/" + two: false, state + "/corrupt/" + two: true,
		state + "/current/" + three: false, state + "/current/" + offline: false, state + "/pending/aws.ssm.cancel": false,
		state + "/corrupt/broken": true, state + "/current/session-1": true, dir + "/replies/unreadable": true,
		dir + "/replies_mgs/2026-03-09T10-11-12_" + replyID: false, jobs + "/" + one + "/done": true, jobs + "/" + three + "/done": true,
	} {
		if exists(t, d, name) != is {
			t.Errorf("%s: want it there %v", name, is)
		}
	}
	again, _, err := life(t, d)
	if err != nil {
		t.Fatal(err)
	}
	want(t, again) // the same, which wait in the outbox still
}

// TestOnceAcrossCrashes stops the machine before every operation of the disk:
// the next start makes it good, and nothing is told twice.
func TestOnceAcrossCrashes(t *testing.T) {
	t.Parallel()
	whole := lay(t, left())
	before := whole.Ops()
	if _, _, err := life(t, whole); err != nil {
		t.Fatal(err)
	}
	n := whole.Ops() - before
	if n < 20 {
		t.Fatalf("only %d operations", n)
	}
	for i := 1; i <= n; i++ {
		for name, keep := range map[string]fsystest.Keep{"nothing": fsystest.Nothing(), "all": fsystest.All(), "some": fsystest.Some(uint64(i))} {
			d := lay(t, left())
			d.StopAt(d.Ops() + i)
			if _, _, err := life(t, d); err == nil && i < n-5 {
				t.Errorf("operation %d: nobody noticed", i)
			}
			d.Crash(keep)
			replies, _, err := life(t, d)
			if err != nil {
				t.Fatalf("operation %d, %s kept: %v", i, name, err)
			}
			want(t, replies)
			if exists(t, d, state+"/current/"+one) || exists(t, d, state+"/pending/"+two) {
				t.Errorf("operation %d, %s kept: a file stays", i, name)
			}
			if t.Failed() {
				t.Fatalf("operation %d, %s kept", i, name)
			}
		}
	}
}

// TestNothingLeft: a node that never had a stock agent makes no folder for it.
func TestNothingLeft(t *testing.T) {
	t.Parallel()
	d := lay(t, map[string]string{dir + "/x": ""})
	replies, _, err := life(t, d)
	if err != nil || len(replies) != 0 || exists(t, d, state) {
		t.Errorf("%v %v", replies, err)
	}
}

// TestOwnCommandReportsItself: what runs as a job of ours is not told as lost.
func TestOwnCommandReportsItself(t *testing.T) {
	t.Parallel()
	d := lay(t, map[string]string{state + "/current/" + two: document("SendCommand", two, "", step("only", "InProgress")), jobs + "/" + two + "/request.json": "{}"})
	replies, _, err := life(t, d)
	if err != nil || len(replies) != 0 || exists(t, d, jobs+"/"+two+"/done") {
		t.Errorf("%v %v", replies, err)
	}
}

func FuzzTakeOver(f *testing.F) {
	for _, text := range left() {
		f.Add(text)
	}
	f.Add(`{"MessageId":"` + message(one) + `","ReplyId":"` + replyID + `","Payload":"{\"documentStatus\":\"Failed\"}"}`)
	f.Fuzz(func(t *testing.T, text string) {
		d := lay(t, map[string]string{state + "/current/" + one: text, dir + "/replies/x": text, dir + "/replies_mgs/x": text})
		replies, _, err := life(t, d)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range replies {
			if _, err := doc.CommandID(e.JobID); err != nil || !json.Valid([]byte(e.Content)) {
				t.Errorf("%+v %v", e, err)
			}
			if e.Channel == job.ChannelMGS && uuid.Validate(e.ID) != nil && !strings.HasPrefix(e.ID, e.JobID) {
				t.Errorf("id %q", e.ID)
			}
		}
	})
}
