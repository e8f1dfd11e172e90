package transfer

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Send copies the file or folder at name to the receiver at the other end of r
// and w, whose Report it returns. The copy is complete when the error is nil
// and nothing has failed. Symbolic links and what else is neither file nor
// folder is skipped, except that name itself is followed.
func Send(r io.Reader, w io.Writer, name string, watch Watch) (Report, error) {
	s := &sender{wire: newWire(r, w), watch: watch, buf: make([]byte, maxFrame-headerSize)}
	report, err := s.run(name)
	return report, s.fault(err)
}

type sender struct {
	*wire
	watch    Watch
	progress Progress
	buf      []byte
}

func (s *sender) run(name string) (Report, error) {
	if err := s.greet(); err != nil {
		return Report{}, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return Report{}, err
	}
	switch {
	case info.IsDir():
		err = s.folder(name)
	case info.Mode().IsRegular():
		s.progress.Total = Total{1, info.Size()}
		if err = s.putJSON(kindTotal, s.progress.Total); err == nil {
			err = s.file(os.Open, name, "", info)
		}
	default:
		err = fmt.Errorf("%s is neither a file nor a folder", name)
	}
	if err == nil {
		err = s.put(kindEnd, nil)
	}
	var report Report
	if err == nil {
		err = s.expect(kindDone, &report)
	}
	return report, err
}

// folder sends all that is in a folder.
func (s *sender) folder(name string) error {
	root, err := os.OpenRoot(name)
	if err != nil {
		return err
	}
	defer root.Close()
	// Once to know how much it is, and once to send it.
	count := func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			s.progress.Files++
			s.progress.Bytes += info.Size()
		}
		return nil
	}
	if err := fs.WalkDir(root.FS(), ".", count); err != nil {
		return err
	}
	if err := s.putJSON(kindTotal, s.progress.Total); err != nil {
		return err
	}
	return fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		rel := p
		if p == "." {
			rel = ""
		}
		var info fs.FileInfo
		if err == nil {
			info, err = d.Info()
		}
		switch {
		case err != nil:
			return s.note(kindFailed, "%s: %v", p, err)
		case d.IsDir():
			return s.putJSON(kindEntry, entry{Path: rel, Folder: true, Mode: info.Mode().Perm(), Modified: info.ModTime()})
		case !info.Mode().IsRegular():
			return s.note(kindSkipped, "%s: neither a file nor a folder", p)
		}
		return s.file(func(n string) (*os.File, error) { return root.Open(filepath.FromSlash(n)) }, p, rel, info)
	})
}

// note says that something does not come.
func (s *sender) note(k kind, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	return s.put(k, []byte(text[:min(len(text), maxProblem)]))
}

// file sends one file. The error is of the streams: what is wrong with the file
// is told to the other end.
func (s *sender) file(open func(string) (*os.File, error), name, rel string, info fs.FileInfo) error {
	f, err := open(name)
	if err != nil {
		return s.note(kindFailed, "%v", err)
	}
	defer f.Close()
	size := info.Size()
	if err := s.putJSON(kindEntry, entry{Path: rel, Mode: info.Mode().Perm(), Size: size, Modified: info.ModTime()}); err != nil {
		return err
	}
	s.progress.Name = rel
	if rel == "" {
		s.progress.Name = filepath.Base(name)
	}
	sum, done := sha256.New(), int64(0)
	if size >= resumeFrom {
		var refused bool
		if done, refused, err = s.resume(f, sum, size); err != nil || refused {
			return err
		}
	}
	s.told(done)
	if err := s.data(f, sum, size-done); err != nil {
		return err
	}
	s.progress.DoneFiles++
	s.told(0)
	return nil
}

// resume finds out how much of f the other end has, and takes that into sum.
func (s *sender) resume(f *os.File, sum hash.Hash, size int64) (done int64, refused bool, err error) {
	var w wanted
	if err := s.expect(kindWanted, &w); err != nil {
		return 0, false, err
	}
	if w.Refused != "" {
		return 0, true, nil // it will say so
	}
	if w.Have > 0 && w.Have <= size {
		n, err := io.CopyN(sum, f, w.Have)
		if err == nil && bytes.Equal(sum.Sum(nil), w.Sum) {
			done = n
		}
	}
	if done == 0 {
		sum.Reset()
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return 0, true, s.note(kindFailed, "%v", err)
		}
	}
	return done, false, s.putJSON(kindOffset, offset{done})
}

// data sends n bytes of f and the digest of all of it.
func (s *sender) data(f *os.File, sum hash.Hash, n int64) error {
	for n > 0 {
		k, err := f.Read(s.buf[:min(n, int64(len(s.buf)))])
		if k > 0 {
			sum.Write(s.buf[:k])
			if err := s.put(kindData, s.buf[:k]); err != nil {
				return err
			}
			n -= int64(k)
			s.told(int64(k))
		}
		if err != nil && n > 0 {
			if errors.Is(err, io.EOF) {
				err = errors.New("it became shorter while it was copied")
			}
			return s.note(kindFailed, "%s: %v", f.Name(), err)
		}
	}
	return s.put(kindSum, sum.Sum(nil))
}

func (s *sender) told(n int64) {
	s.progress.DoneBytes += n
	if s.watch != nil {
		s.watch(s.progress)
	}
}
