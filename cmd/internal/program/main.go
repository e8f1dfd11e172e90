// Package program is what the executables do: one program, chosen by the name
// it was called by or by its first word. It fills the core with the real
// machine; nothing below it knows which system it runs on.
package program

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"ssmagent/internal/session/terminal"
	"ssmagent/platform"
	"ssmagent/shell"
)

// version and commit are stamped in by the build.
var (
	version = "3.3.9000.0"
	commit  = "unknown"
)

// Exit codes of our programs. Usage is also what flag's own errors give.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	// exitLost is our client's when the remote exit code is not known, as ssh's.
	exitLost = 255
)

// streams are a program's standard streams.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// entry is one program: args are without its name.
type entry func(ctx context.Context, s streams, args []string) int

// programs are the names that argv[0] or the first word may have.
func programs() map[string]entry {
	return map[string]entry{
		"amazon-ssm-agent":    agentMain,
		"ssm-local":           localMain,
		"ssm-cli":             cliMain,
		"ssm-document-worker": documentWorker,
		"ssm-session-worker":  sessionWorker,
		terminal.Name:         sessionTerminal,
		shell.AttendantName:   sessionConsole,
		copyProgram:           sessionCopy,
	}
}

// Main runs the program that argv names; name is the one the executable was
// built as, for when it was renamed. It returns the exit code.
func Main(name string, argv []string) int {
	s := streams{os.Stdin, os.Stdout, os.Stderr}
	if err := platform.SystemLibraries(); err != nil {
		s.failf(name, "%v", err)
		return exitFailed
	}
	all := programs()
	called := strings.TrimSuffix(strings.ToLower(filepath.Base(argv[0])), ".exe") // on Windows people write as they like
	run, ok := all[called]
	if !ok {
		called, run = name, all[name]
	}
	args := argv[1:]
	if len(args) > 0 && called == "amazon-ssm-agent" {
		if other, ok := all[args[0]]; ok {
			run, args = other, args[1:]
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, s, args)
}

// failf says on standard error what went wrong, as the program prefix.
func (s streams) failf(prefix, format string, args ...any) {
	fmt.Fprintf(s.err, "%s: %s\n", prefix, fmt.Sprintf(format, args...))
}
