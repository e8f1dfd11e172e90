// Package secfile is the operating system's side of fsys: files born with
// their rights, links refused, directories synced.
package secfile

import "ssmagent/internal/fsys"

// OS returns the real file system.
func OS() fsys.FS { return osFS{} }
