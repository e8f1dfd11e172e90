// Package secfile is the operating system's side of fsys: files born with
// their rights, links refused, directories synced.
package secfile

import (
	"os"

	"ssmagent/internal/fsys"
)

// OS returns the real file system. On Windows what it creates is for SYSTEM
// and Administrators only.
func OS() fsys.FS { return osFS{} }

// ForUser returns the real file system for use below -root: on Windows what it
// creates is for the invoking user too. On Linux it equals OS.
func ForUser() fsys.FS { return osFS{user: true} }

// Programs returns the real file system for programs: on Windows everybody may read
// and run what it creates, and none but SYSTEM and the Administrators change it.
func Programs() fsys.FS { return osFS{everybody: true} }

type osFS struct{ user, everybody bool }

// file gives the errors of an open file their names.
type file struct{ *os.File }

func (f file) Write(b []byte) (int, error) { n, err := f.File.Write(b); return n, named(err) }
func (f file) Sync() error                 { return named(f.File.Sync()) }
func (f file) Truncate(size int64) error   { return named(f.File.Truncate(size)) }
