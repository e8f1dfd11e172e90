// Package edition keeps copies of this program for workers to run from, so that an
// installer can replace the program while they live. It is for systems where what
// runs can neither be replaced nor removed.
package edition

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"ssmagent/internal/fsys"
)

// Shelf is a directory of copies, each in one of its own that is named by its
// version and content.
type Shelf struct {
	FS  fsys.FS
	Dir string
}

// mode of copies: whoever a session runs as runs the program.
const mode = 0o755

// Copy returns the path of a copy of program, which is made if need be, whole or
// not at all, and whose content has been compared. Version is of the program.
func (s Shelf) Copy(program, version string) (string, error) {
	sum, err := s.sum(program)
	if err != nil {
		return "", fmt.Errorf("copy the program for workers: %w", err)
	}
	path := filepath.Join(s.Dir, version+"-"+hex.EncodeToString(sum[:8]), filepath.Base(program))
	if have, err := s.sum(path); err == nil && bytes.Equal(have, sum) {
		return path, nil
	}
	if err := s.write(path, program); err != nil {
		return "", fmt.Errorf("copy the program for workers: %w", err)
	}
	have, err := s.sum(path)
	if err == nil && !bytes.Equal(have, sum) {
		err = errors.New("the copy is not what was copied; something changes one of them")
	}
	if err != nil {
		return "", fmt.Errorf("copy the program for workers: %s: %w", path, err)
	}
	return path, nil
}

func (s Shelf) write(path, program string) error {
	if err := fsys.MkdirAll(s.FS, filepath.Dir(path), mode); err != nil {
		return err
	}
	return fsys.Replace(s.FS, path, mode, func(w io.Writer) error { return s.read(program, w) })
}

func (s Shelf) sum(file string) ([]byte, error) {
	h := sha256.New()
	err := s.read(file, h)
	return h.Sum(nil), err
}

func (s Shelf) read(file string, to io.Writer) error {
	f, err := s.FS.OpenFile(file, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, f)
	return errors.Join(err, f.Close())
}

// Sweep removes all copies but the one at keep (empty: all) and those that
// something runs from, which the system does not let go; it returns their number.
func (s Shelf) Sweep(keep string) (running int, err error) {
	all, err := s.FS.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("sweep the copies of the program: %w", err)
	}
	for _, e := range all {
		dir := filepath.Join(s.Dir, e.Name())
		if dir != filepath.Dir(keep) && fsys.RemoveAll(s.FS, dir) != nil {
			running++
		}
	}
	if keep == "" && running == 0 {
		if err := s.FS.Remove(s.Dir); err != nil {
			return 0, fmt.Errorf("sweep the copies of the program: %w", err)
		}
	}
	return running, nil
}
