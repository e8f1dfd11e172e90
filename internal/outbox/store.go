package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"ssmagent/internal/fsys"
)

const (
	logName              = "outbox.log"
	filePerm fs.FileMode = 0o600
	dirPerm  fs.FileMode = 0o700
	// maxRecord has room for content of which every byte is escaped.
	maxRecord = 6*(MaxContent+4*maxField) + 1024
	small     = 256 << 10
)

// record is a line of the log: an entry put, or the id of one done.
type record struct {
	Put  *Entry `json:"put,omitempty"`
	Done string `json:"done,omitempty"`
}

// store is the outbox on disk.
type store struct {
	fs   fsys.FS
	dir  string
	wal  *fsys.Log
	slog *slog.Logger
	// small is the size in bytes up to which dead records do not matter.
	small int64
}

func openStore(f fsys.FS, dir string, log *slog.Logger) (*store, []Entry, error) {
	if err := fsys.SettleDir(f, dir, dirPerm); err != nil {
		return nil, nil, err
	}
	s := &store{fs: f, dir: dir, slog: log, small: small}
	s.sweep()
	wal, raw, err := fsys.OpenLog(f, s.name(), filePerm, maxRecord)
	if errors.Is(err, fsys.ErrDamaged) {
		log.Error("the outbox is damaged; reports in the damaged part are lost, a copy is kept", "error", err, "copy", s.name()+".damaged")
		if err := s.salvage(raw); err != nil {
			return nil, nil, err
		}
		wal, raw, err = fsys.OpenLog(f, s.name(), filePerm, maxRecord)
	}
	if err != nil {
		return nil, nil, err
	}
	s.wal = wal
	entries, bad := replay(raw)
	if bad > 0 {
		log.Error("the outbox holds lines that this version cannot read; they are skipped", "lines", bad, "file", s.name())
	}
	return s, entries, nil
}

func (s *store) name() string { return filepath.Join(s.dir, logName) }

// sweep removes what a crash left of unfinished writes.
func (s *store) sweep() {
	entries, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if fsys.IsTemp(e.Name()) {
			if err := s.fs.Remove(filepath.Join(s.dir, e.Name())); err != nil {
				s.slog.Debug("an unfinished file stays", "file", e.Name(), "error", err)
			}
		}
	}
}

// replay returns the entries that are not done, in the order they were put,
// and how many records are unreadable.
func replay(raw [][]byte) (entries []Entry, bad int) {
	place := map[string]int{} // id -> index in entries
	live := 0
	for _, line := range raw {
		var r record
		if json.Unmarshal(line, &r) != nil || (r.Put == nil) == (r.Done == "") || r.Put != nil && r.Put.check() != nil {
			bad++
			continue
		}
		if r.Put == nil {
			if i, ok := place[r.Done]; ok {
				entries[i].ID = "" // done
				delete(place, r.Done)
				live--
			}
			continue
		}
		if _, ok := place[r.Put.ID]; !ok {
			place[r.Put.ID] = len(entries)
			entries = append(entries, *r.Put)
			live++
		}
	}
	open := make([]Entry, 0, live)
	for _, e := range entries {
		if e.ID != "" {
			open = append(open, e)
		}
	}
	return open, bad
}

// salvage replaces a damaged log by its whole records, after keeping a copy.
func (s *store) salvage(raw [][]byte) error {
	const limit = 1 << 30
	damaged, err := fsys.ReadFile(s.fs, s.name(), limit)
	if err != nil {
		return err
	}
	if err := fsys.WriteFile(s.fs, s.name()+".damaged", damaged, filePerm); err != nil {
		return err
	}
	fresh := s.name() + ".new"
	if err := s.fs.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	wal, _, err := fsys.OpenLog(s.fs, fresh, filePerm, maxRecord)
	if err != nil {
		return err
	}
	if err := errors.Join(wal.Append(raw...), wal.Close()); err != nil {
		return err
	}
	// OpenLog, which comes next, syncs the directory.
	return s.fs.Rename(fresh, s.name())
}

func encode(entries []Entry) ([][]byte, error) {
	lines := make([][]byte, len(entries))
	for i := range entries {
		line, err := json.Marshal(record{Put: &entries[i]})
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", entries[i].ID, err)
		}
		lines[i] = line
	}
	return lines, nil
}

// put is durable when it returns nil. Callers at the same time share a sync.
func (s *store) put(entries []Entry) error {
	lines, err := encode(entries)
	if err != nil {
		return err
	}
	return s.wal.Append(lines...)
}

// done is durable with the next put.
func (s *store) done(id string) error {
	line, err := json.Marshal(record{Done: id})
	if err != nil {
		return err
	}
	return s.wal.AppendLazy(line)
}

// replace makes entries all that the log holds. Nobody may put meanwhile.
func (s *store) replace(entries []Entry) error {
	lines, err := encode(entries)
	if err != nil {
		return err
	}
	return s.wal.Rewrite(lines)
}

// reset is replace for a log that failed: on a file opened anew.
func (s *store) reset(entries []Entry) error {
	closing := s.wal.Close() // it failed before: what it says now is no news
	wal, _, err := fsys.OpenLog(s.fs, s.name(), filePerm, maxRecord)
	if err != nil {
		return errors.Join(err, closing)
	}
	s.wal = wal
	return s.replace(entries)
}

// wasteful says whether the log is mostly dead records.
func (s *store) wasteful(live int) bool {
	size := s.wal.Size()
	return size > s.small && size > 4*int64(live)
}

func (s *store) close() error { return s.wal.Close() }
