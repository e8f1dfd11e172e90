package depot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"ssmagent/internal/fsys"
)

// Phase is how far an installation has come; the numbers are the stock agent's.
type Phase int

// The phases.
const (
	None Phase = iota
	Unknown
	Failed
	Uninstalling
	Uninstalled
	New
	Upgrading
	Installing
	Installed
	RollbackUninstall
	RollbackInstall
	Updating
)

// String implements fmt.Stringer.
func (p Phase) String() string {
	names := []string{"None", "Unknown", "Failed", "Uninstalling", "Uninstalled", "New", "Upgrading", "Installing", "Installed", "RollbackUninstall", "RollbackInstall", "Updating"}
	if p < 0 || int(p) >= len(names) {
		return fmt.Sprintf("Phase(%d)", int(p))
	}
	return names[p]
}

// Unfinished says that something is under way, or was when it was cut off.
func (p Phase) Unfinished() bool {
	switch p {
	case Uninstalling, Upgrading, Installing, RollbackUninstall, RollbackInstall, Updating:
		return true
	}
	return false
}

// State is where a package stands.
type State struct {
	Name          string    `json:"name"`
	Version       string    `json:"version"`
	Phase         Phase     `json:"state"`
	Time          time.Time `json:"time"`
	LastInstalled string    `json:"lastinstalledversion"`
	Retries       int       `json:"retrycount"` // consecutive writes of the same phase
}

// decodeState reads a state file.
func decodeState(b []byte) (State, error) {
	var s State
	if err := json.Unmarshal(b, &s); err != nil {
		return State{}, err
	}
	if s.Phase < None || s.Phase > Updating {
		return State{}, fmt.Errorf("state %d is not known", s.Phase)
	}
	return s, nil
}

// State reads where a package stands. Without a file, or with one that cannot
// be read, what is there of content tells that something was installed.
func (d Depot) State(id string) State {
	b, err := fsys.ReadFile(d.FS, filepath.Join(d.path(id), stateFile), maxFile)
	if err == nil {
		var s State
		if s, err = decodeState(b); err == nil {
			return s
		}
	}
	s := State{Name: id}
	all := d.versions(id)
	if len(all) > 0 {
		s.Version = all[len(all)-1]
	}
	if len(all) > 0 || !errors.Is(err, fs.ErrNotExist) {
		s.Phase = Unknown
	}
	return s
}

// Installed is the version that is installed, empty when none is. To install
// over a version that failed is to replace it.
func (s State) Installed(forInstall bool) string {
	switch {
	case s.Phase == Installed, s.Phase == Unknown && s.LastInstalled == "", s.Phase == Failed && forInstall:
		return s.Version
	}
	return s.LastInstalled
}

// SetState makes durable where a package stands. New does not take the place of
// another phase.
func (d Depot) SetState(id, version string, p Phase) error {
	old := d.State(id)
	if p == New && old.Phase != None {
		return nil
	}
	s := State{Name: id, Version: version, Phase: p, Time: d.Clock.Now().UTC(), LastInstalled: old.LastInstalled}
	if old.Phase == p {
		s.Retries = old.Retries + 1
	}
	switch p {
	case Installed:
		s.LastInstalled = version
	case None, Uninstalled:
		s.LastInstalled = ""
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := fsys.WriteFile(d.FS, filepath.Join(d.path(id), stateFile), b, fileMode); err != nil {
		return fmt.Errorf("keep the state %s of the package: %w", p, err)
	}
	return nil
}
