package fsys

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	tempSuffix = ".tmp"
	// maxDepth bounds RemoveAll and MkdirAll.
	maxDepth = 128
)

// WriteFile makes name hold exactly data, durably and at once: after a crash
// the file is the old one or the new one, and after a nil return the new one.
// The file has perm from its first moment on.
func WriteFile(f FS, name string, data []byte, perm fs.FileMode) error {
	return Replace(f, name, perm, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// IsTemp says whether base is the name of an unfinished WriteFile, which a
// crash may leave behind and which may be removed.
func IsTemp(base string) bool {
	return strings.HasPrefix(base, ".") && strings.HasSuffix(base, tempSuffix)
}

// Replace is WriteFile with the content written by fill.
func Replace(f FS, name string, perm fs.FileMode, fill func(io.Writer) error) error {
	dir, base := filepath.Split(name)
	if base == "" || base == "." || base == ".." {
		return fmt.Errorf("write %q: not a file name", name)
	}
	temp := filepath.Join(dir, tempName(base))
	if err := writeTemp(f, temp, perm, fill); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := f.Rename(temp, name); err != nil {
		return fmt.Errorf("write %s: %w", name, errors.Join(err, f.Remove(temp)))
	}
	if err := f.SyncDir(filepath.Dir(name)); err != nil {
		return fmt.Errorf("write %s: sync its directory: %w", name, err)
	}
	return nil
}

func tempName(base string) string {
	var r [6]byte
	rand.Read(r[:]) // never fails (crypto/rand)
	// The base is cut so that the whole stays below the usual 255 bytes.
	return "." + base[:min(len(base), 200)] + "." + hex.EncodeToString(r[:]) + tempSuffix
}

func writeTemp(f FS, temp string, perm fs.FileMode, fill func(io.Writer) error) (err error) {
	w, err := f.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(f.Remove(temp)))
		}
	}()
	if err := fill(w); err != nil {
		return errors.Join(err, w.Close())
	}
	if err := w.Sync(); err != nil {
		return errors.Join(fmt.Errorf("sync: %w", err), w.Close())
	}
	return w.Close()
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ReadFile returns the content of name, which may be at most limit bytes; a
// longer one is ErrTooLarge.
func ReadFile(f FS, name string, limit int64) ([]byte, error) {
	r, err := f.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: file %w: more than %d bytes", name, ErrTooLarge, limit)
	}
	return data, nil
}

// MkdirAll makes dir and the directories above it that are missing, each
// durable and with perm. What exists keeps its permissions; dir itself must
// not be a link.
func MkdirAll(f FS, dir string, perm fs.FileMode) error {
	dir = filepath.Clean(dir)
	info, err := f.Lstat(dir)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil && info.Mode()&(fs.ModeSymlink|fs.ModeIrregular) != 0:
		return fmt.Errorf("make directory %s: it %w", dir, ErrLink)
	case err == nil:
		return fmt.Errorf("make directory %s: a file is in the way; move it", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("make directory %s: %w", dir, err)
	}
	return mkdirMissing(f, dir, perm, 0)
}

// SettleDir is MkdirAll for a directory that promises hang on: it is durable
// also where a process made it that was killed before it could sync the entry.
func SettleDir(f FS, dir string, perm fs.FileMode) error {
	if err := MkdirAll(f, dir, perm); err != nil {
		return err
	}
	return syncEntryOf(f, dir)
}

// syncEntryOf makes the name of dir durable in its parent, where that can be
// opened at all: what lies above our own directories may be a link or closed to us.
func syncEntryOf(f FS, dir string) error {
	err := f.SyncDir(filepath.Dir(dir))
	if err == nil || errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrLink) {
		return nil
	}
	return fmt.Errorf("sync the directory above %s: %w", dir, err)
}

func mkdirMissing(f FS, dir string, perm fs.FileMode, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("make directory %s: it %w", dir, ErrTooDeep)
	}
	parent := filepath.Dir(dir)
	err := f.Mkdir(dir, perm)
	if err == nil { // the parent was there, and who made it may have been killed
		if err := syncEntryOf(f, parent); err != nil {
			return err
		}
	}
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := mkdirMissing(f, parent, perm, depth+1); err != nil {
			return err
		}
		err = f.Mkdir(dir, perm)
	}
	// Somebody else may have been faster; its entry is made durable all the same.
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make directory %s: %w", dir, err)
	}
	if err != nil {
		if info, lerr := f.Lstat(dir); lerr != nil || !info.IsDir() {
			return fmt.Errorf("make directory %s: %w", dir, err)
		}
	}
	if err := f.SyncDir(parent); err != nil {
		return fmt.Errorf("make directory %s: sync its parent: %w", dir, err)
	}
	return nil
}

// RemoveAll removes dir and everything in it; links in it are removed, not
// followed. A missing dir is no error. The removal is durable only after a
// SyncDir of the parent. An FS with a RemoveAll method of its own (which can
// be safer against a tree that changes meanwhile) is asked instead.
func RemoveAll(f FS, dir string) error {
	if r, ok := f.(interface{ RemoveAll(name string) error }); ok {
		return r.RemoveAll(dir)
	}
	return removeAll(f, dir, 0)
}

func removeAll(f FS, name string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("remove %s: it %w", name, ErrTooDeep)
	}
	info, err := f.Lstat(name)
	if err != nil {
		return ignoreMissing(err)
	}
	if info.IsDir() {
		entries, err := f.ReadDir(name)
		if err != nil {
			return ignoreMissing(err)
		}
		for _, e := range entries {
			if err := removeAll(f, filepath.Join(name, e.Name()), depth+1); err != nil {
				return err
			}
		}
	}
	return ignoreMissing(f.Remove(name))
}
