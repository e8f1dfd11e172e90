package users

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ssmagent/platform/proc"
)

// system is where a system has its accounts.
type system struct {
	etc  string // directory of its account files
	path string // where its tools are, as PATH has it
}

func thisSystem() system {
	return system{etc: "/etc", path: "/usr/sbin:/usr/bin:/sbin:/bin"}
}

func switches() bool { return os.Geteuid() == 0 }

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

func (l *Local) lookup(ctx context.Context, name string) (Account, error) {
	if !ValidName(name) {
		return Account{}, fmt.Errorf("%.64q: %w", name, ErrUnknown)
	}
	e, local, err := l.fromFile(func(e entry) bool { return e.name == name })
	if err == nil && !local {
		e, err = l.fromServices(ctx, name)
	}
	if err != nil {
		return Account{}, fmt.Errorf("look up the account %s: %w", name, err)
	}
	if e.uid == 0 || e.gid == 0 {
		return Account{}, fmt.Errorf("the account %s: %w", name, ErrRoot)
	}
	groups, err := l.groups(ctx, e, local)
	if err != nil {
		return Account{}, fmt.Errorf("look up the groups of the account %s: %w", name, err)
	}
	return Account{Name: e.name, Home: e.home, Shell: e.shell, Principal: proc.Principal{Set: true, UID: e.uid, GID: e.gid, Groups: groups}}, nil
}

// fromFile finds the entry that is wanted in the machine's own file, which name
// services come after.
func (l *Local) fromFile(wanted func(entry) bool) (e entry, ok bool, err error) {
	err = l.read("passwd", func(r io.Reader) error {
		e, ok, err = find(r, parseEntry, wanted)
		return err
	})
	return e, ok, err
}

// read has do read a file of etc, which may be missing.
func (l *Local) read(name string, do func(io.Reader) error) error {
	f, err := os.Open(filepath.Join(l.sys.etc, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := do(f); err != nil {
		return fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return nil
}

// text is a small file of etc; empty when there is none.
func (l *Local) text(name string) (text string, err error) {
	err = l.read(name, func(r io.Reader) error {
		b, err := io.ReadAll(io.LimitReader(r, maxLine))
		text = string(b)
		return err
	})
	return text, err
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
	out, code, err := l.ask(ctx, id, "-G", e.name)
	if err != nil {
		return nil, err
	}
	if ids, err = parseIDs(out); err != nil || code != 0 || len(ids) == 0 {
		return nil, failure("id", code, out)
	}
	return ids, nil
}

// enters says whether the account may change into dir, as far as its mode tells.
func (a Account) enters(dir string) bool {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return false
	}
	if !a.Principal.Set || a.Principal.UID == 0 {
		return unix.Access(dir, unix.X_OK) == nil
	}
	switch member := a.Principal.GID == st.Gid || contains(a.Principal.Groups, st.Gid); {
	case a.Principal.UID == st.Uid:
		return st.Mode&unix.S_IXUSR != 0
	case member:
		return st.Mode&unix.S_IXGRP != 0
	}
	return st.Mode&unix.S_IXOTH != 0
}
