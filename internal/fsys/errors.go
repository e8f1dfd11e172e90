package fsys

import "errors"

// Sentinels of an FS. Implementations wrap them together with the system's own
// error, so that the cause stays visible.
var (
	// ErrLink refuses a symbolic link or reparse point.
	ErrLink = errors.New("is a symbolic link or reparse point, which is never followed here; remove it")
	// ErrIrregular refuses devices, sockets, pipes, and directories where a file is meant.
	ErrIrregular = errors.New("is not a regular file")
	// ErrNoSpace says that the disk or the quota is used up.
	ErrNoSpace = errors.New("the disk is full; free some space")
	// ErrReadOnly says that the file system takes no writes.
	ErrReadOnly = errors.New("the file system is read-only; mount it writable")
	// ErrTooLarge says that a file or record is larger than its bound.
	ErrTooLarge = errors.New("is larger than allowed")
	// ErrDamaged says that bytes which had been durable are no longer what was written.
	ErrDamaged = errors.New("is damaged")
	// ErrTooDeep refuses a directory tree nested beyond reason.
	ErrTooDeep = errors.New("is nested too deeply")
)
