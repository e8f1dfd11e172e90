package shell

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"

	"golang.org/x/sys/windows"

	"ssmagent/platform/proc"
)

const (
	// notStarted is the exit code of an attendant that could not start the
	// program. It is none of the system's: it has the bit for other people's.
	notStarted uint32 = 0xE0530001
	// utf8 is the code page in which programs talk to the console by bytes.
	utf8 = 65001
)

// What an attendant hands on.
const (
	onConsole = "console" // its console
	onPipes   = "pipes"   // what it got itself
)

func attended(s proc.Spec, attendant []string) proc.Spec {
	if len(attendant) == 0 {
		return s
	}
	s.CommandLine = windows.ComposeCommandLine(append(slices.Clone(attendant), onPipes, s.Path, line(s.Args, s.CommandLine)))
	s.Path, s.Args = attendant[0], nil
	return s
}

func line(args []string, whole string) string {
	if whole != "" {
		return whole
	}
	return windows.ComposeCommandLine(args)
}

// commandLine is what is to be started on the console. The library passes no
// program apart from the line.
func commandLine(s Spec) string {
	switch {
	case len(s.Attendant) > 0:
		return windows.ComposeCommandLine(append(slices.Clone(s.Attendant), onConsole, s.Path, line(s.Args, s.CommandLine)))
	case s.CommandLine != "":
		return s.CommandLine
	}
	return windows.ComposeCommandLine(append([]string{s.Path}, s.Args[1:]...))
}

func unborn(s proc.State) error {
	if uint32(s.Code) == notStarted {
		return fmt.Errorf("%w: why, it has printed", proc.ErrUnborn)
	}
	return proc.Unborn(s)
}

func attend(args []string) int { return setup().main(args) }

// settings are what an attendant asks of its console: a table, for tests.
type settings struct {
	open     func(name string) (*os.File, error)
	output   func(codePage uint32) error
	listenTo func() error // to Ctrl-C
	start    func(proc.Spec) (proc.Process, error)
}

func setup() settings {
	return settings{
		open:     func(name string) (*os.File, error) { return os.OpenFile(name, os.O_RDWR, 0) },
		output:   windows.SetConsoleOutputCP,
		listenTo: listenToInterrupts,
		start:    proc.Start,
	}
}

// main starts a program, given how, its path and its command line.
func (s settings) main(args []string) int {
	if len(args) != 3 || args[0] != onConsole && args[0] != onPipes {
		fmt.Fprintf(os.Stderr, "%s: starts programs of sessions; the agent starts it\n", AttendantName)
		return 2
	}
	signal.Notify(make(chan os.Signal, 1), os.Interrupt) // Ctrl-C is for the program, not for us
	p := proc.Spec{Path: args[1], CommandLine: args[2], Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	var code int
	var err error
	if args[0] == onPipes {
		// Also then there is a console, which nobody sees, and whose code page is
		// that of what the program prints. Where there is none, nothing has one.
		_, _ = s.output(utf8), s.listenTo()
		code, err = s.run(p)
	} else {
		code, err = s.onConsole(p)
	}
	if err != nil {
		_, _ = fmt.Fprintf(s.screen(args[0]), "\r\n[ssmagent: %v]\r\n", err)
		failed := notStarted // no constant: it has more bits than some int
		return int(failed)
	}
	return code
}

// screen is where a person reads what cannot be returned.
func (s settings) screen(how string) *os.File {
	if how == onConsole {
		if f, err := s.open("CONOUT$"); err == nil {
			return f
		}
	}
	return os.Stderr
}

// onConsole sets the console up and runs the program on it. Without UTF-8 it is
// a poorer console, which is better than none. The code page of what is typed
// stays: in UTF-8 programs that read bytes get zeros for letters (Windows before
// 11), and PowerShell 5.1 starts no jobs.
func (s settings) onConsole(p proc.Spec) (int, error) {
	in, err := s.open("CONIN$")
	if err != nil {
		return 0, fmt.Errorf("open the console to read: %w", err)
	}
	defer in.Close()
	out, err := s.open("CONOUT$")
	if err != nil {
		return 0, fmt.Errorf("open the console to write: %w", err)
	}
	defer out.Close()
	if err := s.output(utf8); err != nil {
		fmt.Fprintf(out, "[ssmagent: the console does not take UTF-8, so programs may print other letters: %v]\r\n", err)
	}
	if err := s.listenTo(); err != nil {
		fmt.Fprintf(out, "[ssmagent: Ctrl-C may be ignored: %v]\r\n", err)
	}
	p.Stdin, p.Stdout, p.Stderr = in, out, out
	return s.run(p)
}

func (s settings) run(p proc.Spec) (int, error) {
	running, err := s.start(p)
	if err != nil {
		return 0, err
	}
	state, err := running.Wait(context.Background())
	if err != nil {
		return 0, fmt.Errorf("wait for %s: %w", p.Path, err)
	}
	return state.Code, nil
}

// listenToInterrupts has Ctrl-C count again for us and for what we start: who
// was started at the head of a group ignores it, and passes that on.
func listenToInterrupts() error {
	ok, _, err := windows.NewLazySystemDLL("kernel32.dll").NewProc("SetConsoleCtrlHandler").Call(0, 0)
	if ok == 0 {
		return err
	}
	return nil
}
