package shell

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/windows"

	"ssmagent/platform/job"
	"ssmagent/platform/proc"
	"ssmagent/platform/proc/proctest"
)

// aSpec is a program that says x on its console and ends.
func aSpec(t *testing.T) Spec {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Spec{Path: self, Args: []string{"program", "say", "x", "0"}, Rows: 24, Cols: 80, Grace: time.Second,
		Env: []string{"SSMAGENT_SHELLTEST=1", "SYSTEMROOT=" + os.Getenv("SYSTEMROOT")}}
}

// whole opens a terminal, reads it, resizes it, waits for it and closes it, and
// joins what all that says.
func whole(t *testing.T, sys calls) error {
	t.Helper()
	term, err := openBy(t.Context(), sys, aSpec(t))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, term)
	_, werr := term.Wait(t.Context())
	return errors.Join(err, werr, term.Close())
}

// TestConsoleFaults: each call of Windows on a terminal's way may fail. It then
// says why, and no handle is left. It runs alone.
func TestConsoleFaults(t *testing.T) { //nolint:paralleltest // it counts what the whole process has
	cases := []struct {
		call string
		err  error
		fail func(*calls, error)
		want string
	}{
		{"no pseudo console", errors.ErrUnsupported, func(c *calls, _ error) { c.available = func() bool { return false } }, "Windows 10 1809 and Server 2019 are the first"},
		{"CreatePseudoConsole", windows.ERROR_NOT_ENOUGH_MEMORY, failStart, "open a pseudo console"},
		{"CreateProcess", windows.ERROR_ACCESS_DENIED, failStart, "open a pseudo console"},
		{"CreateJobObject", windows.ERROR_NO_SYSTEM_RESOURCES, func(c *calls, err error) { c.newJob = func(string) (*job.Job, error) { return nil, err } }, "start"},
		{"SetInformationJobObject", windows.ERROR_INVALID_PARAMETER, func(c *calls, err error) { c.tether = func(*job.Job) error { return err } }, "start"},
		{"OpenProcess", windows.ERROR_ACCESS_DENIED, func(c *calls, err error) { c.open = func(uint32) (windows.Handle, error) { return 0, err } }, "hold it"},
		{"AssignProcessToJobObject", windows.ERROR_ACCESS_DENIED, func(c *calls, err error) {
			c.add = func(*job.Job, windows.Handle) error { return err }
			start := c.start
			c.start = func(_ string, s Spec) (console, error) {
				return start(windows.ComposeCommandLine([]string{s.Path, "tree", "leaf"}), s)
			}
		}, "start"},
		{"WaitForSingleObject", windows.ERROR_INVALID_HANDLE, func(c *calls, err error) { c.wait = func(windows.Handle) (uint32, error) { return 0, err } }, "run "},
		{"TerminateJobObject", windows.ERROR_ACCESS_DENIED, func(c *calls, err error) { c.empty = func(*job.Job, time.Duration) error { return err } }, "still run"},
		{"a desktop", proc.ErrUnborn, func(c *calls, _ error) { c.wait = func(windows.Handle) (uint32, error) { return 0xC0000142, nil } }, "gets no window station and desktop"},
	}
	round := func(check bool) {
		for _, tc := range cases {
			sys := system()
			tc.fail(&sys, tc.err)
			if err := whole(t, sys); check && (!errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s, %v: %v", tc.call, tc.err, err)
			}
		}
	}
	round(false)
	before := proctest.Handles(t)
	round(true)
	if after := proctest.Handles(t); after > before+len(cases)/2 {
		t.Errorf("%d handles before, %d after", before, after)
	}
}

func failStart(c *calls, err error) {
	c.start = func(string, Spec) (console, error) { return nil, err }
}

// narrow is a console that cannot be resized.
type narrow struct {
	console
	err error
}

func (n narrow) Resize(int, int) error { return n.err }

func TestResizeFault(t *testing.T) {
	t.Parallel()
	sys := system()
	start := sys.start
	sys.start = func(line string, s Spec) (console, error) {
		c, err := start(line, s)
		return narrow{c, windows.ERROR_INVALID_HANDLE}, err
	}
	term, err := openBy(t.Context(), sys, aSpec(t))
	if err != nil {
		t.Fatal(err)
	}
	defer term.Close()
	if err := term.Resize(30, 90); !errors.Is(err, windows.ERROR_INVALID_HANDLE) || !strings.Contains(err.Error(), "resize the console") {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, term)
}

// TestAttendFaults: a console that cannot be set up is told, and used as it is;
// without a program, or a console, there is nothing.
func TestAttendFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		call    string
		fail    func(*settings, error)
		want    string
		started bool
	}{
		{"nothing", func(*settings, error) {}, "", true},
		{"CreateFile of CONIN$", failOpen("CONIN$"), "open the console to read", false},
		{"CreateFile of CONOUT$", failOpen("CONOUT$"), "open the console to write", false},
		{"SetConsoleOutputCP", func(s *settings, err error) { s.output = func(uint32) error { return err } }, "does not take UTF-8", true},
		{"SetConsoleCtrlHandler", func(s *settings, err error) { s.listenTo = func() error { return err } }, "Ctrl-C may be ignored", true},
		{"CreateProcess", func(s *settings, err error) {
			s.start = func(proc.Spec) (proc.Process, error) { return nil, err }
		}, "Invalid", false},
	} {
		dir := t.TempDir()
		started := false
		sys := settings{
			open: func(name string) (*os.File, error) {
				return os.OpenFile(dir+`\`+strings.TrimSuffix(name, "$"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
			},
			output: func(uint32) error { return nil }, listenTo: func() error { return nil },
			start: func(s proc.Spec) (proc.Process, error) {
				started = s.Path == "path" && s.CommandLine == "a line" && s.Stdin != nil && s.Stdout != nil && s.Stderr == s.Stdout
				return proc.Start(proc.Spec{Path: os.Args[0], Args: []string{"program", "exit", "42"}, Env: []string{"SSMAGENT_SHELLTEST=1", "SYSTEMROOT=" + os.Getenv("SYSTEMROOT")}})
			},
		}
		tc.fail(&sys, windows.ERROR_INVALID_HANDLE)
		code, err := sys.onConsole(proc.Spec{Path: "path", CommandLine: "a line"})
		shown, _ := os.ReadFile(dir + `\CONOUT`)
		told := string(shown)
		if err != nil {
			told += err.Error()
		}
		if started != tc.started || !strings.Contains(told, tc.want) || (err == nil) != tc.started || err == nil && code != 42 || tc.want == "" && told != "" {
			t.Errorf("%s: started %v, code %d, %v, it printed %q", tc.call, started, code, err, shown)
		}
	}
}

func failOpen(which string) func(*settings, error) {
	return func(s *settings, err error) {
		open := s.open
		s.open = func(name string) (*os.File, error) {
			if name == which {
				return nil, err
			}
			return open(name)
		}
	}
}
