package agent_test

import (
	"errors"
	"io/fs"
	"os"

	"ssmagent/internal/fsys"
)

// tap is a file system that asks before each mutating operation. Kinds are
// those of fsystest.Op.
type tap struct {
	fsys.FS
	before func(kind, name string) error
}

// errSkip makes a tap leave an operation out and report success.
var errSkip = errors.New("leave it out")

func (t tap) do(kind, name string, op func() error) error {
	err := t.before(kind, name)
	switch {
	case errors.Is(err, errSkip):
		return nil
	case err != nil:
		return err
	}
	return op()
}

func (t tap) OpenFile(name string, flag int, perm fs.FileMode) (fsys.File, error) {
	if flag&(os.O_CREATE|os.O_TRUNC) != 0 {
		if err := t.before("create", name); err != nil {
			return nil, err
		}
	}
	f, err := t.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return tappedFile{f, t, name}, nil
}

func (t tap) Mkdir(name string, perm fs.FileMode) error {
	return t.do("mkdir", name, func() error { return t.FS.Mkdir(name, perm) })
}

func (t tap) Rename(from, to string) error {
	return t.do("rename", to, func() error { return t.FS.Rename(from, to) })
}

func (t tap) Remove(name string) error {
	return t.do("remove", name, func() error { return t.FS.Remove(name) })
}

func (t tap) SyncDir(name string) error {
	return t.do("syncdir", name, func() error { return t.FS.SyncDir(name) })
}

type tappedFile struct {
	fsys.File
	tap  tap
	name string
}

func (f tappedFile) Write(b []byte) (int, error) {
	if err := f.tap.before("write", f.name); err != nil {
		return 0, err
	}
	return f.File.Write(b)
}

func (f tappedFile) Sync() error { return f.tap.do("sync", f.name, f.File.Sync) }

func (f tappedFile) Truncate(size int64) error {
	return f.tap.do("truncate", f.name, func() error { return f.File.Truncate(size) })
}
