package users

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountedReadOnly is the flag of such a file system.
const mountedReadOnly = unix.ST_RDONLY

// renameNew renames unless the new name is taken.
func renameNew(from, to string) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
}

func (l *Local) self() (Account, error) {
	a := Account{Home: os.Getenv("HOME")} // of an id without an account
	uid := uint32(os.Geteuid())
	e, ok, err := l.fromFile(func(e entry) bool { return e.uid == uid })
	if err != nil {
		return Account{}, err
	}
	if ok {
		a.Name, a.Home, a.Shell = e.name, e.home, e.shell
	}
	return a, nil
}

// PATH of login shells where login.defs names none, for root and for others.
const (
	rootPath  = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	otherPath = "/usr/local/bin:/usr/bin:/bin"
)

func (l *Local) loginPath(a Account) string {
	name, path := "ENV_PATH", otherPath
	if !a.Principal.Set && os.Geteuid() == 0 {
		name, path = "ENV_SUPATH", rootPath
	}
	if text, err := l.text("login.defs"); err == nil {
		path = cmp.Or(strings.TrimPrefix(assigned(text, name), "PATH="), path)
	}
	return path
}

// homeOf is where the account's home is going to be.
func (l *Local) homeOf(w Wish) string {
	if w.Home != "" {
		return w.Home
	}
	base := "/home"
	if text, err := l.text("default/useradd"); err == nil && filepath.IsAbs(assigned(text, "HOME")) {
		base = assigned(text, "HOME")
	}
	return filepath.Join(base, Name)
}

// entry finds an account in the machine's own file, which name services come
// after.
func (l *Local) entry(ctx context.Context, name string) (e entry, local bool, err error) {
	e, local, err = l.fromFile(func(e entry) bool { return e.name == name })
	if err == nil && !local {
		e, err = l.fromServices(ctx, name)
	}
	return e, local, err
}

// owner is the account that has a user id.
func (l *Local) owner(ctx context.Context, uid uint32) (entry, bool, error) {
	e, ok, err := l.fromFile(func(e entry) bool { return e.uid == uid })
	if err != nil || ok {
		return e, ok, err
	}
	e, err = l.fromServices(ctx, fmt.Sprint(uid))
	if errors.Is(err, ErrUnknown) {
		return e, false, nil
	}
	return e, err == nil, err
}

// fromFile finds the entry that is wanted in the machine's own file.
func (l *Local) fromFile(wanted func(entry) bool) (e entry, ok bool, err error) {
	err = l.read("passwd", func(r io.Reader) error {
		e, ok, err = find(r, parseEntry, wanted)
		return err
	})
	return e, ok, err
}

// Exit codes of getent.
const getentUnknown = 2

// fromServices asks all name services.
func (l *Local) fromServices(ctx context.Context, name string) (entry, error) {
	getent := l.tool("getent")
	if getent == "" {
		return entry{}, ErrUnknown // a system without has files only
	}
	out, code, err := l.ask(ctx, getent, "passwd", name)
	if err != nil {
		return entry{}, err
	}
	e, ok := parseEntry(strings.TrimSuffix(out, "\n"))
	switch {
	case code == getentUnknown:
		return entry{}, ErrUnknown
	case code != 0 || !ok:
		return entry{}, failure("getent", code, out)
	case isNumber(name) && e.name != name:
		return entry{}, ErrUnknown // it was taken for an id
	}
	return e, nil
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

// groups are the ids of all groups of e.
func (l *Local) groups(ctx context.Context, e entry, local bool) (ids []uint32, err error) {
	nsswitch, err := l.text("nsswitch.conf")
	if err != nil {
		return nil, err
	}
	id := l.tool("id")
	if local && filesOnly(nsswitch) || id == "" {
		err := l.read("group", func(r io.Reader) error {
			ids, err = memberships(r, e)
			return err
		})
		if ids == nil {
			ids = []uint32{e.gid}
		}
		return ids, err
	}
	return l.askID(ctx, id, e)
}
