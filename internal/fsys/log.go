package fsys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Log is an append-only file of records, one a line, each with a checksum. It
// is safe for concurrent use.
type Log struct {
	fsys      FS
	name      string
	perm      fs.FileMode
	maxRecord int

	mu   sync.Mutex // guards next
	next *batch

	io      sync.Mutex // guards what follows; held while writing and syncing
	file    File
	size    int64 // bytes of whole records in the file
	durable int64 // of those, known to be on disk
	broken  error // why nothing can be appended any more
}

// batch is what several callers want written; whoever gets to the file first
// writes it for all of them.
type batch struct {
	records [][]byte
	sync    bool
	done    bool
	err     error
}

// ErrClosed says that the log was closed.
var ErrClosed = errors.New("log is closed")

// OpenLog opens the log of name, making it (with perm, durably) if need be, and
// returns its records in order. A record that a crash cut short is dropped from
// the file. If records are damaged that had been durable, it returns those that
// are whole, no Log, and an error wrapping ErrDamaged; the file stays as it is.
// maxRecord bounds a record's bytes.
func OpenLog(f FS, name string, perm fs.FileMode, maxRecord int) (*Log, [][]byte, error) {
	l := &Log{fsys: f, name: name, perm: perm, maxRecord: maxRecord}
	if err := l.open(); err != nil {
		return nil, nil, fmt.Errorf("open log %s: %w", name, err)
	}
	content, err := io.ReadAll(l.file)
	if err != nil {
		return nil, nil, fmt.Errorf("read log %s: %w", name, errors.Join(err, l.file.Close()))
	}
	records, good, err := parseLog(content, maxRecord)
	if err == nil {
		err = l.settle(good, int64(len(content)))
	}
	if err != nil {
		err = fmt.Errorf("read log %s: %w", name, errors.Join(err, l.file.Close()))
		if errors.Is(err, ErrDamaged) {
			return nil, records, err
		}
		return nil, nil, err
	}
	l.size, l.durable = good, good
	if _, err := l.file.Seek(good, io.SeekStart); err != nil {
		return nil, nil, fmt.Errorf("open log %s: %w", name, errors.Join(err, l.file.Close()))
	}
	return l, records, nil
}

// ReadLog returns the records of a log that another process may be writing,
// leaving the file as it is. A missing file is fs.ErrNotExist. ErrDamaged is as
// for OpenLog.
func ReadLog(f FS, name string, maxRecord int) ([][]byte, error) {
	file, err := f.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("read log %s: %w", name, err)
	}
	content, err := io.ReadAll(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("read log %s: %w", name, err)
	}
	records, _, err := parseLog(content, maxRecord)
	if err != nil {
		return records, fmt.Errorf("read log %s: %w", name, err)
	}
	return records, nil
}

func (l *Log) open() (err error) {
	l.file, err = l.fsys.OpenFile(l.name, os.O_RDWR|os.O_CREATE, l.perm)
	if err != nil {
		return err
	}
	// Also when it was there: who made it may have ended before this.
	if err := l.fsys.SyncDir(filepath.Dir(l.name)); err != nil {
		return errors.Join(err, l.file.Close())
	}
	return nil
}

// settle cuts off an unfinished end and makes durable what a process wrote
// that ended before it could: the caller will take it for granted.
func (l *Log) settle(good, size int64) error {
	if good < size {
		if err := l.file.Truncate(good); err != nil {
			return fmt.Errorf("cut its unfinished end: %w", err)
		}
	}
	if size > 0 {
		if err := l.file.Sync(); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
	}
	return nil
}

// Append adds records, in order and together, and returns when they are
// durable. Callers at the same time share one sync. After an error nothing of
// recs may be relied on, and after a failed sync the log takes no more until it
// is opened again.
func (l *Log) Append(recs ...[]byte) error { return l.add(true, recs) }

// AppendLazy adds records without waiting for the disk: they survive the end
// of this process, and after the next Append a crash of the machine too.
func (l *Log) AppendLazy(recs ...[]byte) error { return l.add(false, recs) }

func (l *Log) add(sync bool, recs [][]byte) error {
	for _, r := range recs {
		if err := checkRecord(r, l.maxRecord); err != nil {
			return fmt.Errorf("append to log %s: %w", l.name, err)
		}
	}
	l.mu.Lock()
	if l.next == nil {
		l.next = &batch{}
	}
	b := l.next
	b.sync = b.sync || sync
	b.records = append(b.records, recs...)
	l.mu.Unlock()

	l.io.Lock()
	defer l.io.Unlock()
	if !b.done {
		l.mu.Lock()
		l.next = nil // it is b: a batch is replaced only here, and then done
		l.mu.Unlock()
		b.err = l.flush(b)
		b.done = true
	}
	if b.err != nil {
		return fmt.Errorf("append to log %s: %w", l.name, b.err)
	}
	return nil
}

func checkRecord(r []byte, limit int) error {
	if len(r) > limit {
		return fmt.Errorf("record of %d bytes %w: %d", len(r), ErrTooLarge, limit)
	}
	if len(r) == 0 || bytes.IndexByte(r, '\n') >= 0 {
		return errors.New("a record must not be empty nor hold a line feed")
	}
	return nil
}

// flush writes b. The caller holds io.
func (l *Log) flush(b *batch) error {
	if l.broken != nil {
		return l.broken
	}
	var out []byte
	for _, r := range b.records {
		out = appendRecord(out, l.durable, r)
	}
	if len(out) > 0 {
		if _, err := l.file.Write(out); err != nil {
			return errors.Join(err, l.takeBack())
		}
		l.size += int64(len(out))
	}
	if b.sync && l.durable < l.size {
		if err := l.file.Sync(); err != nil {
			// What the disk holds now nobody knows; a later success would not say either.
			l.broken = fmt.Errorf("sync: %w", err)
			return l.broken
		}
		l.durable = l.size
	}
	return nil
}

// takeBack removes a half-written record, so that the next one begins a line.
func (l *Log) takeBack() error {
	err := l.file.Truncate(l.size)
	if err == nil {
		_, err = l.file.Seek(l.size, io.SeekStart)
	}
	if err != nil {
		l.broken = fmt.Errorf("take back a half-written record: %w", err)
	}
	return l.broken
}

// Size is the length of the file in bytes, for deciding on a Rewrite.
func (l *Log) Size() int64 {
	l.io.Lock()
	defer l.io.Unlock()
	return l.size
}

// Rewrite makes recs all that the log holds, durably and at once: a crash
// leaves the old records or the new.
func (l *Log) Rewrite(recs [][]byte) error {
	for _, r := range recs {
		if err := checkRecord(r, l.maxRecord); err != nil {
			return fmt.Errorf("rewrite log %s: %w", l.name, err)
		}
	}
	l.io.Lock()
	defer l.io.Unlock()
	if l.broken != nil {
		return fmt.Errorf("rewrite log %s: %w", l.name, l.broken)
	}
	if err := l.rewrite(recs); err != nil {
		return fmt.Errorf("rewrite log %s: %w", l.name, err)
	}
	return nil
}

func (l *Log) rewrite(recs [][]byte) error {
	var out []byte
	for _, r := range recs {
		// The file takes its place only when all of it is on disk.
		out = appendRecord(out, int64(len(out)), r)
	}
	// Windows replaces no open file, so it is closed first.
	if err := l.file.Close(); err != nil {
		l.broken = err
		return err
	}
	werr := WriteFile(l.fsys, l.name, out, l.perm)
	// Whichever content it is, go on with that.
	file, err := l.fsys.OpenFile(l.name, os.O_RDWR, 0)
	if err != nil {
		l.broken = errors.Join(werr, err)
		return l.broken
	}
	l.file = file
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		l.broken = errors.Join(werr, err)
		return l.broken
	}
	l.size, l.durable = size, min(l.durable, size)
	if werr != nil {
		return werr
	}
	l.durable = size
	return nil
}

// Close makes what AppendLazy wrote durable and closes the file.
func (l *Log) Close() error {
	l.io.Lock()
	defer l.io.Unlock()
	if errors.Is(l.broken, ErrClosed) {
		return nil
	}
	err := l.flush(&batch{sync: true})
	l.broken = ErrClosed
	if err = errors.Join(err, l.file.Close()); err != nil {
		return fmt.Errorf("close log %s: %w", l.name, err)
	}
	return nil
}
