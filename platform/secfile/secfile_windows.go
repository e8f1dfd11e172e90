package secfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"ssmagent/internal/fsys"
)

// protected is the DACL of everything created. D: is the DACL. P protects it from
// what a parent would hand down. Then one entry in each pair of brackets, of six
// fields: A allows; OI hands the entry on to files (objects) below and CI to
// directories (containers); FA is full access to files; the two empty ones would
// name kinds of objects in a directory service; and who: SY is SYSTEM, BA are the
// built-in Administrators. Where no entry fits, access is denied.
const protected = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"

// usable is for programs: Built-in Users may Read and Execute (0x1200a9).
const usable = "(A;OICI;0x1200a9;;;BU)"

// named adds the sentinels of fsys to the system's error.
func named(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, windows.ERROR_DISK_FULL), errors.Is(err, windows.ERROR_HANDLE_DISK_FULL),
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED):
		return fmt.Errorf("%w (%w)", fsys.ErrNoSpace, err)
	case errors.Is(err, windows.ERROR_WRITE_PROTECT):
		return fmt.Errorf("%w (%w)", fsys.ErrReadOnly, err)
	}
	return err
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: named(err)}
}

// security is the security attributes of a new file or directory.
func (o osFS) security() (*windows.SecurityAttributes, error) {
	sddl := protected
	if o.user {
		u, err := windows.GetCurrentProcessToken().GetTokenUser()
		if err != nil {
			return nil, fmt.Errorf("find the invoking user: %w", err)
		}
		sddl += "(A;OICI;FA;;;" + u.User.Sid.String() + ")"
	}
	if o.everybody {
		sddl += usable
	}
	sd, err := windows.SecurityDescriptorFromString(sddl)
	if err != nil {
		return nil, fmt.Errorf("make a security descriptor: %w", err)
	}
	sa := &windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = uint32(unsafe.Sizeof(*sa))
	return sa, nil
}

// wide is a name for calls of Windows. From about 248 characters on they take
// only one that says by a prefix that it is long, unless the system is newer than
// Server 2016 and the runtime has asked it for more.
func wide(name string) (*uint16, error) {
	const longDir = 248
	if len(name) >= longDir && filepath.IsAbs(name) && !strings.HasPrefix(name, `\\`) {
		name = `\\?\` + filepath.Clean(name)
	}
	return windows.UTF16PtrFromString(name)
}

// OpenFile implements fsys.FS.
func (o osFS) OpenFile(name string, flag int, _ fs.FileMode) (fsys.File, error) {
	sa, err := o.security()
	if err != nil {
		return nil, pathError("open", name, err)
	}
	path, err := wide(name)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	var h windows.Handle
	err = retry(func() (err error) {
		h, err = windows.CreateFile(path, access(flag),
			windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, sa, disposition(flag),
			windows.FILE_ATTRIBUTE_NORMAL|windows.FILE_FLAG_OPEN_REPARSE_POINT|windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
		return err
	})
	if err != nil {
		return nil, pathError("open", name, err)
	}
	if err := settle(h, flag); err != nil {
		windows.CloseHandle(h)
		return nil, pathError("open", name, err)
	}
	return file{os.NewFile(uintptr(h), name)}, nil
}

func access(flag int) uint32 {
	var a uint32
	switch flag & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR) {
	case os.O_WRONLY:
		a = windows.GENERIC_WRITE
	case os.O_RDWR:
		a = windows.GENERIC_READ | windows.GENERIC_WRITE
	default:
		a = windows.GENERIC_READ
	}
	if flag&os.O_APPEND != 0 {
		// Without FILE_WRITE_DATA every write goes to the end.
		a = a&^windows.GENERIC_WRITE | windows.FILE_APPEND_DATA | windows.FILE_WRITE_ATTRIBUTES |
			windows.FILE_WRITE_EA | windows.STANDARD_RIGHTS_WRITE | windows.SYNCHRONIZE
	}
	return a
}

func disposition(flag int) uint32 {
	switch {
	case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return windows.CREATE_NEW
	case flag&os.O_CREATE != 0:
		return windows.OPEN_ALWAYS
	}
	return windows.OPEN_EXISTING
}

// settle refuses what is no regular file, then truncates if asked to: not
// before, for a link would be emptied at its other end.
func settle(h windows.Handle, flag int) error {
	var info windows.ByHandleFileInformation
	if t, err := windows.GetFileType(h); err != nil || t != windows.FILE_TYPE_DISK {
		return fsys.ErrIrregular
	}
	if err := windows.GetFileInformationByHandle(h, &info); err != nil {
		return err
	}
	if info.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 {
		return fsys.ErrLink
	}
	if info.FileAttributes&windows.FILE_ATTRIBUTE_DIRECTORY != 0 {
		return fsys.ErrIrregular
	}
	if flag&os.O_TRUNC != 0 {
		return windows.Ftruncate(h, 0)
	}
	return nil
}

// retry repeats what fails because somebody (a virus scanner, an indexer)
// holds the file for a moment, for a second at most.
func retry(do func() error) error {
	deadline := time.Now().Add(time.Second)
	pause := 2 * time.Millisecond
	for {
		err := do()
		busy := errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_LOCK_VIOLATION)
		if !busy || time.Now().After(deadline) {
			return err
		}
		<-time.After(pause)
		pause = min(2*pause, 100*time.Millisecond)
	}
}

// Mkdir implements fsys.FS.
func (o osFS) Mkdir(name string, _ fs.FileMode) error {
	sa, err := o.security()
	if err != nil {
		return pathError("mkdir", name, err)
	}
	path, err := wide(name)
	if err != nil {
		return pathError("mkdir", name, err)
	}
	if err := windows.CreateDirectory(path, sa); err != nil {
		return pathError("mkdir", name, err)
	}
	return nil
}

// Rename implements fsys.FS. It returns once the change is on disk.
func (osFS) Rename(oldname, newname string) error {
	from, err := wide(oldname)
	if err != nil {
		return pathError("rename", oldname, err)
	}
	to, err := wide(newname)
	if err != nil {
		return pathError("rename", newname, err)
	}
	err = retry(func() error {
		return windows.MoveFileEx(from, to, windows.MOVEFILE_REPLACE_EXISTING|windows.MOVEFILE_WRITE_THROUGH)
	})
	if err != nil {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: named(err)}
	}
	return nil
}

// Remove implements fsys.FS.
func (osFS) Remove(name string) error { return named(retry(func() error { return os.Remove(name) })) }

// ReadDir implements fsys.FS.
func (osFS) ReadDir(name string) ([]fs.DirEntry, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if info.Mode()&(fs.ModeSymlink|fs.ModeIrregular) != 0 {
		return nil, pathError("open", name, fsys.ErrLink)
	}
	d, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadDir(-1)
}

// Lstat implements fsys.FS.
func (osFS) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }

// SyncDir implements fsys.FS: NTFS keeps directory entries in its journal, and
// there is no call to flush a directory.
func (osFS) SyncDir(string) error { return nil }
