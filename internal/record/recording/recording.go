// Package recording keeps recordings of terminals: a file for each session,
// written as things happen by the process that carries the session, and
// removed by age, bytes and number.
package recording

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ssmagent/internal/fsys"
	"ssmagent/internal/record/asciicast"
	"ssmagent/internal/wire/mgs"
)

// suffix ends the names of recordings; before it stands the session's id.
const suffix = ".cast"

// Store is a directory of recordings.
type Store struct {
	FS  fsys.FS
	Dir string // made with the first recording, for root only
}

// Name is the name of a session's recording.
func Name(session string) string { return session + suffix }

// Entry is a recording in the directory.
type Entry struct {
	ID      string // of the session
	Size    int64
	Changed time.Time
}

// List returns the recordings, the oldest first.
func (s Store) List() ([]Entry, error) {
	names, err := s.FS.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the recordings: %w", err)
	}
	var all []Entry
	for _, n := range names {
		id, ok := strings.CutSuffix(n.Name(), suffix)
		fi, err := n.Info()
		if !ok || !mgs.ValidSessionID(id) || err != nil || !fi.Mode().IsRegular() {
			continue // none of ours, or removed meanwhile
		}
		all = append(all, Entry{ID: id, Size: fi.Size(), Changed: fi.ModTime()})
	}
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(a.Changed.Compare(b.Changed), strings.Compare(a.ID, b.ID))
	})
	return all, nil
}

// Open opens the recording of a session to be read from its beginning.
func (s Store) Open(session string) (fsys.File, error) {
	if !mgs.ValidSessionID(session) {
		return nil, fmt.Errorf("%.64q is no session's id", session)
	}
	f, err := s.FS.OpenFile(filepath.Join(s.Dir, Name(session)), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no recording of session %s (%w)", session, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("open the recording: %w", err)
	}
	return f, nil
}

// Header reads whose recording it is.
func (s Store) Header(session string) (asciicast.Header, error) {
	f, err := s.Open(session)
	if err != nil {
		return asciicast.Header{}, err
	}
	defer f.Close()
	r, err := asciicast.NewReader(f)
	if err != nil {
		return asciicast.Header{}, err
	}
	return r.Header, nil
}

// Length is how long the recording goes on, by its last whole event.
func (s Store) Length(session string) (time.Duration, error) {
	f, err := s.Open(session)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("read the recording: %w", err)
	}
	// The last line, whatever its length, lies in twice as much.
	from := max(size-2*asciicast.MaxLine, 0)
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return 0, fmt.Errorf("read the recording: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, 2*asciicast.MaxLine))
	if err != nil {
		return 0, fmt.Errorf("read the recording: %w", err)
	}
	return asciicast.LastTime(b), nil
}

// Retention says how much is kept; 0 of anything: no end.
type Retention struct {
	Age   time.Duration `json:",omitempty"`
	Bytes int64         `json:",omitempty"`
	Count int           `json:",omitempty"`
}

// sweepBatch is how many recordings a Sweep removes.
const sweepBatch = 100

// Sweep removes what is too old and the oldest of what is too much, but none
// that live says is still written. more says that there is more to remove than
// it did at once.
func (s Store) Sweep(r Retention, live func(session string) bool, now time.Time) (removed int, more bool, err error) {
	all, err := s.List()
	if err != nil {
		return 0, false, err
	}
	var bytes int64
	for _, e := range all {
		bytes += e.Size
	}
	count := len(all)
	for _, e := range all {
		tooOld := r.Age > 0 && now.Sub(e.Changed) > r.Age
		tooMuch := r.Bytes > 0 && bytes > r.Bytes || r.Count > 0 && count > r.Count
		if !tooOld && !tooMuch {
			break // the rest is younger
		}
		if live(e.ID) {
			continue
		}
		if removed == sweepBatch {
			return removed, true, nil
		}
		if err := s.FS.Remove(filepath.Join(s.Dir, Name(e.ID))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, false, fmt.Errorf("remove an old recording: %w", err)
		}
		removed++
		count--
		bytes -= e.Size
	}
	return removed, false, nil
}
