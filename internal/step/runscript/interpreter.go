package runscript

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// maxPath is how long a path may be on Windows, its end included, unless it has
// a prefix that says otherwise.
const maxPath = 260

// Interpreter is how scripts of one kind are run on one system.
type Interpreter struct {
	Paths []string // absolute; the first that exists is used
	// Args stand before the script's path.
	Args []string
	// ShellWord makes the script's path a word that a shell reads.
	ShellWord  bool
	ScriptName string
	BOM        bool // a UTF-8 byte order mark begins the script
	// Exit codes: the one that asks for a reboot, and the one that stands
	// for a script that was ended by us.
	RebootCode, StoppedCode int
	// LongPaths has a script's path that is longer than most programs of Windows
	// take begin with the prefix that lifts the bound.
	LongPaths bool
	// RootHome appends HOME=/ and takes away the first variable whose text
	// contains TERM, as PowerShell on Unix needs it.
	RootHome bool
	// FoldEnv: names of variables differ by more than letter case.
	FoldEnv bool
}

// Shell is sh on Linux. Because the script's path is a command to sh, a first
// line "#!/bin/bash" chooses the interpreter.
func Shell(path string) Interpreter {
	return Interpreter{Paths: []string{path}, Args: []string{"-c"}, ShellWord: true, ScriptName: "_script.sh", RebootCode: 194, StoppedCode: 137}
}

// PowerShellCore is PowerShell on Linux, at the first of these paths.
func PowerShellCore(paths ...string) Interpreter {
	return Interpreter{Paths: paths, Args: []string{"-f"}, ScriptName: "_script.ps1", RebootCode: 194, StoppedCode: 137, RootHome: true}
}

// WindowsPowerShell is the PowerShell that comes with Windows.
func WindowsPowerShell(path string) Interpreter {
	return Interpreter{
		Paths:      []string{path},
		Args:       []string{"-InputFormat", "None", "-Noninteractive", "-NoProfile", "-ExecutionPolicy", "unrestricted", "-f"},
		ScriptName: "_script.ps1", BOM: true, RebootCode: 3010, StoppedCode: -1, FoldEnv: true, LongPaths: true,
	}
}

func (i Interpreter) find() (string, error) {
	for _, p := range i.Paths {
		info, err := os.Stat(p)
		if err == nil && !info.IsDir() {
			return p, nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("interpreter: %w", err)
		}
	}
	return "", fmt.Errorf("interpreter %s is not installed: %w", strings.Join(i.Paths, " or "), os.ErrNotExist)
}

func (i Interpreter) argv(path, script string) []string {
	if i.ShellWord {
		script = shellWord(script)
	}
	if i.LongPaths && len(script) >= maxPath && !strings.HasPrefix(script, `\\`) {
		script = `\\?\` + script
	}
	name := path
	if i.ShellWord {
		name = filepath.Base(path) // as people know it from ps: "sh -c …"
	}
	return append(append([]string{name}, i.Args...), script)
}

// shellWord quotes a path if a shell would read it otherwise than it stands.
func shellWord(s string) string {
	safe := strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/._-+,:@%", r)
	}) < 0
	if safe && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
