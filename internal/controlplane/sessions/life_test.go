package sessions

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

func done(id, status, output string) mgs.AgentTaskComplete {
	return mgs.AgentTaskComplete{SchemaVersion: 1, TaskId: id, FinalTaskStatus: status, Output: output, S3Bucket: "logs", S3UrlSuffix: "a/" + id + ".log"}
}

func TestTaskComplete(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ status, output, want string }{
		{"Success", "", ssm.SessionTerminated},
		{"Cancelled", "", ssm.SessionTerminated},
		{"Failed", "no such shell", ssm.SessionFailed},
		{"TimedOut", strings.Repeat("x", 5000), ssm.SessionFailed},
	} {
		l := newLab(t)
		id, _ := l.open(`{"Target":"web"}`)
		if err := l.TaskComplete(nodeB, done(id, tc.status, "")); !errors.Is(err, ErrForeign) {
			t.Errorf("another node: %v", err)
		}
		if err := l.TaskComplete(nodeA, done("ada-00000000000000000", tc.status, "")); !errors.Is(err, ErrUnknown) {
			t.Errorf("unknown: %v", err)
		}
		if s := l.session(id); s.EndDate != nil {
			t.Fatalf("%+v", s)
		}
		for range 3 { // stock agents say it again
			if err := l.TaskComplete(nodeA, done(id, tc.status, tc.output)); err != nil {
				t.Fatal(err)
			}
		}
		s := l.session(id)
		if s.Status != tc.want || s.EndDate == nil || len([]rune(s.Details)) > 1024 || !strings.HasPrefix(tc.output, strings.TrimSuffix(s.Details, "…")) ||
			s.OutputUrl == nil || s.OutputUrl.S3OutputUrl != "s3://logs/a/"+id+".log" {
			t.Errorf("%s: %+v", tc.status, s)
		}
		if end := <-l.ends; !strings.HasPrefix(end, "finish "+id+": "+tc.output[:min(len(tc.output), 4000)]) || len(l.ends) != 0 {
			t.Errorf("told %.100q and %d times more", end, len(l.ends))
		}
		if _, err := l.AgentToken(id, nodeA); !errors.Is(err, ErrTerminated) {
			t.Errorf("a token of a session that is over: %v", err)
		}
	}
}

func TestTerminate(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	id, _ := l.open(`{"Target":"web"}`)
	l.set(func() { l.sides = [2]bool{true, true} })
	for range 2 {
		out, err := invoke[ssm.TerminateSessionOutput](l, eve, "TerminateSession", `{"SessionId":"`+id+`"}`)
		if err != nil || out.SessionId != id {
			t.Fatalf("%+v %v", out, err)
		}
	}
	if end := <-l.ends; end != "terminate "+id+": session ended: terminated by eve" || len(l.ends) != 0 {
		t.Errorf("told %q and %d times more", end, len(l.ends))
	}
	if s := l.session(id); s.Status != ssm.SessionTerminating || len(l.list(ssm.SessionsActive)) != 0 {
		t.Errorf("%+v", s)
	}
	if len(l.pushes) != 0 {
		t.Error("the control channel was used although the data channel is there")
	}
	l.after(NudgeAfter) // the agent says nothing: the control channel too
	if m := <-l.pushes; m.kind != mgs.TypeChannelClosed || m.id != id {
		t.Errorf("%+v", m)
	}
	l.after(EndWithin)
	for l.session(id).Status != ssm.SessionTerminated {
		<-time.After(time.Millisecond)
	}
	l.ChannelUp(nodeA) // it still did not say so
	if m := <-l.pushes; m.kind != mgs.TypeChannelClosed || m.id != id {
		t.Errorf("%+v", m)
	}
	if err := l.TaskComplete(nodeA, done(id, "Success", "")); err != nil {
		t.Fatal(err)
	}
	if s := l.session(id); s.Details != "session ended: terminated by eve" || s.Status != ssm.SessionTerminated {
		t.Errorf("%+v", s)
	}
	l.restart()
	next := l.start().SessionId
	<-l.pushes
	l.ChannelUp(nodeA) // now it knows
	if m := <-l.pushes; m.id != next {
		t.Errorf("%+v", m)
	}
	for _, op := range []string{"TerminateSession", "ResumeSession"} {
		if _, err := l.Ops()["AmazonSSM."+op].Handle(t.Context(), ada, []byte(`{"SessionId":"../x"}`)); code(err) != "DoesNotExistException" {
			t.Errorf("%s: %v", op, err)
		}
	}
}

// TestDeadlines: what ends a session when nobody does.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, inputs string
		opened       bool
		data         time.Duration // data passes every so often
		at           time.Duration
		status, text string
	}{
		{"never opened", `{}`, false, 0, time.Minute, ssm.SessionFailed, "session failed: the agent did not open it within 60 seconds: see the agent's log on " + nodeA},
		{"idle by default", `{}`, true, 0, 20 * time.Minute, ssm.SessionTerminating, "session ended: idle for 20 minutes"},
		{"idle by the document", `{"idleSessionTimeout":"3"}`, true, 0, 3 * time.Minute, ssm.SessionTerminating, "session ended: idle for 3 minutes"},
		{"busy", `{"idleSessionTimeout":3,"maxSessionDuration":"10"}`, true, time.Minute, 10 * time.Minute, ssm.SessionTerminating, "session ended: its maximum duration of 10 minutes is over"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.document("Doc", `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":`+tc.inputs+`}`)
			body := `{"Target":"web","DocumentName":"Doc"}`
			var id string
			var a Admission
			if tc.opened {
				id, a = l.open(body)
			} else {
				id = l.startWith(ada, body).SessionId
			}
			const step = 30 * time.Second
			for past := step; past < tc.at; past += step {
				l.after(step)
				if tc.data > 0 && past%tc.data == 0 {
					a.Activity.Touch(l.clock.Now())
				}
			}
			if s := l.session(id); s.EndDate != nil {
				t.Fatalf("it ended early: %+v", s)
			}
			l.after(step)
			if end := <-l.ends; end != "terminate "+id+": "+tc.text {
				t.Errorf("told %q", end)
			}
			if s := l.session(id); s.Status != tc.status || s.Details != tc.text || s.EndDate.Sub(began) != tc.at {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestUnreported: an agent that is about to end and is not heard of again.
func TestUnreported(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.set(func() { l.sides = [2]bool{true, true} })
	id, _ := l.open(`{"Target":"web"}`)
	l.AgentState(id, mgs.AgentSessionState{SchemaVersion: 1, SessionState: mgs.SessionTerminating, SessionId: id})
	for range 6 { // it uploads a log
		l.after(EndWithin / 2)
	}
	if s := l.session(id); s.Status != ssm.SessionTerminating || s.EndDate != nil {
		t.Fatalf("%+v", s)
	}
	l.set(func() { l.sides = [2]bool{false, true} })
	l.after(EndWithin)
	if end := <-l.ends; end != "terminate "+id+": session ended: its agent ended it and did not say how" {
		t.Errorf("told %q", end)
	}
}

func TestTooMany(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for n := range maxPerNode {
		if !l.add(l.newLive(Session{ID: fmt.Sprint(n), NodeID: nodeA, Start: began, Idle: time.Hour})) {
			t.Fatalf("session %d was refused", n)
		}
	}
	if _, err := invoke[ssm.SessionOutput](l, ada, "StartSession", `{"Target":"web"}`); code(err) != "ServiceQuotaExceededException" {
		t.Errorf("%v", err)
	}
	l.startWith(ada, `{"Target":"db"}`)
}

// TestOrders: an order goes out again until the agent comes, and not beyond.
func TestOrders(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	id := l.start().SessionId
	want := func(n int) {
		t.Helper()
		for range n {
			if m := <-l.pushes; m.kind != mgs.TypeInteractiveShell || m.id != id {
				t.Fatalf("%+v", m)
			}
		}
	}
	want(1)
	l.after(orderAgain)
	want(1)
	l.after(2 * orderAgain)
	want(1)
	l.ChannelUp(nodeB) // another node's channel
	l.ChannelUp(nodeA)
	want(1)
	l.restart()
	l.ChannelUp(nodeA)
	want(1)
	token, err := l.AgentToken(id, nodeA)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Admit(id, nodeA, token); err != nil {
		t.Fatal(err)
	}
	l.ChannelUp(nodeA)
	other := l.startWith(ada, `{"Target":"db"}`).SessionId
	if m := <-l.pushes; m.id != other || m.node != nodeB {
		t.Errorf("%+v", m)
	}
	if _, err := l.TerminateSession(t.Context(), ada, ssm.TerminateSessionInput{SessionId: other}); err != nil {
		t.Fatal(err)
	}
	if m := <-l.pushes; m.id != other || m.kind != mgs.TypeChannelClosed {
		t.Errorf("%+v", m)
	}
	l.ChannelUp(nodeB) // its order is not wanted any more
	if m := <-l.pushes; m.id != other || m.kind != mgs.TypeChannelClosed {
		t.Errorf("%+v", m)
	}
	if len(l.pushes) != 0 {
		t.Errorf("%d further messages", len(l.pushes))
	}
}

// TestPushFails: a session whose order is lost on the way waits for the
// node's next channel.
func TestPushFails(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.set(func() { l.fails = errors.New("the channel broke") })
	id := l.start().SessionId
	l.set(func() { l.fails = nil })
	l.ChannelUp(nodeA)
	if m := <-l.pushes; m.id != id {
		t.Errorf("%+v", m)
	}
}

func TestNodeRemoved(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	id, _ := l.open(`{"Target":"web"}`)
	other := l.startWith(ada, `{"Target":"db"}`).SessionId
	gone := func(node string) {
		l.update(func(tx *store.Tx) error { return nodes.Nodes.Delete(tx, node) })
	}
	gone(nodeA)
	l.NodeRemoved(nodeA)
	if end := <-l.ends; end != "terminate "+id+": session ended: its node was deregistered" {
		t.Errorf("told %q", end)
	}
	if s := l.session(id); s.Status != ssm.SessionTerminated {
		t.Errorf("%+v", s)
	}
	gone(nodeB) // and a crash before anybody heard of it
	l.restart()
	if end := <-l.ends; !strings.HasPrefix(end, "terminate "+other) {
		t.Errorf("told %q", end)
	}
}

func TestAdmit(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	out := l.start()
	id := out.SessionId
	agent, err := l.AgentToken(id, nodeA)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, id, node, token string
		want                  error
	}{
		{"a wrong token", id, "", "x", ErrToken},
		{"no token", id, "", "", ErrToken},
		{"the other side's", id, "", agent, ErrToken},
		{"the other side's, agent", id, nodeA, string(out.TokenValue), ErrToken},
		{"another node", id, nodeB, agent, ErrForeign},
		{"another session", "ada-00000000000000000", "", string(out.TokenValue), ErrUnknown},
	} {
		if _, err := l.Admit(tc.id, tc.node, tc.token); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	l.restart() // tokens survive
	if a, err := l.Admit(id, "", string(out.TokenValue)); err != nil || a.Node != nodeA || a.Seen {
		t.Errorf("%+v %v", a, err)
	}
	l.restart() // and so does their use
	if _, err := l.Admit(id, "", string(out.TokenValue)); !errors.Is(err, ErrToken) {
		t.Errorf("used: %v", err)
	}
	if a, err := l.Admit(id, nodeA, agent); err != nil || !a.Seen {
		t.Errorf("%+v %v", a, err)
	}
	l.update(func(tx *store.Tx) error {
		r, _, err := Sessions.Get(tx, id)
		if text := fmt.Sprintf("%+v", r); strings.Contains(text, agent) || strings.Contains(text, string(out.TokenValue)) {
			t.Error("a token is in the store")
		}
		return err
	})
}

// TestAdmitAtTheEnd: a session that ends while its client is admitted tells it
// why.
func TestAdmitAtTheEnd(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	out := l.start()
	before, err := l.spend(out.SessionId, "", string(out.TokenValue))
	if err != nil {
		t.Fatal(err)
	}
	const why = "too many open files"
	if err := l.TaskComplete(nodeA, done(out.SessionId, "Failed", why)); err != nil {
		t.Fatal(err)
	}
	_, err = l.enter(before, "")
	if over, ok := errors.AsType[*Over](err); !ok || over.Text != why {
		t.Errorf("the client: %v", err)
	}
	if _, err := l.enter(before, nodeA); !errors.Is(err, ErrTerminated) {
		t.Errorf("the agent: %v", err)
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var old []string
	for range 3 {
		id := l.start().SessionId
		old = append(old, id)
		if err := l.TaskComplete(nodeA, done(id, "Success", "")); err != nil {
			t.Fatal(err)
		}
	}
	l.after(Retention - time.Hour)
	kept := l.start().SessionId
	if err := l.TaskComplete(nodeA, done(kept, "Success", "")); err != nil {
		t.Fatal(err)
	}
	if n := len(l.list(ssm.SessionsHistory)); n != 4 {
		t.Fatalf("%d sessions", n)
	}
	l.after(2 * time.Hour)
	for len(l.list(ssm.SessionsHistory)) != 1 {
		<-time.After(time.Millisecond)
	}
	l.update(func(tx *store.Tx) error {
		for _, id := range old {
			if _, ok, err := Sessions.Get(tx, id); ok || err != nil {
				t.Errorf("%s is still there: %v", id, err)
			}
		}
		return nil
	})
	if s := l.session(kept); s.SessionId != kept {
		t.Errorf("%+v", s)
	}
}
