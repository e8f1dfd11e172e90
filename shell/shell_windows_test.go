package shell_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/windows"

	"ssmagent/platform/proc"
	"ssmagent/platform/proc/proctest"
	"ssmagent/shell"
)

// role has the test binary be a program on a console.
const role = "SSMAGENT_SHELLTEST"

// patience is what a test waits at most for what should come at once.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shell.AttendantName {
		os.Exit(shell.Attend(os.Args[2:]))
	}
	if os.Getenv(role) != "" {
		os.Exit(program())
	}
	os.Exit(m.Run())
}

// program is what runs on the console. Wine attaches it, but hands it no
// standard files: it opens the console by name, which is the same on Windows.
func program() int {
	switch os.Args[1] { // those of no use for a console
	case "exit":
		code, _ := strconv.Atoi(os.Args[2])
		return code
	case "copy":
		fmt.Print(strings.Join(os.Args[2:], "|") + "|")
		_, _ = io.Copy(os.Stdout, os.Stdin)
		return 0
	}
	in, err := os.OpenFile("CONIN$", os.O_RDWR, 0)
	if err != nil {
		return 91
	}
	out, err := os.OpenFile("CONOUT$", os.O_RDWR, 0)
	if err != nil {
		return 92
	}
	args := os.Args[1:]
	switch args[0] {
	case "say":
		fmt.Fprintln(out, args[1])
		code, _ := strconv.Atoi(args[2])
		return code
	case "size":
		var i windows.ConsoleScreenBufferInfo
		err := windows.GetConsoleScreenBufferInfo(windows.Handle(out.Fd()), &i)
		fmt.Fprintf(out, "size %dx%d %v\n", i.Window.Right-i.Window.Left+1, i.Window.Bottom-i.Window.Top+1, err)
	case "echo":
		for s := bufio.NewScanner(in); s.Scan() && s.Text() != "quit"; {
			fmt.Fprintf(out, "got %q\n", s.Text())
		}
	case "flood":
		n, _ := strconv.Atoi(args[1])
		for i := range n {
			fmt.Fprintf(out, "line %06d\n", i)
		}
	case "settings":
		o, _ := windows.GetConsoleOutputCP()
		fmt.Fprintf(out, "code page %d, Ctrl-C ignored %t\n", o, windows.RtlGetCurrentPeb().ProcessParameters.ConsoleFlags&1 != 0)
	case "bytes": // as programs print that know no consoles
		var n uint32
		if err := windows.WriteFile(windows.Handle(out.Fd()), []byte("grüße 日本\r\n"), &n, nil); err != nil {
			return 96
		}
	case "tree":
		return tree(out)
	}
	return 0
}

// tree says its own and its child's number, and neither ends by itself.
func tree(out io.Writer) int {
	if len(os.Args) < 3 {
		self, err := os.Executable()
		if err != nil {
			return 93
		}
		c := exec.Command(self, "tree", "leaf")
		if err := c.Start(); err != nil {
			return 94
		}
		fmt.Fprintf(out, "pids %d %d.\n", os.Getpid(), c.Process.Pid)
	}
	time.AfterFunc(2*time.Minute, func() { os.Exit(95) })
	select {}
}

func open(t *testing.T, s shell.Spec) shell.Terminal {
	t.Helper()
	return openIn(t.Context(), t, s)
}

func openIn(ctx context.Context, t *testing.T, s shell.Spec) shell.Terminal {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.Path, s.Args = self, append([]string{"program"}, s.Args...)
	s.Env = append([]string{role + "=1", "SYSTEMROOT=" + os.Getenv("SYSTEMROOT")}, s.Env...)
	if s.Grace == 0 {
		s.Grace = 100 * time.Millisecond
	}
	term, err := shell.Open(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := term.Close(); err != nil {
			t.Error(err)
		}
	})
	return term
}

// until reads until text was printed, and returns all.
func until(t *testing.T, r io.Reader, text string) string {
	t.Helper()
	var seen []byte
	for b := make([]byte, 4096); !bytes.Contains(seen, []byte(text)); {
		n, err := r.Read(b)
		seen = append(seen, b[:n]...)
		if err != nil {
			t.Fatalf("%v after %q, before %q", err, seen, text)
		}
	}
	return string(seen)
}

func rest(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func code(t *testing.T, term shell.Terminal) int {
	t.Helper()
	ctx, done := context.WithTimeout(t.Context(), patience)
	defer done()
	s, err := term.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s.Code
}

func TestConsoleOutputAndExitCode(t *testing.T) {
	t.Parallel()
	for _, want := range []int{0, 42, 259} { // 259 is also "still active"
		term := open(t, shell.Spec{Args: []string{"say", "grüße 日本", strconv.Itoa(want)}})
		if s := rest(t, term); !strings.Contains(s, "grüße 日本") {
			t.Errorf("it printed %q", s)
		}
		if got := code(t, term); got != want {
			t.Errorf("exit code %d, want %d", got, want)
		}
		if _, err := term.Write([]byte("x")); !errors.Is(err, shell.ErrEnded) {
			t.Errorf("typed after the end: %v", err)
		}
	}
}

func TestConsoleSize(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		rows, cols uint16
		want       string
	}{{43, 132, "size 132x43 <nil>"}, {0, 0, "size 80x24 <nil>"}} {
		term := open(t, shell.Spec{Args: []string{"size"}, Rows: tc.rows, Cols: tc.cols})
		if s := rest(t, term); !strings.Contains(s, tc.want) {
			t.Errorf("it printed %q, want %q", s, tc.want)
		}
		code(t, term)
	}
}

// TestConsoleResize: a size that is none, or the present one, is dropped. Wine
// cannot resize, which then is what is said.
func TestConsoleResize(t *testing.T) {
	t.Parallel()
	term := open(t, shell.Spec{Args: []string{"echo"}, Rows: 30, Cols: 90})
	for _, same := range [][2]uint16{{0, 0}, {0, 5}, {30, 90}} {
		if err := term.Resize(same[0], same[1]); err != nil {
			t.Errorf("%v: %v", same, err)
		}
	}
	err := term.Resize(31, 91)
	if os.Getenv("SSMAGENT_WINE") == "" && err != nil || err != nil && !strings.Contains(err.Error(), "0x80004001") {
		t.Error(err)
	}
}

func TestConsoleInput(t *testing.T) {
	t.Parallel()
	term := open(t, shell.Spec{Args: []string{"echo"}})
	for _, word := range []string{"one", "two"} {
		if _, err := term.Write([]byte(word + "\r")); err != nil {
			t.Fatal(err)
		}
		until(t, term, fmt.Sprintf("got %q", word))
	}
	if _, err := term.Write([]byte("quit\r")); err != nil {
		t.Fatal(err)
	}
	rest(t, term)
	if c := code(t, term); c != 0 {
		t.Errorf("exit code %d", c)
	}
}

// TestConsoleFlood: the last line comes, whoever reads slowly.
func TestConsoleFlood(t *testing.T) {
	t.Parallel()
	const lines = 3000
	term := open(t, shell.Spec{Args: []string{"flood", strconv.Itoa(lines)}})
	var all strings.Builder
	if _, err := io.CopyBuffer(struct{ io.Writer }{&all}, struct{ io.Reader }{term}, make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, lines / 2, lines - 1} {
		if want := fmt.Sprintf("line %06d", i); !strings.Contains(all.String(), want) {
			t.Errorf("%q is not among %d bytes", want, all.Len())
		}
	}
	code(t, term)
}

func process(t *testing.T, pid int) windows.Handle {
	t.Helper()
	h, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(pid))
	if err != nil {
		t.Fatalf("process %d: %v", pid, err)
	}
	t.Cleanup(func() { _ = windows.CloseHandle(h) })
	return h
}

func TestConsoleHangup(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"hang-up", "close", "context"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			term := openIn(ctx, t, shell.Spec{Args: []string{"tree"}})
			s := until(t, term, ".\r\n")
			var parent, child int
			if _, err := fmt.Sscanf(s[strings.Index(s, "pids "):], "pids %d %d", &parent, &child); err != nil {
				t.Fatalf("%q: %v", s, err)
			}
			handles := []windows.Handle{process(t, parent), process(t, child)}
			var err error
			switch how {
			case "hang-up":
				err = term.Hangup()
			case "close":
				err = term.Close()
			case "context":
				cancel()
			}
			if err != nil {
				t.Error(err)
			}
			for _, h := range handles {
				if ev, err := windows.WaitForSingleObject(h, uint32(patience.Milliseconds())); ev != windows.WAIT_OBJECT_0 {
					t.Errorf("a process still runs (%v)", err)
				}
			}
			rest(t, term)
			code(t, term)
		})
	}
}

func TestConsoleBadSpecs(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		spec shell.Spec
		want string
		is   error
	}{
		{"no program", shell.Spec{Path: self + "-none"}, "does not exist", fs.ErrNotExist},
		{"a directory", shell.Spec{Path: t.TempDir()}, "no program", nil},
		{"NUL in the environment", shell.Spec{Path: self, Env: []string{"A=\x00"}}, "NUL", nil},
		{"NUL in an argument", shell.Spec{Path: self, Args: []string{"a", "b\x00"}}, "", nil},
		{"too wide", shell.Spec{Path: self, Cols: 65535, Rows: 2}, "more than a console can have", nil},
		{"a line of its own", shell.Spec{Path: self, Line: os.Stdin}, "apart", errors.ErrUnsupported},
	} {
		term, err := shell.Open(t.Context(), tc.spec)
		if err == nil {
			_ = term.Close()
			t.Errorf("%s: it started", tc.name)
			continue
		}
		if !strings.Contains(err.Error(), tc.want) || tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// attendant is this test as the one that sets consoles up.
func attendant(t *testing.T) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{self, shell.AttendantName}
}

// TestConsoleSettings: with an attendant programs get a console in UTF-8, also
// those that print bytes, and Ctrl-C counts for them whoever started us.
func TestConsoleSettings(t *testing.T) {
	t.Parallel()
	// As who was started at the head of a group.
	if ok, _, err := windows.NewLazySystemDLL("kernel32.dll").NewProc("SetConsoleCtrlHandler").Call(0, 1); ok == 0 {
		t.Fatal(err)
	}
	for want, with := range map[string][]string{"Ctrl-C ignored true": nil, "code page 65001, Ctrl-C ignored false": attendant(t)} {
		term := open(t, shell.Spec{Args: []string{"settings"}, Attendant: with})
		if s := rest(t, term); !strings.Contains(s, want) {
			t.Errorf("it printed %q, want %q", s, want)
		}
	}
	term := open(t, shell.Spec{Args: []string{"bytes"}, Attendant: attendant(t)})
	if s := rest(t, term); !strings.Contains(s, "grüße 日本") {
		t.Errorf("it printed %q", s)
	}
}

// TestConsoleAttended: exit code, size, input and hang-up go past the attendant.
func TestConsoleAttended(t *testing.T) {
	t.Parallel()
	for _, want := range []int{0, 42, 259} {
		term := open(t, shell.Spec{Args: []string{"say", "x", strconv.Itoa(want)}, Attendant: attendant(t)})
		rest(t, term)
		if got := code(t, term); got != want {
			t.Errorf("exit code %d, want %d", got, want)
		}
	}
	term := open(t, shell.Spec{Args: []string{"size"}, Rows: 43, Cols: 132, Attendant: attendant(t)})
	if s := rest(t, term); !strings.Contains(s, "size 132x43 <nil>") {
		t.Errorf("it printed %q", s)
	}
	term = open(t, shell.Spec{Args: []string{"echo"}, Attendant: attendant(t)})
	if _, err := term.Write([]byte("wörter\r")); err != nil {
		t.Fatal(err)
	}
	until(t, term, `got "wörter"`)
	if err := term.Hangup(); err != nil {
		t.Error(err)
	}
	rest(t, term)
}

// TestConsoleCmd: the system's own shell, with a command line that it takes
// apart in its own way.
func TestConsoleCmd(t *testing.T) {
	t.Parallel()
	dir, err := windows.GetSystemDirectory()
	if err != nil {
		t.Fatal(err)
	}
	s := shell.Spec{Path: dir + `\cmd.exe`, CommandLine: `cmd.exe /d /s /c "echo "two  words" & exit 7"`, Env: []string{"SYSTEMROOT=" + os.Getenv("SYSTEMROOT")}, Attendant: attendant(t)}
	term, err := shell.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer term.Close()
	if s := rest(t, term); !strings.Contains(s, `"two  words"`) {
		t.Errorf("it printed %q", s)
	}
	if c := code(t, term); c != 7 {
		t.Errorf("exit code %d", c)
	}
}

// TestAttendedPipes: a program on pipes is begun by an attendant, too, and what
// it prints, how it ends and that it could not be started come past it.
func TestAttendedPipes(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := t.TempDir() + `\text.exe`
	if err := os.WriteFile(text, []byte("no program"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		path string
		args []string
		want string
		code int
	}{
		{self, []string{"program", "exit", "42"}, "", 42},
		{self, []string{"program", "copy", "two  words", `a "quote"`}, `two  words|a "quote"|typed`, 0},
		{text, []string{"text"}, "[ssmagent: start", -1},
	} {
		in, theirIn, err := proc.PipeTo()
		if err != nil {
			t.Fatal(err)
		}
		out, theirOut, err := proc.PipeFrom()
		if err != nil {
			t.Fatal(err)
		}
		p, err := proc.Start(shell.Attended(proc.Spec{Path: tc.path, Args: tc.args, Group: true, Stdin: theirIn, Stdout: theirOut, Stderr: theirOut,
			Env: []string{role + "=1", "SYSTEMROOT=" + os.Getenv("SYSTEMROOT")}}, attendant(t)))
		if err != nil {
			t.Fatal(err)
		}
		_, werr := in.Write([]byte("typed"))
		if err := errors.Join(theirIn.Close(), theirOut.Close(), in.Close()); err != nil {
			t.Error(err)
		}
		printed := rest(t, out)
		s, err := p.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if unborn := shell.Unborn(s); (unborn != nil) != (tc.code < 0) || unborn != nil && !errors.Is(unborn, proc.ErrUnborn) || unborn == nil && s.Code != tc.code {
			t.Errorf("%s: %+v, %v", tc.args, s, unborn)
		}
		if !strings.Contains(printed, tc.want) || tc.want == "" && printed != "" {
			t.Errorf("%s: it printed %q (%v)", tc.args, printed, werr)
		}
		_ = out.Close()
	}
}

// TestConsoleUnstartable: what an attendant cannot start is said on the console,
// and is no end of a program.
func TestConsoleUnstartable(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + `\text.exe`
	if err := os.WriteFile(file, []byte("no program"), 0o700); err != nil {
		t.Fatal(err)
	}
	term, err := shell.Open(t.Context(), shell.Spec{Path: file, Attendant: attendant(t), Env: []string{"SYSTEMROOT=" + os.Getenv("SYSTEMROOT")}})
	if err != nil {
		t.Fatal(err)
	}
	defer term.Close()
	if s := rest(t, term); !strings.Contains(s, "[ssmagent: start") {
		t.Errorf("it printed %q", s)
	}
	if _, err := term.Wait(t.Context()); !errors.Is(err, proc.ErrUnborn) {
		t.Errorf("%v", err)
	}
}

// TestConsoleHandles: consoles leave no handle. It runs alone.
func TestConsoleHandles(t *testing.T) { //nolint:paralleltest // it counts what the whole process has
	proctest.Leaks(t, 10, func() {
		term := open(t, shell.Spec{Args: []string{"say", "x", "3"}, Attendant: attendant(t)})
		_, _ = io.Copy(io.Discard, term)
		if err := term.Close(); err != nil {
			t.Error(err)
		}
	})
}
