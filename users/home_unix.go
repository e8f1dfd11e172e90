//go:build unix

package users

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// keepHome looks at a home that is there already, of an account that was
// removed: the new one gets the user id of its files, for which nothing has to
// be given away. One that is somebody else's is refused.
func (l *Local) keepHome(ctx context.Context, w Wish) (Wish, error) {
	home := l.homeOf(w)
	var st unix.Stat_t
	err := unix.Stat(home, &st)
	switch {
	case errors.Is(err, unix.ENOENT):
		return w, nil
	case err != nil:
		return w, fmt.Errorf("the home %s: %w", home, err)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return w, fmt.Errorf("%s, which is to be its home, is no directory: move it away", home)
	case st.Uid == 0 && prepared(home), w.UID > 0 && uint32(w.UID) == st.Uid:
		return w, nil
	}
	owner := fmt.Sprintf("user id %d", st.Uid)
	e, taken, err := l.owner(ctx, st.Uid)
	if err != nil {
		return w, err
	}
	if taken {
		owner = e.name
	}
	if taken || w.UID > 0 {
		return w, fmt.Errorf("the home %s is there already and belongs to %s: move it away, or set ssmagent.SessionUser.Home of the configuration to another place", home, owner)
	}
	w.UID = int(st.Uid)
	return w, nil
}

// homeMode is that of a home that no tool made.
const homeMode = 0o700

// settleHome sees that the account has a home of its own. Root's directory is
// handed over when we have just made it or it was prepared; no other is.
func (l *Local) settleHome(a Account) error {
	var st unix.Stat_t
	made := false
	err := unix.Stat(a.Home, &st)
	if errors.Is(err, unix.ENOENT) {
		if err = unix.Mkdir(a.Home, homeMode); err == nil {
			made = true
			err = unix.Stat(a.Home, &st)
		}
	}
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("the home %s: the disk is full, free some space there: %w", a.Home, err)
	case err != nil:
		return fmt.Errorf("the home %s: %w", a.Home, err)
	case st.Uid == a.Principal.UID:
		return nil
	case st.Uid != 0 || !made && !prepared(a.Home):
		return fmt.Errorf("its home %s belongs to user id %d: give it to %s (chown -R) or move it away", a.Home, st.Uid, a.Name)
	}
	d, err := os.OpenFile(a.Home, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("the home %s: %w", a.Home, err)
	}
	defer d.Close()
	if err := d.Chown(int(a.Principal.UID), int(a.Principal.GID)); err != nil {
		return fmt.Errorf("the home %s: %w", a.Home, err)
	}
	return nil
}

// prepared says whether root's directory is for the account: named as it and
// empty, as a tool leaves it that was killed, or an administrator. Others, such
// as /var/empty, are for all.
func prepared(dir string) bool {
	if filepath.Base(dir) != Name {
		return false
	}
	d, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer d.Close()
	_, err = d.Readdirnames(1)
	return errors.Is(err, io.EOF)
}
