// Package archive unpacks zip files that nobody vouches for: below one
// directory, regular files and directories only, within bounds that are checked
// before anything is written.
package archive

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Limits bound what one archive may hold.
type Limits struct {
	Entries int
	Bytes   int64 // of all files, unpacked
	Depth   int   // of directories
}

// DefaultLimits are those for packages.
func DefaultLimits() Limits { return Limits{Entries: 100_000, Bytes: 4 << 30, Depth: 64} }

const (
	maxName   = 255 // bytes of one name
	maxPath   = 4096
	encrypted = 1 // flag of an entry
	dirMode   = 0o700
	// directoryBytes is how long the list of an entry's name and attributes
	// is at the most on average; it bounds what is read of a list that is
	// longer than it may be.
	directoryBytes = 320
)

// Unzip unpacks the archive of size bytes below root, which is empty. What it
// has written when it fails is for the caller to remove.
func Unzip(root *os.Root, from io.ReaderAt, size int64, limits Limits) error {
	list := &counted{ReaderAt: from, left: int64(limits.Entries)*directoryBytes + 1<<17}
	r, err := zip.NewReader(list, size)
	switch {
	case errors.Is(err, errLong) || err == nil && len(r.File) > limits.Entries:
		return fmt.Errorf("the archive has more than %d entries", limits.Entries)
	case err != nil && !errors.Is(err, zip.ErrInsecurePath):
		return fmt.Errorf("it is no zip archive, or a damaged one: %w", err)
	}
	list.open = true
	names := make([]string, len(r.File))
	var declared uint64
	for i, f := range r.File {
		if names[i], err = check(f, limits); err != nil {
			return err
		}
		if declared += f.UncompressedSize64; f.UncompressedSize64 > uint64(limits.Bytes) || declared > uint64(limits.Bytes) {
			return fmt.Errorf("the archive declares more than %d bytes of content", limits.Bytes)
		}
	}
	for i, f := range r.File {
		if err := extract(root, f, names[i]); err != nil {
			return err
		}
	}
	return nil
}

// errLong: the list of entries is longer than the archive may have.
var errLong = errors.New("the list is too long")

// counted bounds what is read until it is open.
type counted struct {
	io.ReaderAt
	left int64
	open bool
}

func (c *counted) ReadAt(b []byte, off int64) (int, error) {
	if c.open {
		return c.ReaderAt.ReadAt(b, off)
	}
	if c.left -= int64(len(b)); c.left < 0 {
		return 0, errLong
	}
	return c.ReaderAt.ReadAt(b, off)
}

// check refuses an entry that is not a plain file or directory below the
// target, and returns its name there. Archives of Windows may part names by
// backslashes.
func check(f *zip.File, limits Limits) (name string, err error) {
	given := strings.ReplaceAll(f.Name, `\`, "/")
	name = path.Clean(given)
	parts := strings.Split(name, "/")
	mode := f.Mode()
	switch {
	case len(f.Name) > maxPath:
		return "", fmt.Errorf("the archive has an entry whose name has %d bytes; at most %d are possible", len(f.Name), maxPath)
	case given == "" || strings.ContainsRune(given, 0) || strings.HasPrefix(given, "/") || has(given, "..") || !filepath.IsLocal(filepath.FromSlash(name)):
		return "", fmt.Errorf("the archive has an entry %.200q, which would not lie below its directory", f.Name)
	case mode&fs.ModeSymlink != 0:
		return "", fmt.Errorf("the archive has a symbolic link %.200q; links are not unpacked", f.Name)
	case mode.Type() != 0 && !mode.IsDir():
		return "", fmt.Errorf("the archive has %.200q, which is a device, a pipe or a socket; only files and directories are unpacked", f.Name)
	case mode&(fs.ModeSetuid|fs.ModeSetgid) != 0:
		return "", fmt.Errorf("the archive has %.200q with the set-user-ID or set-group-ID bit; such files are not unpacked", f.Name)
	case f.Flags&encrypted != 0:
		return "", fmt.Errorf("the archive has %.200q encrypted; packages are not", f.Name)
	case len(parts) > limits.Depth:
		return "", fmt.Errorf("the archive has directories more than %d deep", limits.Depth)
	}
	for _, p := range parts {
		if len(p) > maxName {
			return "", fmt.Errorf("the archive has an entry %.40q…, whose name has %d bytes; at most %d are possible", p, len(p), maxName)
		}
	}
	return filepath.FromSlash(name), nil
}

func has(name, element string) bool {
	for p := range strings.SplitSeq(name, "/") {
		if p == element {
			return true
		}
	}
	return false
}

// extract writes one entry, durably but for the names of directories.
func extract(root *os.Root, f *zip.File, name string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("unpack %.200q: %w", f.Name, err)
		}
	}()
	if f.Mode().IsDir() || strings.HasSuffix(f.Name, "/") {
		return root.MkdirAll(name, dirMode)
	}
	if err := root.MkdirAll(filepath.Dir(name), dirMode); err != nil {
		return err
	}
	from, err := f.Open()
	if err != nil {
		return err
	}
	defer from.Close()
	mode := f.Mode().Perm()&0o755 | 0o600
	to, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if errors.Is(err, fs.ErrExist) {
		return errors.New("the archive has it twice, or as a file and a directory")
	}
	if err != nil {
		return err
	}
	n, err := io.Copy(to, io.LimitReader(from, int64(f.UncompressedSize64)+1))
	if err == nil && n != int64(f.UncompressedSize64) {
		err = fmt.Errorf("it has not the %d bytes that the archive declares", f.UncompressedSize64)
	}
	if err == nil {
		err = to.Chmod(mode) // a umask may have taken the right to execute away
	}
	if err == nil {
		err = to.Sync()
	}
	return errors.Join(err, to.Close())
}
