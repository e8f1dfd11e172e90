//go:build unix

package users

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	sudoersDir  = "sudoers.d"
	sudoersFile = "ssm-agent-users"
	// sudoersTemp is one that sudo passes over, for the dots in it.
	sudoersTemp = ".ssm-agent-users.new"
	sudoersMode = 0o440
	// sudoers is the content that stock agents give it.
	sudoers = "# User rules for " + Name + "\n" + Name + " ALL=(ALL) NOPASSWD:ALL\n"
)

// settleSudo writes the rules of sudo, once: a file that is there is an
// administrator's or another agent's, and one that is gone again was removed.
func (l *Local) settleSudo(ctx context.Context, w Wish, r *record) error {
	if !w.Sudo || r.Sudoers {
		return nil
	}
	visudo := l.tool("visudo")
	if r.WithoutSudo = visudo == ""; r.WithoutSudo {
		return nil
	}
	file := filepath.Join(l.sys.etc, sudoersDir, sudoersFile)
	_, err := l.fs.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		err = l.writeSudoers(ctx, visudo, file)
	}
	if err != nil {
		return fmt.Errorf("%w; or set ssmagent.SessionUser.Sudo of the configuration to false", err)
	}
	r.Sudoers = true
	return nil
}

// writeSudoers makes the file: it has its rights from its first moment on,
// under a name that sudo does not read, and gets its own name when visudo finds
// it right. One that somebody made meanwhile stays.
func (l *Local) writeSudoers(ctx context.Context, visudo, file string) error {
	dir := filepath.Dir(file)
	temp := filepath.Join(dir, sudoersTemp)
	if err := l.fs.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a process that was killed
		return err
	}
	defer func() { _ = l.fs.Remove(temp) }()
	f, err := l.fs.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, sudoersMode)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(sudoers))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", temp, err)
	}
	if err := l.do(ctx, visudo, "-cf", temp); err != nil {
		return fmt.Errorf("%s is not what this system's sudo takes: %w", temp, err)
	}
	err = renameNew(temp, file)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) { // a file system or a kernel that cannot
		err = l.fs.Rename(temp, file)
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("rename %s to %s: %w", temp, file, err)
	}
	return l.fs.SyncDir(dir)
}
