// Package secfile is the operating system's side of fsys: files born with
// their rights, links refused, directories synced.
package secfile

import "ssmagent/internal/fsys"

// OS returns the real file system. On Windows what it creates is for SYSTEM
// and Administrators only.
func OS() fsys.FS { return osFS{} }

// ForUser returns the real file system for use below -root: on Windows what it
// creates is for the invoking user too. On Linux it equals OS.
func ForUser() fsys.FS { return osFS{user: true} }

// Programs returns the real file system for programs: on Windows everybody may read
// and run what it creates, and none but SYSTEM and the Administrators change it.
func Programs() fsys.FS { return osFS{everybody: true} }
