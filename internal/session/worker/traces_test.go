package worker_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ssmagent/internal/clock"
	"ssmagent/internal/record/asciicast"
	"ssmagent/internal/record/audit"
	"ssmagent/internal/record/recording"
	"ssmagent/internal/session"
	"ssmagent/internal/wire/mgs"
	"ssmagent/platform/secfile"
)

// newTraced is a lab whose sessions leave traces.
func newTraced(t *testing.T) *lab {
	l := newLab(t)
	top := t.TempDir()
	l.records = session.Records{Audit: filepath.Join(top, "audit"), Recordings: filepath.Join(top, "recordings")}
	return l
}

// trail is the agent's audit log; without a directory there is none.
func (l *lab) trail() *audit.Log {
	if l.records.Audit == "" {
		return nil
	}
	return audit.New(audit.Options{Dir: l.records.Audit, FS: secfile.ForUser(), Clock: clock.Real{}, Lock: secfile.Lock,
		Log: slog.New(slog.NewTextHandler(l.t.Output(), nil))})
}

// lines are those of the audit log, whose chain must be whole.
func (l *lab) lines() (all []audit.Line) {
	l.t.Helper()
	r, err := l.trail().Verify()
	if err != nil || len(r.Faults) > 0 || len(r.Notes) > 0 {
		l.t.Errorf("verify: %+v, %v", r, err)
	}
	if err := l.trail().Each(func(ln audit.Line) error { all = append(all, ln); return nil }); err != nil {
		l.t.Error(err)
	}
	return all
}

func kinds(lines []audit.Line) (k []audit.Kind) {
	for _, l := range lines {
		k = append(k, l.Kind)
	}
	return k
}

// recorded is what the recording has printed, and its other events.
func (l *lab) recorded() (h asciicast.Header, output, others string) {
	l.t.Helper()
	f, err := recording.Store{FS: secfile.ForUser(), Dir: l.records.Recordings}.Open(id)
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close()
	r, err := asciicast.NewReader(f)
	if err != nil {
		l.t.Fatal(err)
	}
	for {
		e, err := r.Next()
		if err != nil {
			return r.Header, output, others
		}
		if e.Kind == asciicast.Output {
			output += e.Data
		} else {
			others += string(e.Kind) + e.Data + " "
		}
	}
}

func TestTraces(t *testing.T) {
	l := newTraced(t)
	m, _ := l.agent()
	l.order(m, func(c *mgs.AgentTaskContent) { c.SessionOwner = "arn:aws:iam::1:user/ada" })
	l.gw.expect("ready> ")
	l.gw.mu.Lock()
	l.gw.pushLocked(mgs.PayloadSize, mgs.Size{Cols: 99, Rows: 22})
	l.gw.mu.Unlock()
	l.gw.typed("stty size; printf '\\342\\202'; printf '\\254 \\377\\n'; echo do''ne\n")
	l.gw.expect("done")
	l.gw.typed("exit 3\n")
	l.ended("Success", "")
	h, out, others := l.recorded()
	l.gw.mu.Lock()
	want := strings.ToValidUTF8(l.gw.out.String(), "\ufffd")
	l.gw.mu.Unlock()
	if out != want {
		t.Errorf("recorded %q\nprinted  %q", out, want)
	}
	if h.Width != 111 || h.Height != 33 || h.Session.ID != id || h.Session.Owner != "arn:aws:iam::1:user/ada" || others != "r99x22 " {
		t.Errorf("%+v %+v %q", h, h.Session, others)
	}
	lines := l.lines()
	if !slices.Equal(kinds(lines), []audit.Kind{audit.SessionStart, audit.SessionEnd}) {
		t.Fatalf("%+v", lines)
	}
	end := lines[1]
	l.gw.mu.Lock()
	printed := int64(l.gw.out.Len())
	l.gw.mu.Unlock()
	if end.Session != id || end.Status != "Success" || end.Recording != id+".cast" || end.Out != printed || end.In == 0 || end.Millis == 0 ||
		end.Owner != "arn:aws:iam::1:user/ada" || end.Document != "SSM-SessionManagerRunShell" || end.Node != node || lines[0].Owner != end.Owner {
		t.Errorf("%+v", end)
	}
	_ = filepath.WalkDir(filepath.Dir(l.records.Audit), func(path string, d fs.DirEntry, _ error) error {
		fi, err := d.Info()
		if err != nil || path != filepath.Dir(l.records.Audit) && fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v", path, fi.Mode(), err)
		}
		return nil
	})
}

func TestNotRecorded(t *testing.T) {
	for name, tc := range map[string]struct {
		mode, inputs string
		want         bool
	}{
		"the document says no":        {"on", `{"ssmagent":{"recording":"off"}}`, false},
		"the node says no":            {"off", `{}`, false},
		"the document says yes":       {"off", `{"ssmagent":{"recording":"on"}}`, true},
		"the document is not asked":   {"always", `{"ssmagent":{"recording":"off"}}`, true},
		"the node leaves it to users": {"on", `{}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newTraced(t)
			l.records.Mode = tc.mode
			m, _ := l.agent()
			l.order(m, inputs(tc.inputs))
			l.gw.expect("ready> ")
			l.gw.typed("exit\n")
			l.ended("Success", "")
			_, err := os.Stat(filepath.Join(l.records.Recordings, id+".cast"))
			if (err == nil) != tc.want {
				t.Errorf("recorded: %v", err == nil)
			}
			if len(l.lines()) != 2 {
				t.Errorf("%+v", l.lines())
			}
		})
	}
}

// A client without a terminal says no size; what it gets is recorded too.
func TestRecordedWithoutSize(t *testing.T) {
	l := newTraced(t)
	l.gw.size = nil
	m, _ := l.agent()
	l.order(m, nil)
	l.gw.expect("ready> ")
	l.gw.typed("exit\n")
	l.ended("Success", "")
	if h, out, _ := l.recorded(); h.Width != 80 || h.Height != 24 || !strings.Contains(out, "ready> ") || len(l.lines()) != 2 {
		t.Errorf("%+v %q %v", h, out, kinds(l.lines()))
	}
}

// What is typed is recorded when the document says so, and never while the
// terminal does not show it.
func TestTypedIsRecorded(t *testing.T) {
	for name, want := range map[string]bool{`{}`: false, `{"ssmagent":{"recordInput":true}}`: true, `{"ssmagent":{"recordInput":"true","recording":"off"}}`: false} {
		t.Run(name, func(t *testing.T) {
			l := newTraced(t)
			m, _ := l.agent()
			l.order(m, inputs(name))
			l.gw.expect("ready> ")
			l.gw.typed("echo see''n\n")
			l.gw.expect("seen\r\nready> ")
			l.gw.typed("stty -echo; echo pass''word; read x; stty echo; echo th''anks\n")
			l.gw.expect("password\r\n")
			l.gw.typed("geheim\n")
			l.gw.expect("thanks")
			l.gw.typed("echo ${#x}\n")
			l.gw.expect("6\r\n")
			l.gw.typed("exit\n")
			l.ended("Success", "")
			if strings.Contains(name, "off") {
				return
			}
			_, out, others := l.recorded()
			if strings.Contains(out+others, "geheim") {
				t.Errorf("the password is recorded: %q %q", out, others)
			}
			if got := strings.Contains(others, "iecho see''n\n"); got != want || strings.Contains(others, "iexit") != want {
				t.Errorf("typed is recorded: %v, want %v: %q", got, want, others)
			}
		})
	}
}

// A recording that can grow no more: the session goes on and the person is
// told, or it ends, as document or node say; the audit log has it.
func TestRecordingFails(t *testing.T) {
	const much = "i=0; while [ $i -lt 300 ]; do echo a line of output $i; i=$((i+1)); done; echo all''said\n"
	t.Run("goes on", func(t *testing.T) {
		l := newTraced(t)
		l.records.Retention.Bytes = 3000
		m, _ := l.agent()
		l.order(m, nil)
		l.gw.expect("ready> ")
		l.gw.typed(much)
		// The notice may come in the midst of what the shell prints.
		l.gw.expect("[ssmagent: this session is not recorded any more: record the session: the recording has reached its greatest size")
		l.gw.typed("echo go''es on\n")
		l.gw.expect("goes on\r\n")
		l.gw.typed("exit\n")
		l.ended("Success", "")
		lines := l.lines()
		if !slices.Equal(kinds(lines), []audit.Kind{audit.SessionStart, audit.RecordingFailed, audit.SessionEnd}) {
			t.Fatalf("%+v", lines)
		}
		if _, out, _ := l.recorded(); !strings.HasPrefix(out, "ready> ") || strings.Contains(out, "output 299") {
			t.Errorf("recorded %q", out)
		}
	})
	for name, l := range map[string]struct{ node, document string }{"the node wants the end": {"end", `{}`}, "the document wants the end": {"", `{"ssmagent":{"whenRecordingFails":"end"}}`}} {
		t.Run(name, func(t *testing.T) {
			lab := newTraced(t)
			lab.records.Retention.Bytes, lab.records.WhenFailing = 3000, l.node
			m, _ := lab.agent()
			lab.order(m, inputs(l.document))
			pids := lab.processes()
			lab.gw.typed(much)
			lab.ended("Failed", "the session ends, because it cannot be recorded")
			lab.gone(pids)
			lines := lab.lines()
			if !slices.Equal(kinds(lines), []audit.Kind{audit.SessionStart, audit.RecordingFailed, audit.SessionEnd}) || lines[2].Status != "Failed" {
				t.Errorf("%+v", lines)
			}
		})
	}
	t.Run("refused at the beginning", func(t *testing.T) {
		l := newTraced(t)
		l.records.WhenFailing = "end"
		if err := os.WriteFile(l.records.Recordings, nil, 0o600); err != nil { // a file where the directory should be
			t.Fatal(err)
		}
		m, _ := l.agent()
		l.order(m, nil)
		l.ended("Failed", "the session is refused, because it cannot be recorded")
	})
	t.Run("without from the beginning", func(t *testing.T) {
		l := newTraced(t)
		if err := os.WriteFile(l.records.Recordings, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		m, _ := l.agent()
		l.order(m, nil)
		l.gw.expect("not recorded any more")
		l.gw.typed("exit\n")
		l.ended("Success", "")
	})
}

// Ends that no worker can tell are on the audit log all the same, each once.
func TestTracesWithoutWorker(t *testing.T) {
	t.Run("killed", func(t *testing.T) {
		l := newTraced(t)
		m, _ := l.agent()
		l.order(m, nil)
		pids := l.processes()
		if err := l.workers()[0].Kill(); err != nil {
			t.Fatal(err)
		}
		l.ended("Failed", "killed")
		l.gone(pids)
		lines := l.lines()
		if !slices.Equal(kinds(lines), []audit.Kind{audit.SessionStart, audit.SessionEnd}) || !strings.Contains(lines[1].Detail, "lost") {
			t.Errorf("%+v", lines)
		}
		if _, out, _ := l.recorded(); !strings.Contains(out, "ready> ") {
			t.Errorf("what was recorded until then: %q", out)
		}
	})
	t.Run("refused", func(t *testing.T) {
		l := newTraced(t)
		m, _ := l.agent()
		l.order(m, inputs(`{"ssmagent":{"recording":"maybe"}}`))
		l.ended("Failed", `ssmagent.recording is "maybe"`)
		lines := l.lines()
		if len(lines) != 1 || lines[0].Kind != audit.SessionEnd || lines[0].Status != "Failed" || lines[0].Session != id {
			t.Errorf("%+v", lines)
		}
	})
}

// When a recording ends, what is too much goes; live sessions' stay.
func TestRecordingsAreSwept(t *testing.T) {
	l := newTraced(t)
	l.records.Retention.Count = 2
	m, _ := l.agent()
	if err := os.MkdirAll(l.records.Recordings, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := os.WriteFile(filepath.Join(l.records.Recordings, fmt.Sprintf("old-%d.cast", i)), bytes.Repeat([]byte("x"), 10), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l.order(m, nil)
	l.gw.expect("ready> ")
	l.gw.typed("exit\n")
	l.ended("Success", "")
	names, err := filepath.Glob(filepath.Join(l.records.Recordings, "*.cast"))
	if err != nil || len(names) != 2 || !slices.Contains(names, filepath.Join(l.records.Recordings, id+".cast")) {
		t.Errorf("%v %v", names, err)
	}
}
