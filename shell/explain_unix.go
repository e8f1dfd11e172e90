//go:build unix

package shell

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// explainPTY makes a sentence of why there is no terminal.
func explainPTY(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.ENXIO), errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("open a terminal: no pseudo terminal is free, end other sessions or "+moreTerminals+" (%w): %w", err, ErrExhausted)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fmt.Errorf("open a terminal: too many files are open, end other sessions or raise the limit of open files (%w): %w", err, ErrExhausted)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("open a terminal: memory is short, end other programs (%w): %w", err, ErrExhausted)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("open a terminal: this system has no pseudo terminals, "+someTerminals+": %w", err)
	}
	return fmt.Errorf("open a terminal: %w", err)
}

// explainStart makes a sentence of why s did not start. It tells apart what
// execve's errors leave open.
func explainStart(s Spec, err error) error {
	switch {
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("start %s: the limit of processes is reached, end some of this user or raise the limit (%w): %w", s.Path, err, ErrExhausted)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("start %s: memory is short, end other programs (%w): %w", s.Path, err, ErrExhausted)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fmt.Errorf("start %s: too many files are open, end other sessions or raise the limit of open files (%w): %w", s.Path, err, ErrExhausted)
	}
	if s.Dir != "" {
		if fi, serr := os.Stat(s.Dir); serr != nil {
			return fmt.Errorf("start %s: its working directory: %w", s.Path, serr)
		} else if !fi.IsDir() {
			return fmt.Errorf("start %s: its working directory %s is no directory: %w", s.Path, s.Dir, err)
		}
	}
	fi, serr := os.Stat(s.Path)
	switch {
	case errors.Is(err, unix.ENOENT) && serr == nil:
		return fmt.Errorf("start %s: the interpreter that its first line names does not exist: %w", s.Path, err)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("start %s: this shell does not exist on the node: %w", s.Path, err)
	case errors.Is(err, unix.EACCES) && serr == nil && !fi.Mode().IsRegular():
		return fmt.Errorf("start %s: it is no file that could run: %w", s.Path, err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("start %s: the session's user may not run it (or not enter %q): %w", s.Path, s.Dir, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("start %s: only root may start it as another user: %w", s.Path, err)
	case errors.Is(err, unix.ENOEXEC):
		return fmt.Errorf("start %s: it is no program of this system: %w", s.Path, err)
	case errors.Is(err, unix.E2BIG):
		return fmt.Errorf("start %s: its arguments and environment are too large: %w", s.Path, err)
	}
	return fmt.Errorf("start %s: %w", s.Path, err)
}
