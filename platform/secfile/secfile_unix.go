//go:build unix

package secfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"ssmagent/internal/fsys"
)

// named adds the sentinels of fsys to the system's error.
func named(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w (%w)", fsys.ErrNoSpace, err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w (%w)", fsys.ErrReadOnly, err)
	}
	return err
}

func pathError(op, name string, err error) error {
	if errors.Is(err, unix.ELOOP) {
		err = fmt.Errorf("%w (%w)", fsys.ErrLink, err)
	}
	return &fs.PathError{Op: op, Path: name, Err: named(err)}
}

// OpenFile implements fsys.FS.
func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (fsys.File, error) {
	// A pipe in the way must not block us; whether it is a regular file is
	// known only once it is open, so truncation waits for that.
	sys := flag&^(os.O_TRUNC|os.O_CREATE|os.O_EXCL) | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	fd, created, err := openOrCreate(name, sys, flag, perm)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	if err := settle(fd, created, flag, perm); err != nil {
		unix.Close(fd)
		return nil, pathError("open", name, err)
	}
	return file{os.NewFile(uintptr(fd), name)}, nil
}

// openOrCreate tells whether the file is new, which O_CREAT alone does not.
func openOrCreate(name string, sys, flag int, perm fs.FileMode) (fd int, created bool, err error) {
	for range 100 { // another process may create and remove between our two tries
		if flag&(os.O_CREATE|os.O_EXCL) != os.O_CREATE|os.O_EXCL {
			fd, err = open(name, sys, 0)
			if !errors.Is(err, unix.ENOENT) || flag&os.O_CREATE == 0 {
				return fd, false, err
			}
		}
		fd, err = open(name, sys|unix.O_CREAT|unix.O_EXCL, uint32(perm.Perm()))
		if !errors.Is(err, unix.EEXIST) || flag&os.O_EXCL != 0 {
			return fd, true, err
		}
	}
	return -1, false, err
}

func open(name string, flag int, perm uint32) (int, error) {
	for {
		fd, err := unix.Open(name, flag|largeFile, perm)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// settle checks what was opened and gives it its rights and size.
func settle(fd int, created bool, flag int, perm fs.FileMode) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fsys.ErrIrregular
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return err
	}
	if created && fs.FileMode(st.Mode&0o777) != perm.Perm() {
		// The umask can only have taken rights away, so nobody had more meanwhile.
		return unix.Fchmod(fd, uint32(perm.Perm()))
	}
	if flag&os.O_TRUNC != 0 && st.Size != 0 {
		return unix.Ftruncate(fd, 0)
	}
	return nil
}

// Mkdir implements fsys.FS.
func (osFS) Mkdir(name string, perm fs.FileMode) error {
	if err := unix.Mkdir(name, uint32(perm.Perm())); err != nil {
		return pathError("mkdir", name, err)
	}
	fd, err := open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EACCES) {
		return nil // rights without reading for ourselves: only the umask is not undone
	}
	if err != nil {
		return pathError("mkdir", name, err)
	}
	defer unix.Close(fd)
	if err := unix.Fchmod(fd, uint32(perm.Perm())); err != nil {
		return pathError("mkdir", name, err)
	}
	return nil
}

// Rename implements fsys.FS. A link at newname is replaced, not followed.
func (osFS) Rename(oldname, newname string) error {
	if err := unix.Rename(oldname, newname); err != nil {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: named(err)}
	}
	return nil
}

// Remove implements fsys.FS.
func (osFS) Remove(name string) error { return named(os.Remove(name)) }

// RemoveAll removes a tree by directory descriptors, so that a tree that is
// changed meanwhile cannot lead it elsewhere.
func (osFS) RemoveAll(name string) error { return named(os.RemoveAll(name)) }

// ReadDir implements fsys.FS.
func (osFS) ReadDir(name string) ([]fs.DirEntry, error) {
	d, err := openDir(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadDir(-1)
}

func openDir(name string) (*os.File, error) {
	fd, err := open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == nil {
		return os.NewFile(uintptr(fd), name), nil
	}
	if errors.Is(err, unix.ENOTDIR) { // what O_DIRECTORY with O_NOFOLLOW says of a link
		if info, lerr := os.Lstat(name); lerr == nil && info.Mode()&fs.ModeSymlink != 0 {
			err = unix.ELOOP
		}
	}
	return nil, pathError("open", name, err)
}

// Lstat implements fsys.FS.
func (osFS) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }

// SyncDir implements fsys.FS.
func (osFS) SyncDir(name string) error {
	d, err := openDir(name)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some network and container file systems know no fsync of directories.
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return named(err)
	}
	return nil
}
