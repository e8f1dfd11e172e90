// Package fsys is the file-system seam: the few operations that durable state
// needs, so that a test can put a disk under them that forgets every byte and
// directory entry that was not synced. The real one is platform/secfile.
package fsys

import (
	"io"
	"io/fs"
)

// File is an open file.
type File interface {
	io.Reader
	io.Writer
	io.Closer
	Sync() error
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	Seek(offset int64, whence int) (int64, error)
}

// FS is what durable state needs of an operating system. Symbolic links and
// reparse points in the last path element are refused, never followed.
// Implementations give new files exactly the permissions asked for, whatever
// the umask (on Windows: SYSTEM and Administrators, unless -root is in use).
type FS interface {
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Mkdir(name string, perm fs.FileMode) error
	Rename(oldname, newname string) error // replaces newname
	Remove(name string) error
	ReadDir(name string) ([]fs.DirEntry, error)
	Lstat(name string) (fs.FileInfo, error)
	// SyncDir makes the entries of a directory durable. Where the system
	// has no such thing (Windows) it does nothing.
	SyncDir(name string) error
}
