package shell_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ssmagent/platform/proc"
	"ssmagent/platform/proc/proctest"
	"ssmagent/shell"
)

var env = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}

func open(t testing.TB, s shell.Spec, script string) shell.Terminal {
	t.Helper()
	s.Path, s.Args = "/bin/sh", []string{"sh", "-c", script}
	if s.Env == nil {
		s.Env = env
	}
	if s.Grace == 0 {
		s.Grace = 100 * time.Millisecond
	}
	term, err := shell.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { term.Close() })
	return term
}

// all reads to the end and returns it with the state.
func all(t testing.TB, term shell.Terminal) (string, proc.State) {
	t.Helper()
	b, err := io.ReadAll(term)
	if err != nil {
		t.Fatal(err)
	}
	state, err := term.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(b), state
}

func expect(t testing.TB, term shell.Terminal, text string) {
	t.Helper()
	var seen []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(seen, []byte(text)) {
		n, err := term.Read(buf)
		seen = append(seen, buf[:n]...)
		if err != nil {
			t.Fatalf("%v after %q, before %q", err, seen, text)
		}
	}
}

func TestEnvironmentAndDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got, _ := all(t, open(t, shell.Spec{Dir: dir, Env: append(env, "A=b c")}, "pwd; echo $A; tty; ls -l /proc/self/fd | wc -l"))
	lines := strings.Split(got, "\r\n")
	if lines[0] != dir || lines[1] != "b c" || !strings.HasPrefix(lines[2], "/dev/pts/") || lines[3] != "5" {
		t.Errorf("%q: want directory, variable, terminal, and no descriptor but 0, 1, 2 (and ls's own)", lines)
	}
}

// TestEraseKey: with a UTF-8 locale the erase key takes whole characters away.
func TestEraseKey(t *testing.T) {
	t.Parallel()
	for locale, want := range map[string]bool{"LANG=C.UTF-8": true, "LC_ALL=en_US.utf8": true, "LANG=C": false, "X=UTF-8": false} {
		got, _ := all(t, open(t, shell.Spec{Env: []string{"PATH=/usr/bin:/bin", locale}}, "stty -a"))
		if has := strings.Contains(got, " iutf8"); has != want {
			t.Errorf("%s: iutf8 %v in %s", locale, has, got)
		}
	}
}

func TestPaste(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pasted")
	term := open(t, shell.Spec{}, "stty -echo; echo ready; exec cat >"+file)
	expect(t, term, "ready")
	var text bytes.Buffer
	for i := 0; text.Len() < 1<<20; i++ {
		text.WriteString(strconv.Itoa(i) + " the quick brown f\u00f6x\n")
	}
	if _, err := term.Write(append(text.Bytes(), 4)); err != nil {
		t.Fatal(err)
	}
	all(t, term)
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, text.Bytes()) {
		t.Errorf("%d of %d bytes arrived, %v", len(got), text.Len(), err)
	}
}

// TestLostScreen: the system hangs up the shell of a screen that went away, and
// what the shell had in the background ends with the terminal, too.
func TestLostScreen(t *testing.T) {
	t.Parallel()
	s := shell.Spec{Path: "/bin/sh", Env: env}
	screen, line, err := shell.OpenScreen(s)
	if err != nil {
		t.Fatal(err)
	}
	s.Line = line
	term := open(t, s, "(trap '' HUP; echo deaf; exec sleep 1000) & echo pid $!; read x")
	var seen string
	var found []string
	told := regexp.MustCompile(`pid (\d+)\r\n`)
	for buf := make([]byte, 256); len(found) == 0 || !strings.Contains(seen, "deaf"); found = told.FindStringSubmatch(seen) {
		n, err := screen.Read(buf)
		if seen += string(buf[:n]); err != nil {
			t.Fatalf("%v after %q", err, seen)
		}
	}
	pid, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := screen.Close(); err != nil {
		t.Fatal(err)
	}
	if state, err := term.Wait(t.Context()); err != nil || state.Signal != "hangup" {
		t.Errorf("%+v, %v", state, err)
	}
	if err := term.Close(); err != nil {
		t.Fatal(err)
	}
	if alive(pid) {
		t.Error("the shell's background process still runs")
	}
}

func TestHangupOfStoppedAndStubborn(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"stopped":           "echo $$; kill -STOP $$",
		"ignores hang-ups":  "trap '' HUP; echo $$; while :; do sleep 1000; done",
		"forks all the way": "trap '' HUP TERM; echo $$; while :; do sleep 0.01; (sleep 0.02) & done",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			term := open(t, shell.Spec{}, script)
			buf := make([]byte, 64)
			n, err := term.Read(buf)
			pid, aerr := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
			if err != nil || aerr != nil {
				t.Fatal(err, aerr)
			}
			go io.Copy(io.Discard, term)
			if err := term.Hangup(); err != nil {
				t.Fatal(err)
			}
			if alive(pid) {
				t.Error("it still runs")
			}
			if state, err := term.Wait(t.Context()); err != nil || state.Code != -1 {
				t.Errorf("%+v, %v", state, err)
			}
		})
	}
}

func TestClosedTerminalIsReopened(t *testing.T) {
	t.Parallel()
	// A program may let go of its terminal and take it up again.
	got, state := all(t, open(t, shell.Spec{}, "exec <&- >&- 2>&-; sleep 0.2; exec >/dev/tty; echo back; exit 6"))
	if got != "back\r\n" || state.Code != 6 {
		t.Errorf("%q, %+v", got, state)
	}
}

func TestManyTerminalsLeaveNothing(t *testing.T) {
	// Not parallel: it counts descriptors and children of this process.
	before := descriptors(t)
	for range 5 {
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				term, err := shell.Open(context.Background(), shell.Spec{Path: "/bin/sh", Args: []string{"sh", "-c", "echo x; exit " + strconv.Itoa(i)}, Env: env})
				if err != nil {
					t.Error(err)
					return
				}
				defer term.Close()
				b, err := io.ReadAll(term)
				state, werr := term.Wait(context.Background())
				if err != nil || werr != nil || string(b) != "x\r\n" || state.Code != i {
					t.Errorf("%d: %q, %+v, %v, %v", i, b, state, err, werr)
				}
			})
		}
		wg.Wait()
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
	children, err := os.ReadFile("/proc/thread-self/children")
	if err == nil && len(bytes.TrimSpace(children)) > 0 {
		t.Errorf("children are left: %s", children)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestPrincipal(t *testing.T) {
	t.Parallel()
	p := proc.Principal{Set: true, UID: 65534, GID: 65534, Groups: []uint32{65534}}
	if os.Geteuid() != 0 {
		_, err := shell.Open(t.Context(), shell.Spec{Path: "/bin/sh", Principal: p})
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("as another user without being root: %v", err)
		}
		return
	}
	got, _ := all(t, open(t, shell.Spec{Principal: p, Dir: "/"}, "id -u; id -g; id -G; stat -c %u $(tty); echo x >/dev/tty"))
	if got != "65534\r\n65534\r\n65534\r\n65534\r\nx\r\n" {
		t.Errorf("%q", got)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	proctest.Plant(t, script, []byte("#!/no/such/interpreter\n"))
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		spec shell.Spec
		want string
	}{
		{shell.Spec{Path: "sh"}, "must be absolute"},
		{shell.Spec{}, "must be absolute"},
		{shell.Spec{Path: dir}, "no file that could run"},
		{shell.Spec{Path: text}, "may not run it"},
		{shell.Spec{Path: script}, "interpreter that its first line names"},
		{shell.Spec{Path: "/bin/sh", Dir: dir + "/none"}, "working directory"},
		{shell.Spec{Path: "/bin/sh", Dir: text}, "is no directory"},
		{shell.Spec{Path: "/bin/sh", Principal: proc.Principal{Token: 1}}, "Windows only"},
		{shell.Spec{Path: "/bin/sh", Args: []string{"sh", "\x00"}}, "invalid argument"},
		{shell.Spec{Path: "/bin/sh", Args: []string{"sh", strings.Repeat("x", 1<<20)}}, "too large"},
	} {
		if _, err := shell.Open(t.Context(), c.spec); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q in %q: %v, want %q", c.spec.Path, c.spec.Dir, err, c.want)
		}
	}
}

// BenchmarkOutput reads what a program prints flat out.
func BenchmarkOutput(b *testing.B) {
	buf := make([]byte, 64<<10)
	b.SetBytes(1 << 20)
	term, err := shell.Open(b.Context(), shell.Spec{Path: "/bin/sh", Args: []string{"sh", "-c", "exec seq 1 1000000000"}, Env: env, Grace: time.Second})
	if err != nil {
		b.Fatal(err)
	}
	defer term.Close()
	reads := 0
	for b.Loop() {
		for got := 0; got < 1<<20; reads++ {
			n, err := term.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			got += n
		}
	}
	b.ReportMetric(float64(reads)/float64(b.N), "reads/op")
}

// BenchmarkOpen opens a terminal, runs nothing in it, and closes it.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		term, err := shell.Open(b.Context(), shell.Spec{Path: "/bin/true", Env: env})
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, term)
		if _, err := term.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
		term.Close()
	}
}
