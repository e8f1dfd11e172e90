package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/session"
	"ssmagent/internal/wire/mgs"
)

func TestShell(t *testing.T) {
	l := newLab(t)
	m, _ := l.agent()
	l.order(m, nil)
	l.order(m, nil) // again: known
	l.gw.expect("ready> ")
	l.gw.typed("stty size; echo $TERM $LANG $HOME $KEPT; pwd; env | grep -c hidden\n")
	l.gw.expect("33 111\r\nxterm-256color C.UTF-8 / kept\r\n/\r\n0\r\n")
	l.gw.typed("exit 3\n")
	l.ended("Success", "")
	// The report takes another way than the channel's last words.
	l.gw.await("the channel's end", func() bool { return len(l.gw.states) > 1 })
	l.gw.mu.Lock()
	defer l.gw.mu.Unlock()
	if got := l.gw.exits; !slices.Equal(got, []string{"EXIT_CODE: 3"}) {
		t.Errorf("exit codes %q", got)
	}
	if got := l.gw.states; !slices.Equal(got, []string{mgs.SessionConnected, mgs.SessionTerminating}) {
		t.Errorf("states %q", got)
	}
	l.order(m, nil) // and again: it is over
	eventually(t, "the session stays", func() bool { return m.Live() == 0 })
	if len(l.workers()) != 0 {
		t.Error("a session ran twice")
	}
}

func TestShellProfile(t *testing.T) {
	l := newLab(t)
	m, _ := l.agent()
	l.order(m, func(c *mgs.AgentTaskContent) {
		c.DocumentContent.Inputs = json.RawMessage(`{"shellProfile":{"linux":"A={{ word }}; echo +$A+","windows":""},"runAsEnabled":"false","idleSessionTimeout":"20"}`)
		c.DocumentContent.Parameters = map[string]mgs.SessionParameter{"word": {Type: "String", Default: json.RawMessage(`"profile"`), AllowedPattern: "^[a-z]+$"}}
	})
	l.gw.expect("+profile+")
	l.gw.typed("exit\n")
	l.ended("Success", "")
}

// commands orders a command session.
func commands(kind, property string) func(*mgs.AgentTaskContent) {
	return func(c *mgs.AgentTaskContent) {
		c.DocumentContent.SessionType, c.DocumentContent.Properties = kind, json.RawMessage(`{"linux":`+property+`}`)
		c.DocumentContent.Parameters = map[string]mgs.SessionParameter{"command": {Type: "String", Default: json.RawMessage(`"exit 1"`)}}
		c.DocumentContent.Inputs = json.RawMessage(`{"shellProfile":{"linux":"echo never"}}`)
	}
}

func TestInteractiveCommand(t *testing.T) {
	l := newLab(t)
	m, _ := l.agent()
	l.order(m, commands(mgs.SessionInteractiveCommands, `{"commands":"stty size; read x; echo got \"$x\"; exit 42","runAsElevated":false}`))
	l.gw.expect("33 111\r\n")
	l.gw.typed("a word\n")
	l.gw.expect("got a word\r\n")
	l.ended("Success", "")
	l.gw.await("the exit code", func() bool { return slices.Equal(l.gw.exits, []string{"EXIT_CODE: 42"}) })
	if strings.Contains(l.gw.out.String(), "never") {
		t.Error("the shell profile was typed into a command")
	}
}

// processes starts a shell with others in it, of which some hear no SIGHUP, and
// returns their ids.
func (l *lab) processes() []int {
	l.t.Helper()
	l.gw.expect("ready> ")
	l.gw.typed("trap '' HUP; sleep 1000 & (sleep 1001 &); echo pids $$ $! end\n")
	return l.pids()
}

// pids are the process ids that were printed.
func (l *lab) pids() []int {
	l.t.Helper()
	re := regexp.MustCompile(`pids (\d+) (\d+) end`)
	l.gw.await("pids", func() bool { return re.Match(l.gw.out.Bytes()) })
	var pids []int
	l.gw.mu.Lock()
	defer l.gw.mu.Unlock()
	for _, s := range re.FindStringSubmatch(l.gw.out.String())[1:] {
		n, _ := strconv.Atoi(s)
		pids = append(pids, n)
	}
	return pids
}

func (l *lab) gone(pids []int) {
	l.t.Helper()
	for _, p := range pids {
		eventually(l.t, fmt.Sprintf("process %d lives on", p), func() bool { return !runs(p) })
	}
}

// runs says whether a process runs, not as a zombie.
func runs(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func TestEndedByService(t *testing.T) {
	for name, end := range map[string]func(*lab, *session.Manager){
		"on the data channel": func(l *lab, _ *session.Manager) { l.gw.send(mgs.TypeChannelClosed, "{}") },
		"on the control channel": func(l *lab, m *session.Manager) {
			if err := m.Close(l.t.Context(), id); err != nil {
				l.t.Error(err)
			}
		},
		"while the agent was away": func(l *lab, _ *session.Manager) {
			l.gw.mu.Lock()
			l.gw.over = true
			l.gw.mu.Unlock()
			l.gw.cut()
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			m, _ := l.agent()
			l.order(m, nil)
			pids := l.processes()
			end(l, m)
			l.ended("Success", "")
			l.gone(pids)
			l.gw.mu.Lock()
			defer l.gw.mu.Unlock()
			if slices.Contains(l.gw.states, mgs.SessionTerminating) {
				t.Errorf("states %q", l.gw.states)
			}
		})
	}
}

// The agent goes and comes; the shell goes on, with the next agent's
// credentials, and is ended by it.
func TestAgentRestarts(t *testing.T) {
	l := newLab(t)
	l.lifetime = 2 * time.Second
	m, stop := l.agent()
	l.order(m, nil)
	l.gw.expect("ready> ")
	stop()
	eventually(t, "the credentials live for ever", func() bool { return time.Now().UnixNano() > l.expired.Load() })
	l.gw.typed("echo alo''ne\n")
	l.gw.expect("alone")
	l.gw.cut() // it cannot come back now
	l.key, l.lifetime = "AKIATWO", 0
	m, _ = l.agent()
	l.gw.await("the second connection", func() bool { return l.gw.opens == 2 })
	l.gw.typed("echo toge''ther\n")
	l.gw.expect("together")
	if err := m.Close(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	l.ended("Success", "")
	l.gw.mu.Lock()
	defer l.gw.mu.Unlock()
	if !l.gw.keys["AKIATWO"] {
		t.Errorf("signed by %v", l.gw.keys)
	}
	if len(l.gw.states) != 1 {
		t.Errorf("states %q", l.gw.states)
	}
}

func TestEndsWithoutAgent(t *testing.T) {
	l := newLab(t)
	m, stop := l.agent()
	l.order(m, nil)
	l.gw.expect("ready> ")
	stop()
	ps := l.workers()
	l.gw.typed("exit\n")
	ctx, done := context.WithTimeout(t.Context(), patience)
	defer done()
	if _, err := ps[0].Wait(ctx); err != nil {
		t.Fatal(err)
	}
	_, stop = l.agent()
	l.ended("Success", "")
	stop()
	_, stop = l.agent()
	stop()
	select {
	case c := <-l.reports.ch:
		t.Errorf("reported again: %+v", c)
	default:
	}
}

func TestWorkerKilled(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprintf("agent away=%v", away), func(t *testing.T) {
			l := newLab(t)
			m, stop := l.agent()
			l.order(m, nil)
			pids := l.processes()
			if away {
				stop()
			}
			ps := l.workers()
			if err := ps[0].Kill(); err != nil {
				t.Fatal(err)
			}
			want := "killed"
			if away {
				ctx, done := context.WithTimeout(t.Context(), patience)
				defer done()
				if _, err := ps[0].Wait(ctx); err != nil {
					t.Fatal(err)
				}
				l.agent()
				want = "worker"
			}
			l.ended("Failed", want)
			l.gone(pids) // its terminal's process sees to it
		})
	}
}

// Cuts of the data channel go unnoticed in the shell.
func TestCuts(t *testing.T) {
	l := newLab(t)
	m, _ := l.agent()
	l.order(m, nil)
	l.gw.expect("ready> ")
	l.gw.typed("seq 1 200000; echo do''ne\n")
	for i := range 12 {
		n := i * 50_000
		l.gw.await("more", func() bool { return l.gw.out.Len() > n && l.gw.conn != nil })
		l.gw.cut()
	}
	l.gw.expect("done\r\n")
	l.gw.mu.Lock()
	out := l.gw.out.String()
	l.gw.mu.Unlock()
	from := strings.Index(out, "\n1\r\n") + 1
	for i := 1; i <= 200000; i++ {
		line := strconv.Itoa(i) + "\r\n"
		if !strings.HasPrefix(out[from:], line) {
			t.Fatalf("%q where %q should be", out[from:min(from+20, len(out))], line)
		}
		from += len(line)
	}
	l.gw.typed("exit\n")
	l.ended("Success", "")
}

func TestFailures(t *testing.T) {
	for name, tc := range map[string]struct {
		env    string
		change func(*lab)
		order  func(*mgs.AgentTaskContent)
		want   string
	}{
		"no account": {env: "TEST_ACCOUNT=none", change: asRoot, want: "neither useradd nor"},
		"no shell":   {env: "TEST_SHELL=/no/such/shell", want: "this shell does not exist on the node"},
		"refused": {change: func(l *lab) {
			l.gw.answer.ProcessedClientActions[0].ActionStatus = mgs.ActionFailed
			l.gw.answer.ProcessedClientActions[0].Error = "I take ports only"
		}, want: "I take ports only"},
		"a strange type":        {order: func(c *mgs.AgentTaskContent) { c.DocumentContent.SessionType = "Dance" }, want: "unknown"},
		"a strange schema":      {order: func(c *mgs.AgentTaskContent) { c.DocumentContent.SchemaVersion = "9" }, want: "schemaVersion"},
		"run as":                {order: inputs(`{"runAsEnabled":true}`), want: "runAsEnabled"},
		"kms, a client without": {order: inputs(`{"kmsKeyId":"alias/x"}`), want: "does not say that it encrypts"},
		"kms, no key":           {order: inputs(`{"kmsKeyId":"` + strings.Repeat("k", 2049) + `"}`), want: "kmsKeyId is longer"},
		"logs":                  {order: inputs(`{"s3BucketName":"b","s3EncryptionEnabled":"true"}`), want: "s3EncryptionEnabled"},
		"no inputs":             {order: inputs(`{"cloudWatchStreamingEnabled":"true"}`), want: "inputs"},
		"no place":              {change: func(l *lab) { l.limit = 0 }, order: nil, want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.env = append(l.env, tc.env)
			if tc.change != nil {
				tc.change(l)
			}
			m, _ := l.agent()
			l.order(m, tc.order)
			if tc.want == "" { // a limit below one is one
				l.gw.expect("ready> ")
				b, _ := json.Marshal(content(func(c *mgs.AgentTaskContent) { c.SessionId = "ada-another" }))
				if err := m.Open(t.Context(), mgs.AgentTask{Content: string(b)}); err != nil {
					t.Fatal(err)
				}
				if c := <-l.reports.ch; c.TaskId != "ada-another" || !strings.Contains(c.Output, "SessionWorkersLimit") {
					t.Errorf("%+v", c)
				}
				l.gw.typed("exit\n")
				l.ended("Success", "")
				return
			}
			l.ended("Failed", tc.want)
		})
	}
}

func inputs(text string) func(*mgs.AgentTaskContent) {
	return func(c *mgs.AgentTaskContent) { c.DocumentContent.Inputs = json.RawMessage(text) }
}

// What names no session is answered to nobody, and never becomes a path.
func TestHostileOrders(t *testing.T) {
	l := newLab(t)
	m, _ := l.agent()
	for _, text := range []string{"", "{", "null", `{"SessionId":"../../etc"}`, `{"SessionId":""}`, `{"SessionId":"a/b"}`, `{"SessionId":7}`} {
		if err := m.Open(t.Context(), mgs.AgentTask{Content: text}); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
	for _, s := range []string{"", "../x", "nobody"} {
		if err := m.Close(t.Context(), s); err != nil {
			t.Error(err)
		}
	}
	if m.Live() != 0 || len(l.reports.ch) != 0 {
		t.Error("something came of it")
	}
}
