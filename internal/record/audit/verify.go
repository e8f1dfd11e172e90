package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Fault is a place where the log is not what was written.
type Fault struct {
	File string
	Line int // in the file, from 1; 0: the file as a whole
	Text string
}

func (f Fault) String() string {
	if f.Line == 0 {
		return f.File + ": " + f.Text
	}
	return fmt.Sprintf("%s line %d: %s", f.File, f.Line, f.Text)
}

// Report is what a Verify found.
type Report struct {
	Files int
	Lines int64  // that are there
	Last  int64  // number of the last one
	Hash  string // of the last one
	// Notes are what crashes left, and what the log itself says of its gaps.
	Notes  []string
	Faults []Fault
}

// maxFaults bounds a Report.
const maxFaults = 100

// Verify reads the whole log and checks the chain.
func (l *Log) Verify() (Report, error) {
	c := &chain{}
	a, err := l.walk(c.take)
	if err != nil && !errors.Is(err, errAnchor) {
		return Report{}, err
	}
	c.end(a, err)
	return c.r, nil
}

// Each calls do for every line that can be read, oldest first.
func (l *Log) Each(do func(Line) error) error {
	_, err := l.walk(func(r raw) error {
		if r.err != nil {
			return nil //nolint:nilerr // Verify tells of it
		}
		return do(r.line)
	})
	if errors.Is(err, errAnchor) {
		return nil // that, too, is Verify's
	}
	return err
}

// raw is a line as it lies in a file.
type raw struct {
	file  string
	n     int
	fresh bool // the first of its file
	line  Line
	err   error
	hash  string
	torn  bool // without a line feed
}

// walk hands every line to do, up to the ends that the files had when it
// began, and returns the anchor of that moment.
func (l *Log) walk(do func(raw) error) (anchor, error) {
	files, sizes, a, aerr, err := l.snapshot()
	if err != nil {
		return anchor{}, err
	}
	for i, name := range files {
		if err := l.walkFile(name, sizes[i], do); err != nil {
			return anchor{}, err
		}
	}
	return a, aerr
}

// snapshot is taken while nobody writes.
func (l *Log) snapshot() (files []string, sizes []int64, a anchor, aerr, err error) {
	if _, err := l.opt.FS.Lstat(l.opt.Dir); err != nil {
		return nil, nil, anchor{}, nil, fmt.Errorf("read the audit log: %w", err)
	}
	unlock, err := l.opt.Lock(filepath.Join(l.opt.Dir, LockFile))
	if err != nil {
		return nil, nil, anchor{}, nil, fmt.Errorf("lock the audit log: %w", err)
	}
	defer unlock()
	if files, err = l.files(); err != nil {
		return nil, nil, anchor{}, nil, fmt.Errorf("read the audit log: %w", err)
	}
	for _, name := range files {
		fi, err := l.opt.FS.Lstat(filepath.Join(l.opt.Dir, name))
		if err != nil {
			return nil, nil, anchor{}, nil, fmt.Errorf("read the audit log: %w", err)
		}
		sizes = append(sizes, fi.Size())
	}
	a, _, aerr = l.readAnchor()
	return files, sizes, a, aerr, nil
}

func (l *Log) walkFile(name string, size int64, do func(raw) error) error {
	f, err := l.opt.FS.OpenFile(filepath.Join(l.opt.Dir, name), os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(io.LimitReader(f, size), maxLine+1)
	for n := 1; ; n++ {
		b, err := r.ReadSlice('\n')
		if len(b) == 0 && errors.Is(err, io.EOF) {
			return nil
		}
		line := raw{file: name, n: n, fresh: n == 1, torn: errors.Is(err, io.EOF)}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			line.err = fmt.Errorf("it has more than %d bytes", maxLine)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = r.ReadSlice('\n')
			}
		case err == nil || line.torn:
			if !line.torn {
				b = b[:len(b)-1]
			}
			line.hash = hash(b)
			line.line, line.err = parseLine(b)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the audit log: %s: %w", name, err)
		}
		if err := do(line); err != nil {
			return err
		}
	}
}

// chain checks line after line.
type chain struct {
	r     Report
	last  raw   // the line before
	bad   *raw  // the line before could not be read: the next may explain it
	start int64 // number before the first line that is there
	prev  string
	drops []Event
	seen  map[int64]string // hashes near the end, for the anchor
}

// near is how many of the last lines' hashes are kept: the anchor may lag
// behind by what was written before a crash.
const near = 10_000

func (c *chain) fault(file string, line int, format string, args ...any) {
	if len(c.r.Faults) < maxFaults {
		c.r.Faults = append(c.r.Faults, Fault{file, line, fmt.Sprintf(format, args...)})
	}
}

func (c *chain) note(format string, args ...any) {
	if len(c.r.Notes) < maxFaults {
		c.r.Notes = append(c.r.Notes, fmt.Sprintf(format, args...))
	}
}

func (c *chain) take(l raw) error {
	if c.seen == nil {
		c.seen, c.prev = map[int64]string{}, first()
	}
	if l.fresh {
		c.r.Files++
	}
	if l.err != nil {
		c.unread(l)
		return nil
	}
	switch {
	case c.r.Lines == 0 && c.r.Last == 0:
		c.begin(l)
	default:
		c.link(l)
	}
	switch l.line.Kind {
	case Dropped:
		c.drops = append(c.drops, l.line.Event)
	case AnchorLost:
		c.fault(l.file, l.n, "the anchor was lost before it, so lines before it may be missing")
	}
	if l.line.Missed > 0 {
		c.note("%s line %d: %d events before it could not be written", l.file, l.n, l.line.Missed)
	}
	c.r.Lines++
	c.advance(l, l.line.Seq)
	return nil
}

// advance makes l the line before.
func (c *chain) advance(l raw, seq int64) {
	c.r.Last, c.r.Hash, c.last, c.bad = seq, l.hash, l, nil
	c.seen[seq] = l.hash
	delete(c.seen, seq-near)
}

// unread takes a line that is none. If a crash cut it short, the next line
// says so.
func (c *chain) unread(l raw) {
	if c.bad != nil {
		c.fault(c.bad.file, c.bad.n, "it cannot be read: %v", c.bad.err)
	}
	c.advance(l, c.r.Last+1)
	c.bad = &l
}

// begin takes the first line that is there.
func (c *chain) begin(l raw) {
	c.start, c.prev = l.line.Seq-1, l.line.Prev
	if c.start == 0 && l.line.Prev != first() {
		c.fault(l.file, l.n, "it is the first line, but names another before it")
	}
}

// link checks that l follows the line before.
func (c *chain) link(l raw) {
	seq, want := l.line.Seq, c.r.Last+1
	if c.bad != nil {
		if l.line.Kind == Torn && l.line.Prev == c.r.Hash && seq == want {
			c.note("%s line %d: cut short by a crash (%d bytes), as the next line says", c.bad.file, c.bad.n, l.line.Bytes)
			return
		}
		c.fault(c.bad.file, c.bad.n, "it cannot be read: %v", c.bad.err)
	}
	switch {
	case seq > want:
		c.fault(l.file, l.n, "lines %d to %d are missing before it", want, seq-1)
	case seq < want:
		c.fault(l.file, l.n, "it is line %d, and stands behind line %d: the order was changed", seq, c.r.Last)
	case l.line.Prev != c.r.Hash && c.bad == nil:
		c.fault(c.last.file, c.last.n, "it was changed: the line behind it carries another hash")
	}
}

// end compares the end with the anchor, and the beginning with what the log
// says of files that are gone.
func (c *chain) end(a anchor, aerr error) {
	if c.bad != nil {
		if c.bad.torn {
			c.note("%s line %d: cut short; the next event that is written will say so", c.bad.file, c.bad.n)
		} else {
			c.fault(c.bad.file, c.bad.n, "it cannot be read: %v", c.bad.err)
		}
		c.r.Last--
		c.r.Hash = c.seen[c.r.Last]
	}
	if c.start > 0 {
		c.beginning()
	}
	switch {
	case c.r.Last == 0 && errors.Is(aerr, fs.ErrNotExist):
		c.note("the log is empty")
	case aerr != nil:
		c.fault(anchorFile, 0, "%v; whether lines at the end are missing cannot be told", aerr)
	case a.seq > c.r.Last:
		c.fault(anchorFile, 0, "the log ends with line %d, but %d were written: lines at the end are missing", c.r.Last, a.seq)
	case a.seq == 0:
	case a.seq <= c.r.Last-near:
		c.fault(anchorFile, 0, "it names line %d, long before the last one, %d", a.seq, c.r.Last)
	case !a.is(c.seen[a.seq]) && a.seq == c.r.Last:
		c.fault(c.last.file, c.last.n, "the last line was changed: the anchor carries another hash")
	case !a.is(c.seen[a.seq]):
		c.fault(anchorFile, 0, "line %d is not the one whose hash it carries", a.seq)
	case a.seq < c.r.Last:
		c.note("%d lines were written after the anchor: the machine stopped in between", c.r.Last-a.seq)
	}
}

func (c *chain) beginning() {
	for _, d := range c.drops {
		if d.Lines == c.start && d.Hash == c.prev || d.Lines > c.start {
			c.note("lines 1 to %d are gone: the log says that they made room", c.start)
			return
		}
	}
	c.fault("the log", 0, "lines 1 to %d are missing at the beginning", c.start)
}
