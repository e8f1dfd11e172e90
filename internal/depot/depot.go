// Package depot is where packages lie on a node: their content by version, how
// far an installation has come, the manifests that were last used. Its layout
// is the stock agent's.
package depot

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ssmagent/internal/archive"
	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
)

const (
	dirMode  = 0o700
	fileMode = 0o600

	stateFile  = "installstate"
	tracesFile = "traces"
	// unfinished begins the names of what an interrupted download leaves.
	unfinished = ".new-"
	maxFile    = 1 << 20 // bytes of a state, a manifest, traces
)

// ErrBusy says that another command works on the package.
var ErrBusy = errors.New("another command is installing or uninstalling this package; wait for its end and send the command again")

// Depot is the packages of a node. Who changes a package holds its lock.
type Depot struct {
	FS                    fsys.FS
	Clock                 clock.Clock
	Dir, Locks, Manifests string
	MaxArchive            int64 // bytes of an archive; 0: 2 GiB
	TryLock               func(file string) (unlock func(), err error)
	Locked                error // what TryLock wraps while another holds the lock
	Limits                archive.Limits
}

// Lock locks a package, or says ErrBusy. The system takes the lock back from a
// process that dies; what a dead one left half done is removed.
func (d Depot) Lock(id string) (unlock func(), err error) {
	for _, dir := range []string{d.Locks, d.path(id)} {
		if err := fsys.MkdirAll(d.FS, dir, dirMode); err != nil {
			return nil, err
		}
	}
	unlock, err = d.TryLock(filepath.Join(d.Locks, DirName(id)+".lockfile"))
	if errors.Is(err, d.Locked) {
		return nil, ErrBusy
	}
	if err != nil {
		return nil, err
	}
	if err := d.sweep(id); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

func (d Depot) sweep(id string) error {
	entries, err := d.FS.ReadDir(d.path(id))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) || fsys.IsTemp(e.Name()) {
			err = errors.Join(err, fsys.RemoveAll(d.FS, filepath.Join(d.path(id), e.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("tidy up the package's directory: %w", err)
	}
	return nil
}

func (d Depot) path(id string) string { return filepath.Join(d.Dir, DirName(id)) }

// Path is the directory of a version's content.
func (d Depot) Path(id, version string) string { return filepath.Join(d.path(id), DirName(version)) }

// Check says what is wrong with the content of a version.
func (d Depot) Check(id, version string) error {
	dir := d.Path(id, version)
	entries, err := d.FS.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("the package's content: %w", err)
	}
	scripts, dirs := 0, 0
	for _, e := range entries {
		if e.Name() == "install.sh" || e.Name() == "install.ps1" {
			scripts++
		}
		if e.IsDir() {
			dirs++
		}
	}
	switch {
	case scripts == 0:
		return errors.New("the package has neither install.sh nor install.ps1")
	case len(entries) < 2 && dirs == 0:
		return errors.New("the package has nothing but one file; it needs a script and what that installs")
	}
	return d.checkManifest(id, version, filepath.Join(dir, "manifest.json"))
}

// checkManifest compares the package's own manifest, which it may have, with
// what it was fetched as.
func (d Depot) checkManifest(id, version, file string) error {
	b, err := fsys.ReadFile(d.FS, file, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var m struct{ Name, Version string }
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return fmt.Errorf("manifest.json of the package: %w", err)
	}
	if m.Name != "" && !strings.HasSuffix(strings.ToLower(id), strings.ToLower(m.Name)) {
		return fmt.Errorf("manifest.json of the package names the package %.100q, not %.200q", m.Name, id)
	}
	if m.Version != "" && !strings.EqualFold(m.Version, version) {
		return fmt.Errorf("manifest.json of the package has the version %.60q, not %.60q", m.Version, version)
	}
	return nil
}

// Put makes the archive that fill writes the content of a version, in place of
// what was there. fill may begin anew with a Reset.
func (d Depot) Put(id, version string, fill func(*Incoming) error) (err error) {
	root, err := os.OpenRoot(d.path(id))
	if err != nil {
		return err
	}
	defer root.Close()
	name := unfinished + rand.Text()
	f, err := root.OpenFile(name+".zip", os.O_CREATE|os.O_EXCL|os.O_RDWR, fileMode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), root.RemoveAll(name+".zip"), root.RemoveAll(name)) }()
	in := &Incoming{f: f, max: d.MaxArchive}
	if in.max == 0 {
		in.max = 2 << 30
	}
	in.left = in.max
	if err := fill(in); err != nil {
		return err
	}
	if err := d.unpack(root, name, f); err != nil {
		return err
	}
	if err := root.RemoveAll(DirName(version)); err != nil {
		return fmt.Errorf("remove the old content: %w", err)
	}
	if err := root.Rename(name, DirName(version)); err != nil {
		return err
	}
	return d.FS.SyncDir(d.path(id))
}

func (d Depot) unpack(root *os.Root, name string, f *os.File) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if err := root.Mkdir(name, dirMode); err != nil {
		return err
	}
	to, err := root.OpenRoot(name)
	if err != nil {
		return err
	}
	defer to.Close()
	limits := d.Limits
	if limits == (archive.Limits{}) {
		limits = archive.DefaultLimits()
	}
	if err := archive.Unzip(to, f, size, limits); err != nil {
		return err
	}
	return filepath.WalkDir(to.Name(), func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return d.FS.SyncDir(p)
	})
}

// Incoming takes an archive.
type Incoming struct {
	f         *os.File
	left, max int64
}

// Reset throws away what was written.
func (i *Incoming) Reset() error {
	i.left = i.max
	if _, err := i.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return i.f.Truncate(0)
}

// Write implements io.Writer.
func (i *Incoming) Write(b []byte) (int, error) {
	if i.left -= int64(len(b)); i.left < 0 {
		return 0, fmt.Errorf("the archive has more than %d bytes", i.max)
	}
	return i.f.Write(b)
}

// Remove removes the content of a version.
func (d Depot) Remove(id, version string) error {
	if err := fsys.RemoveAll(d.FS, d.Path(id, version)); err != nil {
		return fmt.Errorf("remove the package's content: %w", err)
	}
	return d.FS.SyncDir(d.path(id))
}

// versions are the names of the directories of a package's content.
func (d Depot) versions(id string) []string {
	entries, err := d.FS.ReadDir(d.path(id))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), unfinished) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names
}

// Manifest is the manifest that was kept of a version, nil when there is none.
func (d Depot) Manifest(id, version string) []byte {
	b, err := fsys.ReadFile(d.FS, d.manifest(id, version), maxFile)
	if err != nil {
		return nil // it is fetched again
	}
	return b
}

// KeepManifest keeps the manifest of a version.
func (d Depot) KeepManifest(id, version string, b []byte) error {
	if err := fsys.MkdirAll(d.FS, d.Manifests, dirMode); err != nil {
		return err
	}
	return fsys.WriteFile(d.FS, d.manifest(id, version), b, fileMode)
}

// DropManifest forgets it.
func (d Depot) DropManifest(id, version string) error {
	err := d.FS.Remove(d.manifest(id, version))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d Depot) manifest(id, version string) string {
	return filepath.Join(d.Manifests, DirName(DirName(id)+"_"+DirName(version))+".json")
}

// Traces are what was noted of an installation before it asked for a restart;
// nil when it did not.
func (d Depot) Traces(id string) []byte {
	b, err := fsys.ReadFile(d.FS, filepath.Join(d.path(id), tracesFile), maxFile)
	if err != nil {
		return nil
	}
	return b
}

// KeepTraces keeps them over a restart; nil forgets them.
func (d Depot) KeepTraces(id string, b []byte) error {
	file := filepath.Join(d.path(id), tracesFile)
	if b != nil {
		return fsys.WriteFile(d.FS, file, b, fileMode)
	}
	if err := d.FS.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.FS.SyncDir(d.path(id))
}
