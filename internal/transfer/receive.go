package transfer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Receive takes what the sender at the other end of r and w sends, and puts it
// at dest: into it, under the name base, when dest is a folder, else in the
// place of dest. An empty base stands for the folder itself. Files appear in
// their place when they are whole; until then they lie beside it.
func Receive(r io.Reader, w io.Writer, dest, base string, watch Watch) (Report, error) {
	v := &receiver{wire: newWire(r, w), watch: watch}
	err := v.greet()
	if err == nil {
		err = v.place(dest, base)
	}
	if err != nil {
		return v.report, v.fault(err)
	}
	defer v.root.Close()
	return v.report, v.fault(v.run())
}

type receiver struct {
	*wire
	watch    Watch
	progress Progress
	report   Report
	root     *os.Root
	name     string // of what comes, below root
	folders  []entry
}

// place finds the folder that nothing leaves, and the name in it.
func (v *receiver) place(dest, base string) error {
	dir, name := filepath.Dir(dest), filepath.Base(dest)
	info, err := os.Stat(dest)
	if err == nil && info.IsDir() || strings.HasSuffix(dest, "/") || strings.HasSuffix(dest, string(filepath.Separator)) {
		dir, name = dest, base
		if base == "" {
			name = "."
		}
	}
	if !filepath.IsLocal(name) || name != "." && filepath.Base(name) != name {
		return fmt.Errorf("%q is no name of a file", name)
	}
	if v.root, err = os.OpenRoot(dir); err != nil {
		return err
	}
	v.name = name
	return nil
}

func (v *receiver) run() error {
	if err := v.expect(kindTotal, &v.progress.Total); err != nil {
		return err
	}
	for {
		k, b, err := v.next()
		if err != nil {
			return err
		}
		switch k {
		case kindEntry:
			var e entry
			if err = decode(b, &e); err == nil {
				err = e.check()
			}
			if err == nil {
				err = v.entry(e)
			}
		case kindSkipped:
			v.report.Skipped++
			v.report.problem("%s", b)
		case kindFailed:
			v.failed(fmt.Errorf("%s", b))
		case kindEnd:
			v.settle()
			return v.putJSON(kindDone, v.report)
		default:
			err = fmt.Errorf("%w: %q came between files", errFrame, byte(k))
		}
		if err != nil {
			return err
		}
	}
}

// failed notes that an entry is not in its place.
func (v *receiver) failed(err error) {
	v.report.Failed++
	v.report.problem("%v", err)
}

// below is the path of e below root.
func (v *receiver) below(e entry) string { return filepath.FromSlash(path.Join(v.name, e.Path)) }

// entry takes a file or a folder. The error is of the streams.
func (v *receiver) entry(e entry) error {
	if !e.Folder {
		return v.file(e)
	}
	name := v.below(e)
	// Ours to write into until all has come.
	if err := v.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		v.failed(err)
		return nil
	}
	if info, err := v.root.Lstat(name); err != nil || !info.IsDir() {
		v.failed(fmt.Errorf("%s is there, and no folder", name))
		return nil
	}
	v.folders = append(v.folders, e)
	return nil
}

// settle gives the folders their modes, the deepest first.
func (v *receiver) settle() {
	for i := len(v.folders) - 1; i >= 0; i-- {
		e := v.folders[i]
		if e.Path == "" && v.name == "." {
			continue // it was there before
		}
		if err := v.dress(v.below(e), e); err != nil {
			v.failed(err)
		}
	}
}

func (v *receiver) dress(name string, e entry) error {
	if err := v.root.Chmod(name, e.Mode); err != nil {
		return err
	}
	return v.root.Chtimes(name, time.Time{}, e.Modified)
}

// part is where a file lies until it is whole: always at the same place, so
// that the next copy finds it.
func part(name string) string {
	sum := sha256.Sum256([]byte(filepath.Base(name)))
	return filepath.Join(filepath.Dir(name), ".ssm-part-"+hex.EncodeToString(sum[:8]))
}

// file takes one file. What is wrong with it is noted; the error is of the
// streams.
func (v *receiver) file(e entry) error {
	name := v.below(e)
	v.progress.Name = name
	f, have, sum, err := v.open(name, e)
	if err != nil {
		v.failed(err)
	}
	if e.Size >= resumeFrom {
		w := wanted{Have: have, Sum: sum.Sum(nil)}
		if err != nil {
			return v.putJSON(kindWanted, wanted{Refused: err.Error()})
		}
		if err := v.putJSON(kindWanted, w); err != nil {
			return errors.Join(err, f.Close())
		}
		return v.begin(f, name, e, have, sum)
	}
	return v.data(f, name, e, 0, sum)
}

// open opens the part of e, and takes what is there already into sum.
func (v *receiver) open(name string, e entry) (f *os.File, have int64, sum hash.Hash, err error) {
	sum = sha256.New()
	if info, err := v.root.Lstat(name); err == nil && info.IsDir() {
		return nil, 0, sum, fmt.Errorf("%s is there, and a folder", name)
	}
	if info, err := v.root.Lstat(part(name)); err == nil && !info.Mode().IsRegular() {
		return nil, 0, sum, fmt.Errorf("%s is there, and no file", part(name))
	}
	f, err = v.root.OpenFile(part(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, sum, err
	}
	if e.Size < resumeFrom {
		err = f.Truncate(0)
	} else if have, err = io.Copy(sum, f); have > e.Size {
		have = 0
		sum.Reset()
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, sum, err
	}
	return f, have, sum, nil
}

// begin lets the sender say from where on it sends.
func (v *receiver) begin(f *os.File, name string, e entry, have int64, sum hash.Hash) error {
	k, b, err := v.next()
	var o offset
	switch {
	case err != nil:
	case k == kindFailed:
		v.failed(fmt.Errorf("%s", b))
		_ = f.Close()
		return nil
	case k != kindOffset:
		err = fmt.Errorf("%w: %q came instead of an offset", errFrame, byte(k))
	default:
		err = decode(b, &o)
		if err == nil && o.Offset != 0 && o.Offset != have {
			err = fmt.Errorf("%w: offset %d, not 0 nor %d", errFrame, o.Offset, have)
		}
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if o.Offset == 0 {
		sum.Reset()
	}
	if _, err = f.Seek(o.Offset, io.SeekStart); err == nil {
		err = f.Truncate(o.Offset)
	}
	if err != nil {
		v.failed(err)
		_ = f.Close()
		f = nil
	}
	return v.data(f, name, e, o.Offset, sum)
}

// data takes the rest of a file; f is nil when it only has to go by.
func (v *receiver) data(f *os.File, name string, e entry, done int64, sum hash.Hash) error {
	v.told(done)
	resumed := done
	for {
		k, b, err := v.next()
		switch {
		case err != nil:
			return errors.Join(err, closed(f)) // what came stays, for the next copy
		case k == kindFailed: // the sender cannot go on with it
			v.failed(fmt.Errorf("%s", b))
			_ = closed(f)
			return nil
		case k == kindSum:
			if f == nil {
				return nil
			}
			if err := v.finish(f, name, e, done, sum, b); err != nil {
				v.failed(err)
				return nil
			}
			v.report.Files++
			v.report.Bytes += done
			v.report.Resumed += resumed
			v.progress.DoneFiles++
			v.told(0)
			return nil
		case k != kindData || done+int64(len(b)) > e.Size:
			return errors.Join(fmt.Errorf("%w: %q came at byte %d of %d of %.200q", errFrame, byte(k), done, e.Size, e.Path), closed(f))
		}
		done += int64(len(b))
		sum.Write(b)
		v.told(int64(len(b)))
		if f == nil {
			continue
		}
		if _, err := f.Write(b); err != nil {
			v.failed(err)
			_ = f.Close()
			f = nil
		}
	}
}

func closed(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

// finish puts a whole file into its place.
func (v *receiver) finish(f *os.File, name string, e entry, done int64, sum hash.Hash, want []byte) error {
	if err := f.Close(); err != nil {
		return err
	}
	if done != e.Size || !bytes.Equal(sum.Sum(nil), want) {
		// What is there is of no use to the next copy either.
		return errors.Join(fmt.Errorf("%s: its SHA-256 is wrong after the copy, try again", name), v.root.Remove(part(name)))
	}
	if err := v.dress(part(name), e); err != nil {
		return err
	}
	return v.root.Rename(part(name), name)
}

func (v *receiver) told(n int64) {
	v.progress.DoneBytes += n
	if v.watch != nil {
		v.watch(v.progress)
	}
}
