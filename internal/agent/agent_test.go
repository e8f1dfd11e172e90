package agent_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/agent"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mds"
	"ssmagent/internal/wire/mgs"
)

func TestCommandFromDeliveryToAcknowledgedResult(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	n := newNode(t, d)
	n.register()
	n.start()
	hello := take(t, "the control channel", d.opened)
	if hello.AgentVersion != "3.3.9000.0" || hello.PlatformType != "linux" {
		t.Errorf("%+v", hello)
	}
	id := uuid.NewString()
	d.push(id, shell(id, "echo out $AWS_SSM_INSTANCE_ID; echo err >&2; exit 3"))
	d.acked(mgs.AckSuccessful)
	if _, err := os.Stat(n.path(id)); err != nil {
		t.Errorf("acknowledged and not on disk: %v", err)
	}
	var told []string
	var last reply
	for last.DocumentStatus != doc.Failed {
		last = d.next()
		told = append(told, string(last.DocumentStatus))
		if last.topic != mgs.TopicSendCommand || last.job != jobID(id) {
			t.Errorf("%+v", last)
		}
	}
	if len(told) != 3 { // receipt, step, end
		t.Errorf("told %q", told)
	}
	s := last.RuntimeStatus["script"]
	if s.Code != 3 || s.StandardOutput != "out "+instance+"\n" || !strings.Contains(s.StandardError, "err\n") || s.Name != "aws:runShellScript" {
		t.Errorf("%+v", s)
	}
	// Nothing was confirmed, so it comes again, as the same frames.
	d.drop()
	d.online()
	again := d.final(id)
	if again.id != last.id {
		t.Errorf("resent as %s, was %s", again.id, last.id)
	}
	d.push(id, shell(id, "echo twice"))
	d.acked(mgs.AckDuplicate)
	d.drop()
	d.online()
	// All was confirmed: the next reply is another command's receipt.
	other := uuid.NewString()
	d.push(other, shell(other, "true"))
	if r := d.next(); r.job != jobID(other) {
		t.Errorf("a confirmed reply came again: %+v", r)
	}
	d.final(other)
}

func TestPingsTellTheChannel(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	n := newNode(t, d)
	n.register()
	n.start()
	if p := take(t, "the empty ping", d.pings); strings.Contains(p, "AgentStatus") {
		t.Errorf("first ping %s", p)
	}
	if p := take(t, "the full ping", d.pings); !strings.Contains(p, `"SSMConnectionChannel":"ssmmessages"`) || !strings.Contains(p, `"PlatformName":"Testix"`) {
		t.Errorf("second ping %s", p)
	}
}

func TestCancelEndsTheWholeTree(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	n := newNode(t, d)
	n.register()
	n.start()
	d.online()
	id, pids := uuid.NewString(), filepath.Join(t.TempDir(), "pids")
	d.push(id, shell(id, "echo $$ >>"+pids, "setsid sh -c 'echo $$ >>"+pids+"; sleep 1000; true' </dev/null >/dev/null 2>&1 &", "(sleep 1000; true) & echo $! >>"+pids, "wait"))
	d.acked(mgs.AckSuccessful)
	all := lines(t, pids, 3)
	d.cancel(id)
	d.acked(mgs.AckSuccessful)
	r := d.final(id)
	if s := r.RuntimeStatus["script"]; r.DocumentStatus != doc.Cancelled || s.Status != doc.Cancelled || s.Code != 137 {
		t.Errorf("%+v", r)
	}
	ended(t, all...)
}

// gate is a script that says that it runs, then waits for a file.
func gate(dir string) (script []string, ran, open string) {
	ran, open = filepath.Join(dir, "ran"), filepath.Join(dir, "open")
	return []string{"echo $$ $PPID >>" + ran, "until [ -e " + open + " ]; do sleep 0.02; done", "echo finished"}, ran, open
}

func TestNextAgentAdoptsTheRunningCommand(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		t.Run("ends while the agent is away: "+strconv.FormatBool(late), func(t *testing.T) {
			t.Parallel()
			d := newDouble(t)
			n := newNode(t, d)
			n.register()
			stop := n.start()
			d.online()
			id := uuid.NewString()
			script, ran, open := gate(t.TempDir())
			d.push(id, shell(id, script...))
			d.acked(mgs.AckSuccessful)
			pids := strings.Fields(lines(t, ran, 1)[0])
			stop()
			release := func() {
				if err := os.WriteFile(open, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if late {
				release()
				ended(t, pids[0])
			}
			n.start()
			d.online()
			if !late {
				release()
			}
			r := d.final(id)
			if s := r.RuntimeStatus["script"]; r.DocumentStatus != doc.Success || s.StandardOutput != "finished\n" {
				t.Errorf("%+v", r)
			}
			if got := lines(t, ran, 1); len(got) != 1 {
				t.Errorf("the script ran %d times", len(got))
			}
			ended(t, pids...)
		})
	}
}

func TestKilledWorkerIsOneFailedResult(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	n := newNode(t, d)
	n.register()
	n.start()
	d.online()
	id := uuid.NewString()
	script, ran, _ := gate(t.TempDir())
	d.push(id, shell(id, script...))
	d.acked(mgs.AckSuccessful)
	pids := strings.Fields(lines(t, ran, 1)[0])
	var w struct{ PID int }
	raw, err := os.ReadFile(n.path(id, "worker.json"))
	if err != nil || json.Unmarshal(raw, &w) != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(w.PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	r := d.final(id)
	if s := r.RuntimeStatus["script"]; r.DocumentStatus != doc.Failed || !strings.Contains(s.Output, "interrupted by the loss of its worker process (signal: killed), not run again") {
		t.Errorf("%+v", r)
	}
	ended(t, pids...)
	if got := lines(t, ran, 1); len(got) != 1 {
		t.Errorf("the script ran %d times", len(got))
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	n := newNode(t, d)
	n.register()
	n.start()
	d.online()
	id := uuid.NewString()
	d.push(id, `{"CommandId":"`+id+`","DocumentContent":{"schemaVersion":"9.9","mainSteps":[]}}`)
	d.acked(mgs.AckParseError)
	if r := d.next(); r.DocumentStatus != doc.Failed || !strings.Contains(r.DocumentTraceOutput, "9.9") || r.job != jobID(id) {
		t.Errorf("%+v", r)
	}
	d.push("../../etc", shell(id, "true"))
	d.acked(mgs.AckParseError)
	d.write(mgs.TypeAgentJob, "no object")
	d.acked(mgs.AckParseError)
	d.write("agent_surprise", "?")
	d.write(mgs.TypeAgentJob, mgs.AgentJob{JobId: jobID(id), Topic: "aws.ssm.other", Content: "{}"})
	d.acked(mgs.AckParseError)
}

func TestPollWhereTheGatewayRefuses(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	d.denied = true
	n := newNode(t, d)
	n.register()
	n.start()
	id := uuid.NewString()
	m := mds.Message{Topic: "aws.ssm.sendCommand.us.east.1.1", Destination: instance, MessageId: jobID(id), CreatedDate: mgs.FormatTime(time.Now()), Payload: shell(id, "echo polled")}
	d.messages <- m
	for {
		r := take(t, "a reply", d.replies)
		if r.MessageId != jobID(id) || !strings.Contains(r.Payload, `"ableToOpenMGSConnection":false`) {
			t.Errorf("%+v", r)
		}
		if strings.Contains(r.Payload, `"documentStatus":"Success"`) {
			if !strings.Contains(r.Payload, `polled\n`) {
				t.Errorf("%s", r.Payload)
			}
			break
		}
	}
	d.messages <- mds.Message{Topic: "aws.ssm.unknown", Destination: instance, MessageId: jobID(uuid.NewString()), CreatedDate: m.CreatedDate, Payload: "{}"}
	for deadline := time.Now().Add(patience); ; <-time.After(2 * time.Millisecond) {
		d.mu.Lock()
		calls := strings.Join(d.calls, " ")
		d.mu.Unlock()
		if strings.Contains(calls, mds.OpAcknowledgeMessage) && strings.HasSuffix(calls, mds.OpFailMessage) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(calls)
		}
	}
}

func TestStartIsRefusedInWords(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	n := newNode(t, d)
	a, err := agent.New(n.opt)
	if err != nil {
		t.Fatal(err)
	}
	notReady := func() { t.Error("ready") }
	if err := a.Run(t.Context(), notReady); !errors.Is(err, agent.ErrNotRegistered) || !strings.Contains(err.Error(), "-register") {
		t.Errorf("%v", err)
	}
	n.register()
	ca := n.opt
	ca.Config.SSMAgent.CABundle = filepath.Join(t.TempDir(), "none.pem")
	if a, err = agent.New(ca); err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context(), notReady); err == nil || !strings.Contains(err.Error(), "CABundle") {
		t.Errorf("%v", err)
	}
	n.opt.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	n.start()
	if a, err = agent.New(n.opt); err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context(), notReady); !errors.Is(err, agent.ErrRunning) {
		t.Errorf("%v", err)
	}
}
