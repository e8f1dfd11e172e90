package recording

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/record/asciicast"
	"ssmagent/internal/wire/mgs"
)

const (
	// buffered is how much may wait for the disk before the terminal does.
	buffered = 256 << 10
	// syncWithin is how long what happened may be lost with the machine.
	syncWithin = 5 * time.Second
)

// ErrLimit says that a recording has become as large as it may.
var ErrLimit = errors.New("the recording has reached its greatest size (ssmagent.Recordings.MaxMiB)")

// Options of a Recorder.
type Options struct {
	Clock  clock.Clock
	Header asciicast.Header // its time is filled in
	// Limit is the greatest size in bytes; 0: none.
	Limit int64
	// Failed is called once when nothing can be recorded any more, from a
	// goroutine of the Recorder. What was recorded until then stays.
	Failed func(error)
}

// Recorder writes one recording. Its methods are safe for concurrent use. They
// return at once while the disk keeps up.
type Recorder struct {
	opt   Options
	f     fsys.File
	start time.Time
	wake  chan struct{}
	done  chan struct{} // closed: the file is closed

	mu     sync.Mutex
	room   sync.Cond // on mu: buf has become shorter, or nobody writes any more
	enc    asciicast.Encoder
	buf    []byte
	ending bool
	err    error

	// The rest belongs to the goroutine that writes.
	size  int64 // whole lines in the file
	dirty bool  // not all of it is synced
	timer clock.Timer
	spare []byte
}

// Create begins the recording of a session. Its first line is durable when it
// returns. A recording that is there already is never touched.
func (s Store) Create(session string, o Options) (*Recorder, error) {
	if !mgs.ValidSessionID(session) {
		return nil, fmt.Errorf("record the session: %.64q is no session's id", session)
	}
	now := o.Clock.Now()
	o.Header.Timestamp = now.Unix()
	r := &Recorder{opt: o, start: now, wake: make(chan struct{}, 1), done: make(chan struct{})}
	r.room.L = &r.mu
	head, err := asciicast.AppendHeader(nil, o.Header)
	if err == nil {
		err = r.create(s, session, head)
	}
	if err != nil {
		return nil, fmt.Errorf("record the session: %w", err)
	}
	r.size = int64(len(head))
	r.timer = o.Clock.NewTimer(time.Hour)
	r.timer.Stop()
	go r.run()
	return r, nil
}

func (r *Recorder) create(s Store, session string, head []byte) error {
	if err := fsys.MkdirAll(s.FS, s.Dir, 0o700); err != nil {
		return err
	}
	name := filepath.Join(s.Dir, Name(session))
	f, err := s.FS.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already and is left as it is", name)
	}
	if err != nil {
		return err
	}
	if _, err = f.Write(head); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = s.FS.SyncDir(s.Dir)
	}
	if err != nil { // a recording without a beginning is none
		return errors.Join(err, f.Close(), s.FS.Remove(name))
	}
	r.f = f
	return nil
}

// Output records what was printed.
func (r *Recorder) Output(b []byte) {
	r.add(func(buf []byte, at time.Duration) []byte { return r.enc.Append(buf, at, asciicast.Output, b) })
}

// Input records what was typed.
func (r *Recorder) Input(b []byte) {
	r.add(func(buf []byte, at time.Duration) []byte { return r.enc.Append(buf, at, asciicast.Input, b) })
}

// Resize records a new size.
func (r *Recorder) Resize(cols, rows int) {
	r.add(func(buf []byte, at time.Duration) []byte { return r.enc.Resize(buf, at, cols, rows) })
}

// add puts whole lines behind what waits for the disk; too much waits itself.
func (r *Recorder) add(line func([]byte, time.Duration) []byte) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.buf) >= buffered && !r.ending {
		r.room.Wait()
	}
	if r.ending {
		return
	}
	r.buf = line(r.buf, r.opt.Clock.Now().Sub(r.start))
	r.signal()
}

func (r *Recorder) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Close writes and syncs the rest. The error is why the recording is not
// whole. It may be called more than once.
func (r *Recorder) Close() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	if !r.ending {
		r.buf = r.enc.Finish(r.buf, r.opt.Clock.Now().Sub(r.start))
	}
	r.ending = true
	r.room.Broadcast()
	r.mu.Unlock()
	r.signal()
	<-r.done
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Size is how many bytes the recording has, once it is closed.
func (r *Recorder) Size() int64 {
	if r == nil {
		return 0
	}
	<-r.done
	return r.size
}

// run writes until the end or a failure.
func (r *Recorder) run() {
	defer close(r.done)
	defer r.timer.Stop()
	for {
		due := false
		select {
		case <-r.wake:
		case <-r.timer.C():
			due = true
		}
		end, err := r.flush()
		if err == nil && r.dirty && (due || end) {
			if err = r.f.Sync(); err == nil {
				r.dirty = false
			}
		}
		if end || err != nil {
			r.finish(err)
			return
		}
	}
}

// flush writes what waits. end says that it was the last.
func (r *Recorder) flush() (end bool, err error) {
	r.mu.Lock()
	b := r.buf
	r.buf, r.spare = r.spare[:0], nil
	end = r.ending
	r.room.Broadcast()
	r.mu.Unlock()
	if len(b) == 0 {
		r.spare = b
		return end, nil
	}
	var full error
	fits := b
	if room := r.opt.Limit - r.size; r.opt.Limit > 0 && int64(len(b)) > room {
		fits, full = b[:whole(b[:max(room, 0)])], ErrLimit
	}
	if !r.dirty {
		r.dirty = true
		r.timer.Reset(syncWithin)
	}
	n, err := r.f.Write(fits)
	if err != nil { // up to its last whole line it can be played
		r.size += int64(whole(fits[:n]))
		return end, errors.Join(err, r.f.Truncate(r.size))
	}
	r.size += int64(n)
	if cap(b) <= 2*buffered {
		r.spare = b
	}
	return end, full
}

// whole is how many bytes of b are whole lines.
func whole(b []byte) int { return bytes.LastIndexByte(b, '\n') + 1 }

// finish closes the file and says why, if it is not whole.
func (r *Recorder) finish(err error) {
	if err != nil && r.dirty {
		err = errors.Join(err, r.f.Sync())
	}
	err = errors.Join(err, r.f.Close())
	r.mu.Lock()
	ended := r.ending
	r.ending, r.buf = true, nil
	if err != nil {
		r.err = fmt.Errorf("record the session: %w", err)
	}
	r.room.Broadcast()
	r.mu.Unlock()
	if err != nil && !ended && r.opt.Failed != nil {
		r.opt.Failed(r.err)
	}
}
