package runscript

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"ssmagent/internal/step"
)

const (
	dirMode    = 0o700
	scriptMode = 0o700
	bom        = "\xEF\xBB\xBF"
)

// writeScript writes the lines below the step's directory, afresh for every
// run, and returns the path. No link leads out of the command's directory.
func writeScript(in step.Input, id string, i Interpreter, lines []string) (string, error) {
	rel, err := filepath.Rel(in.CommandDir, in.StepDir)
	if err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("step directory %s is not below %s", in.StepDir, in.CommandDir)
	}
	root, err := os.OpenRoot(in.CommandDir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	dir := filepath.Join(rel, id)
	if err := root.MkdirAll(dir, dirMode); err != nil {
		return "", err
	}
	name := filepath.Join(dir, i.ScriptName)
	if err := root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	text := strings.Join(lines, "\n") + "\n"
	if i.BOM {
		text = bom + text
	}
	if err := create(root, name, text); err != nil {
		return "", err
	}
	return filepath.Join(in.CommandDir, name), nil
}

// create writes under the lock that keeps this process from forking: a child
// born meanwhile would hold the file open for writing for a moment, and the
// kernel does not execute such a file.
func create(root *os.Root, name, text string) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, scriptMode)
	if err != nil {
		return err
	}
	// A umask may have taken the right to execute away.
	_, err = f.WriteString(text)
	return errors.Join(err, f.Chmod(scriptMode), f.Close())
}
