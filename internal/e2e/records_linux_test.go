package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"ssmagent/internal/record/asciicast"
)

// recordings is where the node keeps them.
func (n *node) recordings() string {
	return filepath.Join(n.root, "var", "lib", "amazon", "ssm", "recordings")
}

// cli runs ssm-cli for the node.
func (n *node) cli(args ...string) (out string, code int) {
	n.t.Helper()
	o, e, rc := run(n.t, "ssm-cli", append([]string{"-root", n.root}, args...)...)
	return o + e, rc
}

// stage is a terminal emulator in which a shell of ours runs, and in which its
// recording is played.
type stage struct {
	*emulator
	n *node
}

// newStage opens a shell in a window of 80×24.
func newStage(t *testing.T, p *plane, n *node) *stage {
	t.Helper()
	for _, tool := range []string{"tmux", "vi", "asciinema"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("needs %s: run `make test`, which installs it", tool)
		}
	}
	s := &stage{&emulator{t: t, dir: t.TempDir()}, n}
	s.tmux(t, "new-session", "-d", "-s", "keeps-the-server", "cat", ";", "set", "-g", "status", "off", ";", "set", "-g", "default-terminal", termType)
	t.Cleanup(func() { s.tmux(t, "kill-server") })
	s.window("live", 80, 24, filepath.Join(bin, "ssm-local"), "shell", "-root", p.root, n.id)
	s.until("live", "a prompt", func(screen string) bool { return regexp.MustCompile(`[#$] *\n`).MatchString(screen) })
	return s
}

func (s *stage) window(name string, x, y int, command ...string) {
	s.t.Helper()
	s.tmux(s.t, append([]string{"new-session", "-d", "-x", fmt.Sprint(x), "-y", fmt.Sprint(y), "-s", name, "--"}, command...)...)
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("%s:\n%s", name, strings.ReplaceAll(s.screen(name), "\x1b", "␛"))
		}
	})
}

// screen is all that a person sees in the window.
func (s *stage) screen(name string) string {
	s.t.Helper()
	return s.tmux(s.t, "capture-pane", "-p", "-e", "-t", "="+name+":", ";", "display-message", "-p", "-t", "="+name+":", modes)
}

func (s *stage) until(name, what string, ok func(screen string) bool) {
	s.t.Helper()
	eventually(s.t, what+" in "+name, func() bool { return ok(s.screen(name)) })
}

// types types into the live shell and waits for a text.
func (s *stage) types(text, until string) {
	s.t.Helper()
	if text != "" {
		s.tmux(s.t, "send-keys", "-t", "=live:", "-l", text)
	}
	if until != "" {
		s.until("live", until, func(screen string) bool { return strings.Contains(escape.ReplaceAllString(screen, ""), until) })
	}
}

// settled waits until the screen stays as it is.
func (s *stage) settled(name string) (screen string) {
	s.t.Helper()
	eventually(s.t, name+" to settle", func() bool {
		was := screen
		screen = s.screen(name)
		return was == screen
	})
	return screen
}

// soFar is what has been recorded: the recording goes on.
func (s *stage) soFar(session string) []byte {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.n.recordings(), session+".cast"))
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// follows plays what has been recorded so far in a window that gets the sizes
// of the recording too, and wants the screen that the live shell has.
func (s *stage) follows(as, session string) {
	s.t.Helper()
	live := s.settled("live")
	r, err := asciicast.NewReader(bytes.NewReader(s.soFar(session)))
	if err != nil {
		s.t.Fatal(err)
	}
	fifo := filepath.Join(s.dir, as+".fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.window(as, r.Header.Width, r.Header.Height, "sh", "-c", "stty raw -echo; cat "+fifo+"; exec cat")
	f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			s.t.Fatal(err)
		}
		if e.Kind == asciicast.Output {
			if _, err := f.WriteString(e.Data); err != nil {
				s.t.Fatal(err)
			}
		} else if cols, rows, err := e.Size(); err == nil {
			// A title is set once all before it has been taken in.
			if _, err := f.WriteString("\x1b]2;" + e.Data + "\x07"); err != nil {
				s.t.Fatal(err)
			}
			eventually(s.t, as+" to have shown what came before a size", func() bool {
				return strings.TrimSpace(s.tmux(s.t, "display-message", "-p", "-t", "="+as+":", "#{pane_title}")) == e.Data
			})
			s.tmux(s.t, "resize-window", "-t", "="+as+":", "-x", fmt.Sprint(cols), "-y", fmt.Sprint(rows))
		}
	}
	eventually(s.t, "the live screen in "+as, func() bool { return s.screen(as) == live })
}

// plays plays what has been recorded so far, by the stock player and by ours,
// and wants the screen that the live shell has.
func (s *stage) plays(as, session string) {
	s.t.Helper()
	live := s.settled("live")
	b := s.soFar(session)
	cast := s.write(as+".cast", string(b))
	played := s.t.TempDir()
	store := filepath.Join(played, "var", "lib", "amazon", "ssm", "recordings")
	if err := os.MkdirAll(store, 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(store, "copy.cast"), b, 0o600); err != nil {
		s.t.Fatal(err)
	}
	for name, command := range map[string]string{
		as + "-asciinema": "asciinema play -s 1000 -i 0.001 " + cast,
		as + "-ssm-cli":   filepath.Join(bin, "ssm-cli") + " -root " + played + " recordings play -speed 1000 -idle 0.001 copy",
	} {
		// What the emulator answers to programs that ask it is not to be shown.
		s.window(name, 100, 30, "sh", "-c", "stty -echo; "+command+"; exec cat >/dev/null")
		eventually(s.t, "the live screen in "+name, func() bool { return s.screen(name) == live })
	}
}

// TestRecordingPlaysBack records a shell in which a full-screen program runs
// and is resized, and plays it back to the same screen, while the program runs
// and after it.
func TestRecordingPlaysBack(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	s := newStage(t, p, n)
	s.write("page", page(200))
	s.types("exec env -i TERM="+termType+" PS1='% ' PATH=/usr/bin:/bin HOME="+s.dir+" LANG=C.UTF-8 sh\r", "% ")
	s.types("ulimit -c 0; cd "+s.dir+"; printf '\\033[H\\033[2Jrea''dy\\n'\r", "ready")
	s.types("vi -u NONE -i NONE -n -N page\r", "line 1.")
	s.types("5jo", "")
	s.types("inserted ä€漢字🙂 "+strings.Repeat("long ", 40)+"\x1b", "inserted")
	s.tmux(t, "resize-window", "-t", "=live:", "-x", "100", "-y", "30")
	s.types("", "line 25.") // it has room for that only now
	s.types(":set columns?\r", "columns=100")
	session := p.sessions(types.SessionStateActive, n.id)
	if len(session) != 1 {
		t.Fatalf("sessions %v", session)
	}
	id := *session[0].SessionId
	s.follows("resized", id)

	s.types(":q!\r", "")
	s.until("live", "the shell's screen", func(screen string) bool { return strings.Contains(screen, "alternate=0") })
	s.types("vi -u NONE -i NONE -n -N page\r", "line 25.") // by players that know no sizes
	s.types("GddO", "")
	s.types("again ä€漢字🙂\x1b:set columns?\r", "columns=100")
	s.plays("vi", id)

	s.types("\r:q!\r", "")
	s.until("live", "the shell's screen", func(screen string) bool { return strings.Contains(screen, "alternate=0") })
	s.types("printf '\\033[r\\033[H\\033[2J\\033[31;1mred\\033[0m \\033[7mreverse\\033[0m \\342\\202'; printf '\\254\\n'; echo TH''END\r", "THEND")
	s.plays("shell", id)

	if out, rc := n.cli("recordings", "list"); rc != 0 || !strings.Contains(out, id) {
		t.Errorf("list: exit %d\n%s", rc, out)
	}
	s.types("exit\r", "")
	p.history(n.id, 1)
	n.noShells()
	b, err := os.ReadFile(filepath.Join(n.recordings(), id+".cast"))
	if err != nil {
		t.Fatal(err)
	}
	if out, rc := n.cli("recordings", "export", id); rc != 0 || out != string(b) {
		t.Errorf("export: exit %d, %d bytes of %d", rc, len(out), len(b))
	}
	out, rc := n.cli("recordings", "export", "--text", id)
	if rc != 0 || !strings.Contains(out, "\nred reverse €\nTHEND\n") || strings.Contains(out, "line 1.") || strings.Contains(out, "\x1b") {
		t.Errorf("export --text: exit %d\n%s", rc, out)
	}
	if fi, err := os.Stat(filepath.Join(n.recordings(), id+".cast")); err != nil || fi.Mode() != 0o600 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
	if out, rc := n.cli("recordings", "play", "no-such-session"); rc != 255 || !strings.Contains(out, "no recording of session") {
		t.Errorf("play what is not there: exit %d\n%s", rc, out)
	}
}

// TestAuditFindsForgeries has a node work, and changes what its log says of
// that.
func TestAuditFindsForgeries(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	for range 3 {
		p.invocation(p.send(n.id, "exit 4"), n.id)
	}
	pe := script(t, p.shell(p.url, n.id))
	pe.types("echo $((6*7))\nexit\n")
	pe.ends()
	if _, e, rc := ends(t, p.local(p.url, "cp", "records_linux_test.go", n.id+":"+t.TempDir()), nil); rc != 0 {
		t.Fatalf("cp: exit %d\n%s", rc, e)
	}
	p.history(n.id, 2)
	n.noShells()
	dir := filepath.Join(n.root, "var", "lib", "amazon", "ssm", "audit")
	n.says(0, "as it was written", "audit", "verify")
	out := n.says(0, "", "audit", "show")
	for what, times := range map[string]int{"registration": 1, "command.accepted": 3, "command.finished": 3, "session.start": 2, "session.end": 2, "copy": 1} {
		if got := len(regexp.MustCompile(`(?m)^\S+Z  `+regexp.QuoteMeta(what)+` `).FindAllString(out, -1)); got != times {
			t.Errorf("%d × %s, want %d:\n%s", got, what, times, out)
		}
	}
	if !strings.Contains(out, "status=Failed") || !strings.Contains(out, n.id) {
		t.Errorf("show:\n%s", out)
	}
	n.term() // it has nothing more to say
	files, err := filepath.Glob(filepath.Join(dir, "audit-*.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	honest, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(honest, []byte("\n"))
	lines = lines[:len(lines)-1]
	for name, tc := range map[string]struct {
		forged [][]byte
		says   string
	}{
		"changed":   {slices.Replace(slices.Clone(lines), 2, 3, bytes.Replace(lines[2], []byte("Failed"), []byte("Succss"), 1)), "it was changed"},
		"missing":   {slices.Delete(slices.Clone(lines), 3, 4), "missing before it"},
		"reordered": {slices.Concat(lines[:4], lines[5:6], lines[4:5], lines[6:]), "the order was changed"},
		"cut off":   {lines[:len(lines)-1], "lines at the end are missing"},
		"torn":      {append(slices.Clone(lines), []byte(`{"seq":`)), ""},
	} {
		if name == "changed" && bytes.Equal(bytes.Join(tc.forged, nil), honest) {
			t.Fatalf("nothing was changed in %s", lines[2])
		}
		if err := os.WriteFile(files[0], bytes.Join(tc.forged, nil), 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "torn" { // by a crash: told, and no fault
			n.says(0, "cut short", "audit", "verify")
			continue
		}
		if out := n.says(1, "NOT as it was written", "audit", "verify"); !strings.Contains(out, tc.says) {
			t.Errorf("%s: %s", name, out)
		}
	}
	if err := os.WriteFile(files[0], honest, 0o600); err != nil {
		t.Fatal(err)
	}
	n.says(0, "as it was written", "audit", "verify")
	// Another agent goes on with the same chain.
	n.start()
	p.invocation(p.send(n.id, "true"), n.id)
	eventually(t, "two more lines", func() bool {
		out, _ := n.cli("audit", "show")
		return strings.Count(out, "command.finished") == 4
	})
	n.says(0, fmt.Sprintf("%d lines", len(lines)+2), "audit", "verify")
}

// says runs ssm-cli and wants an exit code and a text.
func (n *node) says(code int, text string, args ...string) string {
	n.t.Helper()
	out, rc := n.cli(args...)
	if rc != code || !strings.Contains(out, text) {
		n.t.Errorf("ssm-cli %v: exit %d, want %d and %q:\n%s", args, rc, code, text, out)
	}
	return out
}
