package shell

import (
	"context"
	"errors"
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

// commandLine is what is to be started on the console. The library passes no
// program apart from the line.
func commandLine(s Spec) string {
	line := s.CommandLine
	if line == "" {
		line = windows.ComposeCommandLine(s.Args)
	}
	if len(s.Attendant) > 0 {
		return windows.ComposeCommandLine(append(slices.Clone(s.Attendant), s.Path, line))
	}
	if s.CommandLine == "" {
		line = windows.ComposeCommandLine(append([]string{s.Path}, s.Args[1:]...))
	}
	return line
}

func attend(args []string) int { return attendBy(setup(), args) }

// settings are what an attendant asks of its console: a table, for tests.
type settings struct {
	open     func(name string) (*os.File, error)
	input    func(codePage uint32) error
	output   func(codePage uint32) error
	listenTo func() error // to Ctrl-C
	start    func(proc.Spec) (proc.Process, error)
}

func setup() settings {
	return settings{
		open:     func(name string) (*os.File, error) { return os.OpenFile(name, os.O_RDWR, 0) },
		input:    windows.SetConsoleCP,
		output:   windows.SetConsoleOutputCP,
		listenTo: listenToInterrupts,
		start:    proc.Start,
	}
}

func attendBy(sys settings, args []string) int {
	if len(args) != 2 {
		fmt.Fprintf(os.Stderr, "%s: needs a program and its command line; the agent starts it\n", AttendantName)
		return 2
	}
	signal.Notify(make(chan os.Signal, 1), os.Interrupt) // Ctrl-C is for the program, not for us
	code, err := sys.attend(args[0], args[1])
	if err != nil {
		_, _ = fmt.Fprintf(sys.screen(), "\r\n[ssmagent: %v]\r\n", err)
		failed := notStarted // no constant: it has more bits than some int
		return int(failed)
	}
	return code
}

// screen is where a person reads what cannot be returned.
func (s settings) screen() *os.File {
	if f, err := s.open("CONOUT$"); err == nil {
		return f
	}
	return os.Stderr
}

// attend sets the console up and runs the program on it. Without UTF-8 it is a
// poorer console, which is better than none.
func (s settings) attend(path, line string) (int, error) {
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
	if err := errors.Join(s.input(utf8), s.output(utf8)); err != nil {
		fmt.Fprintf(out, "[ssmagent: the console does not take UTF-8, so programs may print other letters: %v]\r\n", err)
	}
	if err := s.listenTo(); err != nil {
		fmt.Fprintf(out, "[ssmagent: Ctrl-C may be ignored: %v]\r\n", err)
	}
	p, err := s.start(proc.Spec{Path: path, CommandLine: line, Env: os.Environ(), Stdin: in, Stdout: out, Stderr: out})
	if err != nil {
		return 0, err
	}
	state, err := p.Wait(context.Background())
	if err != nil {
		return 0, fmt.Errorf("wait for %s: %w", path, err)
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
