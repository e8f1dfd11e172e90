//go:build unix

package users

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

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

func (l *Local) lookup(ctx context.Context, name string) (Account, error) {
	if !ValidName(name) {
		return Account{}, fmt.Errorf("%.64q: %w", name, ErrUnknown)
	}
	e, local, err := l.entry(ctx, name)
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

// askID has the program id tell the groups of e.
func (l *Local) askID(ctx context.Context, id string, e entry) ([]uint32, error) {
	out, code, err := l.ask(ctx, id, "-G", e.name)
	if err != nil {
		return nil, err
	}
	ids, err := parseIDs(out)
	if err != nil || code != 0 || len(ids) == 0 {
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
