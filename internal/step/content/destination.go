package content

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	dirMode  = 0o700
	fileMode = 0o700 // also of data: scripts are among it
	maxName  = 255   // bytes of one name
)

// destination is where a step's files go. What is written stays below it,
// whatever names and links say.
type destination struct {
	name string // absolute; with a separator at the end if the step gave one
	root *os.Root
	// base is the file's name when destinationPath names a file; empty: it
	// names a directory.
	base string
	left Limits
}

// place opens the destination that destinationPath means: an absolute path as
// it is, any other below the command's downloads. The directory that takes the
// files is made.
func place(commandDir, given string) (*destination, error) {
	if strings.ContainsRune(given, 0) {
		return nil, errors.New("destinationPath holds a NUL character")
	}
	rooted, below := commandDir, filepath.Join("downloads", given)
	if filepath.IsAbs(given) {
		rooted, below = "", given
	} else if given != "" && !filepath.IsLocal(given) {
		return nil, fmt.Errorf("destinationPath %.200q leads out of the command's directory; give an absolute path or one without \"..\"", given)
	}
	d := &destination{name: filepath.Join(rooted, below)}
	asDirectory := given == "" || os.IsPathSeparator(given[len(given)-1]) || isDirectory(d.name)
	dir := below
	if !asDirectory {
		dir, d.base = filepath.Dir(below), filepath.Base(below)
	} else if given != "" && os.IsPathSeparator(given[len(given)-1]) {
		d.name += string(filepath.Separator)
	}
	var err error
	if d.root, err = openDir(rooted, dir); err != nil {
		return nil, fmt.Errorf("make the destination: %w%s", err, remedy(err))
	}
	return d, nil
}

func isDirectory(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// openDir makes and opens dir: below the directory rooted, out of which no link
// leads, or as an absolute path.
func openDir(rooted, dir string) (*os.Root, error) {
	if rooted == "" {
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return nil, err
		}
		return os.OpenRoot(dir)
	}
	above, err := os.OpenRoot(rooted)
	if err != nil {
		return nil, err
	}
	defer above.Close()
	if err := above.MkdirAll(dir, dirMode); err != nil {
		return nil, err
	}
	return above.OpenRoot(dir)
}

func (d *destination) close() { _ = d.root.Close() }

// directory makes the destination a directory even where it named a file that
// is not there: for sources that bring a tree.
func (d *destination) directory() error {
	if d.base == "" {
		return nil
	}
	if err := d.root.MkdirAll(d.base, dirMode); err != nil {
		return fmt.Errorf("make the destination: %w%s", err, remedy(err))
	}
	inner, err := d.root.OpenRoot(d.base)
	if err != nil {
		return fmt.Errorf("open the destination: %w", err)
	}
	d.close()
	d.root, d.base = inner, ""
	return nil
}

// file writes the one file of a source: under the name the destination gives,
// else under its own.
func (d *destination) file(name string, from io.Reader) error {
	if d.base != "" {
		return d.write(d.base, from)
	}
	return d.put(name, from)
}

// put writes a file whose name, with slashes, comes from outside.
func (d *destination) put(name string, from io.Reader) error {
	local := filepath.FromSlash(path.Clean(name))
	if err := d.allowed(name, local); err != nil {
		return err
	}
	if dir := filepath.Dir(local); dir != "." {
		if err := d.root.MkdirAll(dir, dirMode); err != nil {
			return fmt.Errorf("make the directory of %.300q: %w%s", name, err, remedy(err))
		}
	}
	return d.write(local, from)
}

// allowed refuses names that no file below the destination can have.
func (d *destination) allowed(name, local string) error {
	parts := strings.Split(filepath.ToSlash(local), "/")
	switch {
	case name == "" || local == "." || strings.ContainsRune(name, 0) || !filepath.IsLocal(local) || strings.HasPrefix(name, "/"):
		return fmt.Errorf("the source names a file %.300q, which would not lie below the destination", name)
	case len(parts) > d.left.Depth:
		return fmt.Errorf("the source has directories more than %d deep", d.left.Depth)
	}
	for _, e := range strings.Split(name, "/") {
		if e == ".." {
			return fmt.Errorf("the source names a file %.300q, which would not lie below the destination", name)
		}
		if len(e) > maxName {
			return fmt.Errorf("the source names a file %.40q…, whose name has %d bytes; at most %d are possible", e, len(e), maxName)
		}
	}
	return nil
}

// write writes a file whole or not at all, over one that is there.
func (d *destination) write(name string, from io.Reader) (err error) {
	if d.left.Files--; d.left.Files < 0 {
		return errors.New("the source has more files than one step may download")
	}
	if info, err := d.root.Lstat(name); err == nil && info.IsDir() {
		return fmt.Errorf("write %s: a directory of that name is in the way", name)
	}
	temporary := filepath.Join(filepath.Dir(name), ".download-"+rand.Text())
	f, err := d.root.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return fmt.Errorf("write %s: %w%s", name, err, remedy(err))
	}
	defer func() {
		if err != nil {
			_ = d.root.Remove(temporary)
			err = fmt.Errorf("write %s: %w%s", name, err, remedy(err))
		}
	}()
	n, err := io.Copy(f, io.LimitReader(from, d.left.Bytes+1))
	if d.left.Bytes -= n; err == nil && d.left.Bytes < 0 {
		err = errors.New("the content is larger than one step may download")
	}
	// A umask may have taken the right to execute away.
	if err = errors.Join(err, f.Chmod(fileMode), f.Close()); err != nil {
		return err
	}
	return d.root.Rename(temporary, name)
}

// remedy adds what to do about the errors of a file system.
func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return "; free space on that file system"
	case errors.Is(err, syscall.EROFS):
		return "; the file system is mounted read-only"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return "; a file is in the way"
	case errors.Is(err, fs.ErrPermission):
		return "; the agent may not write there"
	}
	return ""
}
