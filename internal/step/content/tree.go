package content

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// measure holds the files below a directory, which another program wrote, to
// the limits.
func (d *destination) measure(dir string) error {
	return fs.WalkDir(d.root.FS(), filepath.ToSlash(dir), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if d.left.Files--; d.left.Files < 0 {
			return errors.New("the repository has more files than one step may download")
		}
		if d.left.Bytes -= info.Size(); d.left.Bytes < 0 {
			return errors.New("the repository is larger than one step may download")
		}
		return nil
	})
}

// move moves what is in the directory from into the directory to, over what is
// there: files are replaced, directories are filled, at the top .git is new.
// Ordinary files become private to the agent's user, as all that is downloaded.
func (d *destination) move(from, to string, top bool) error {
	entries, err := fs.ReadDir(d.root.FS(), filepath.ToSlash(from))
	if err != nil {
		return err
	}
	for _, e := range entries {
		source, target := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		if err := d.settle(source, target, e, top); err != nil {
			return fmt.Errorf("put %s into the destination: %w%s", e.Name(), err, remedy(err))
		}
	}
	return nil
}

func (d *destination) settle(source, target string, e fs.DirEntry, top bool) error {
	there, err := d.root.Lstat(target)
	exists := err == nil
	switch {
	case e.IsDir() && exists && there.IsDir() && !(top && e.Name() == ".git"):
		return d.move(source, target, false)
	case e.IsDir() && exists && !there.IsDir():
		if err := d.root.Remove(target); err != nil {
			return err
		}
	case exists && there.IsDir():
		if !e.IsDir() {
			return errors.New("a directory of that name is in the way")
		}
		if err := d.root.RemoveAll(target); err != nil {
			return err
		}
	}
	if err := d.private(source, e, top); err != nil {
		return err
	}
	return d.root.Rename(source, target)
}

// private sets the modes of a file, or of all below a directory; what is in
// .git is git's own.
func (d *destination) private(name string, e fs.DirEntry, top bool) error {
	if e.Type()&os.ModeSymlink != 0 {
		return nil
	}
	if top && e.Name() == ".git" {
		return d.root.Chmod(name, dirMode)
	}
	return fs.WalkDir(d.root.FS(), filepath.ToSlash(name), func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.Type()&os.ModeSymlink != 0 {
			return err
		}
		return d.root.Chmod(filepath.FromSlash(p), fileMode)
	})
}
