package users

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"ssmagent/internal/fsys"
	"ssmagent/platform/secfile"
)

// Files of the data directory.
const (
	recordFile = Name + ".json"
	lockFile   = Name + ".lock"
	maxRecord  = 64 << 10
)

// record is what we remember of the account that we made.
type record struct {
	// Making: the account may be there, but not whole. It is written before the
	// account is, so that whoever finds the account knows.
	Making bool `json:",omitempty"`
	// Sudoers: the rules of sudo were settled once. What became of them since
	// is an administrator's will.
	Sudoers bool `json:",omitempty"`
	// WithoutSudo: there was no sudo to write rules for.
	WithoutSudo bool `json:",omitempty"`

	// Enabled, on Windows: sessions may use the account, and whoever ends the
	// last one disables it. It is written before the account is enabled.
	Enabled bool `json:",omitempty"`
	// Joined, on Windows: we put it into the Administrators once. Removed: it
	// was in there no more, and whoever saw to that wants it so.
	Joined  bool `json:",omitempty"`
	Removed bool `json:",omitempty"`
}

func (l *Local) load() (r record, err error) {
	b, err := fsys.ReadFile(l.fs, filepath.Join(l.dir, recordFile), maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return record{}, fmt.Errorf("what is remembered of the account %s: %w; remove %s if it cannot be mended", Name, err, filepath.Join(l.dir, recordFile))
	}
	return r, nil
}

func (l *Local) save(r record) error {
	b, err := json.Marshal(r)
	if err == nil {
		err = fsys.WriteFile(l.fs, filepath.Join(l.dir, recordFile), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember the account %s: %w", Name, err)
	}
	return nil
}

// lock has one process of the machine at a time make something.
func (l *Local) lock() (unlock func(), err error) {
	if !filepath.IsAbs(l.dir) { // a session ordered by an earlier version
		return nil, fmt.Errorf("make the account %s: the agent's data directory is not known here; start another session", Name)
	}
	return secfile.Lock(filepath.Join(l.dir, lockFile))
}
