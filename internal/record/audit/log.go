package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
)

// Options of a Log. All is needed but MaxFile and MaxFiles.
type Options struct {
	Dir   string // made at the first event, for root only
	FS    fsys.FS
	Clock clock.Clock
	Log   *slog.Logger
	// Lock keeps the other processes out until unlock is called. The file
	// named is made when it is not there; its directory is.
	Lock func(file string) (unlock func(), err error)
	// MaxFile is the size in bytes at which another file is begun, MaxFiles
	// how many are kept; 0 for the defaults.
	MaxFile  int64
	MaxFiles int
}

const (
	defaultMaxFile  = 8 << 20
	defaultMaxFiles = 32
	// maxWaiting bounds the events that wait for a disk that hangs.
	maxWaiting = 4096
)

// Files is how many files make so many MiB.
func Files(mib int) int { return max((mib<<20)/defaultMaxFile, 2) }

// Log is one process's way to the audit log. Its methods are safe for
// concurrent use. It starts nothing and holds no file open.
type Log struct {
	opt Options

	mu     sync.Mutex
	next   *batch
	missed int // events that could not be written

	io sync.Mutex // held while writing
}

// batch is what several callers want written; whoever gets there first writes
// it for all of them.
type batch struct {
	events []Event
	done   bool
	err    error
}

// New returns a Log.
func New(o Options) *Log {
	if o.MaxFile <= 0 {
		o.MaxFile = defaultMaxFile
	}
	if o.MaxFiles <= 0 {
		o.MaxFiles = defaultMaxFiles
	}
	return &Log{opt: o}
}

// Append writes e and returns when it is durable. Callers at the same time
// share one sync. A nil Log takes everything and keeps nothing. An error has
// been logged; the next event that is written says that some are missing.
func (l *Log) Append(e Event) error { return l.Post(e)() }

// Post is Append in two halves: the place in the log is taken at once, and
// wait returns when the event is durable. Who does not call it waits in Close
// at the latest.
func (l *Log) Post(e Event) (wait func() error) {
	if l == nil {
		return func() error { return nil }
	}
	l.mu.Lock()
	if l.next == nil {
		l.next = &batch{}
	}
	b := l.next
	if len(b.events) >= maxWaiting {
		l.missed++
		l.mu.Unlock()
		err := fmt.Errorf("%d events of the audit log wait for the disk already; %s is lost", maxWaiting, e.Kind)
		l.opt.Log.Error("an event of the audit log is lost", "error", err)
		return func() error { return err }
	}
	b.events = append(b.events, e)
	l.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.settle(b)
	}()
	return func() error {
		<-done
		return b.err
	}
}

// Close waits for what was posted.
func (l *Log) Close() {
	if l == nil {
		return
	}
	l.mu.Lock()
	b := l.next
	l.mu.Unlock()
	if b == nil {
		b = &batch{done: true} // what is being written is waited for all the same
	}
	l.settle(b)
}

// settle writes b unless somebody has.
func (l *Log) settle(b *batch) {
	l.io.Lock()
	defer l.io.Unlock()
	if b.done {
		return
	}
	l.mu.Lock()
	l.next = nil // it is b: a batch is replaced only here, and then done
	missed := l.missed
	l.mu.Unlock()
	b.done = true
	events := slices.Clone(b.events)
	events[0].Missed = missed
	err := l.write(events)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.missed -= missed
		return
	}
	b.err = fmt.Errorf("write the audit log in %s: %w", l.opt.Dir, err)
	l.missed += len(b.events)
	for _, e := range b.events {
		l.opt.Log.Error("an event of the audit log is lost", "event", e.Kind, "session", e.Session, "command", e.Command, "error", b.err)
	}
}

// write appends events under the lock of all processes. A disk that is full
// gets the reserve back, once.
func (l *Log) write(events []Event) error {
	if err := fsys.MkdirAll(l.opt.FS, l.opt.Dir, 0o700); err != nil {
		return err
	}
	unlock, err := l.opt.Lock(filepath.Join(l.opt.Dir, LockFile))
	if err != nil {
		return fmt.Errorf("lock it: %w", err)
	}
	defer unlock()
	reserve := filepath.Join(l.opt.Dir, reserveFile)
	err = l.append(events)
	if errors.Is(err, fsys.ErrNoSpace) && l.opt.FS.Remove(reserve) == nil {
		return l.append(events)
	}
	if err != nil {
		return err
	}
	if _, err := l.opt.FS.Lstat(reserve); errors.Is(err, fs.ErrNotExist) {
		// Best effort: without it only a disk that is full later loses lines.
		_ = fsys.WriteFile(l.opt.FS, reserve, make([]byte, reserveSize), 0o600)
	}
	return nil
}

// append finds the end of the chain and goes on from there: other processes
// have written meanwhile.
func (l *Log) append(events []Event) error {
	files, err := l.files()
	if err != nil {
		return err
	}
	e, anchorErr, err := l.end(files)
	if err != nil {
		return err
	}
	if lost(anchorErr, files) {
		events = slices.Insert(slices.Clone(events), 0, Event{Kind: AnchorLost, Detail: anchorErr.Error()})
	} else if anchorErr != nil {
		if err := l.makeAnchor(); err != nil {
			return err
		}
	}
	if e.torn > 0 {
		events = slices.Insert(slices.Clone(events), 0, Event{Kind: Torn, Bytes: e.torn, Hash: e.hash,
			Detail: "the line before was not written whole: the machine or the process stopped"})
	}
	var old []string
	if e.name == "" || e.size >= l.opt.MaxFile {
		e.name, e.size, e.torn = fileName(e.seq+1), 0, 0
		if many := len(files) + 1 - l.opt.MaxFiles; many > 0 {
			old = files[:many]
			last, err := l.lastLine(old)
			if err != nil {
				return err
			}
			events = append(slices.Clone(events), Event{Kind: Dropped, Lines: last.seq, Hash: last.hash,
				Detail: "the oldest files made room: " + strings.Join(old, " ")})
		}
	}
	if err := l.extend(e, events); err != nil {
		return err
	}
	for _, name := range old { // now that the log says so
		if err := l.opt.FS.Remove(filepath.Join(l.opt.Dir, name)); err != nil {
			l.opt.Log.Warn("remove an old file of the audit log", "error", err)
		}
	}
	return nil
}

// extend writes events behind e.
func (l *Log) extend(e end, events []Event) error {
	var out []byte
	if e.torn > 0 {
		out = append(out, '\n') // what is torn stays, as a line of its own
	}
	var err error
	for _, ev := range events {
		e.seq++
		if out, e.hash, err = appendLine(out, e.seq, l.opt.Clock.Now(), e.hash, ev); err != nil {
			return err
		}
	}
	if err := l.extendFile(filepath.Join(l.opt.Dir, e.name), e.size, out); err != nil {
		return err
	}
	return l.moveAnchor(newAnchor(e.seq, e.hash))
}

// extendFile writes out at the file's end, durably. What cannot be written
// whole is taken back.
func (l *Log) extendFile(name string, size int64, out []byte) error {
	f, err := l.opt.FS.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Seek(size, io.SeekStart); err == nil {
		if _, err = f.Write(out); err != nil {
			err = errors.Join(err, f.Truncate(size))
		}
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil || size > 0 {
		return err
	}
	return l.opt.FS.SyncDir(l.opt.Dir) // it is new, or its maker may have ended before this
}

// end is where the chain ends.
type end struct {
	name string // of the file, "" when there is none
	size int64
	seq  int64
	hash string
	torn int64 // bytes behind the last line feed
}

// tailSize is as much of a file's end as is read: a few lines.
const tailSize = 4 * maxLine

// end is the end of the chain in files. The anchor counts when it says more:
// lines that somebody cut off or changed are to be missed for ever.
func (l *Log) end(files []string) (e end, anchorErr, err error) {
	if e, err = l.lastLine(files); err != nil {
		return end{}, nil, err
	}
	a, _, anchorErr := l.readAnchor()
	if anchorErr == nil && (a.seq > e.seq || a.seq == e.seq && !a.is(e.hash)) {
		e.seq, e.hash = a.seq, a.hash+first()[anchorHex:]
	}
	return e, anchorErr, nil
}

// lastLine reads the last line. A line that cannot be read counts as one.
func (l *Log) lastLine(files []string) (end, error) {
	for i, name := range slices.Backward(files) {
		tail, size, err := l.tail(filepath.Join(l.opt.Dir, name))
		if err != nil {
			return end{}, err
		}
		if size == 0 && i > 0 {
			continue // made, but not written before a crash
		}
		seq, _ := fileSeq(name)
		e := end{name: name, size: size, seq: seq - 1, hash: first()}
		if size > 0 {
			e.take(tail)
		}
		if i < len(files)-1 { // go on in the empty one behind it
			e.name, e.size, e.torn = files[len(files)-1], 0, 0
		}
		return e, nil
	}
	return end{hash: first()}, nil
}

// take finds number and hash of the last line of tail.
func (e *end) take(tail []byte) {
	if i := bytes.LastIndexByte(tail, '\n'); i < len(tail)-1 {
		e.torn = int64(len(tail) - 1 - i)
		e.hash = hash(tail[i+1:])
	} else {
		last := tail[:i]
		e.hash = hash(last[bytes.LastIndexByte(last, '\n')+1:])
	}
	after := int64(0) // lines behind the last one that can be read
	for rest := bytes.TrimSuffix(tail, []byte("\n")); ; after++ {
		i := bytes.LastIndexByte(rest, '\n')
		if l, err := parseLine(rest[i+1:]); err == nil {
			e.seq = l.Seq + after
			return
		}
		if i < 0 {
			e.seq += after + 1
			return
		}
		rest = rest[:i]
	}
}

// tail reads the end of a file.
func (l *Log) tail(name string) ([]byte, int64, error) {
	f, err := l.opt.FS.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(max(size-tailSize, 0), io.SeekStart)
	}
	var b []byte
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(f, tailSize))
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", name, err)
	}
	return b, size, nil
}

// files are the log's files in order.
func (l *Log) files() ([]string, error) {
	entries, err := l.opt.FS.ReadDir(l.opt.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if _, ok := fileSeq(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names) // numbers of one length
	return names, nil
}

// fileName is that of the file that begins with line seq.
func fileName(seq int64) string { return fmt.Sprintf("audit-%015d.jsonl", seq) }

func fileSeq(name string) (int64, bool) {
	digits, ok := strings.CutPrefix(name, "audit-")
	digits, ok2 := strings.CutSuffix(digits, ".jsonl")
	seq, err := strconv.ParseInt(digits, 10, 64)
	return seq, ok && ok2 && err == nil && seq > 0 && name == fileName(seq)
}
