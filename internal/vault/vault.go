// Package vault keeps the node's secrets on disk in the stock agent's layout:
// <data>/Vault/Manifest lists the keys, <data>/Vault/Store/<key> holds each
// value. What is written here is read by the stock agent, and the reverse.
package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"ssmagent/internal/fsys"
)

// The keys that the stock agent uses. Keys that begin with EC2 are listed in a
// manifest of their own.
const (
	RegistrationKey     = "RegistrationKey"
	EC2RegistrationKey  = "EC2RegistrationKey"
	InstanceFingerprint = "InstanceFingerprint"
)

// Limits in bytes; the largest value of the stock agent has about 3,000.
const (
	MaxValue    = 1 << 20
	maxManifest = 1 << 20
)

const (
	filePerm fs.FileMode = 0o600
	dirPerm  fs.FileMode = 0o700
)

// ErrNotFound is returned for a key that has no value.
var ErrNotFound = errors.New("does not exist")

var keyRule = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`) })

// Vault is one vault. Safe for concurrent use within a process; between
// processes each Put and Delete is atomic.
type Vault struct {
	fs  fsys.FS
	dir string
	mu  sync.Mutex

	given string // the service manager's folder of credentials; empty: none

	sealer     Sealer
	keepSealed bool
}

// New returns the vault below data, an absolute path. It touches nothing.
func New(f fsys.FS, data string) *Vault {
	return &Vault{fs: f, dir: filepath.Join(data, "Vault")}
}

// Get returns the value of key. One that is not what was stored is ErrDamaged.
func (v *Vault) Get(key string) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	value, _, err := v.get(key)
	return value, err
}

// get also says whether the value had a sum.
func (v *Vault) get(key string) (value []byte, summed bool, err error) {
	if v.Given(key) {
		value, err = v.getGiven(key)
		return value, true, err
	}
	value, summed, err = v.raw(key)
	if err != nil {
		return nil, summed, err
	}
	if sealed, ok := sealedValue(value); ok && secretKey(key) {
		value, err = v.open(key, sealed)
	}
	return value, summed, err
}

// raw is the value as it is on the disk, without its sum.
func (v *Vault) raw(key string) (value []byte, summed bool, err error) {
	if err := v.checkDirs(); err != nil {
		return nil, false, err
	}
	m, err := v.manifest(key)
	if err != nil {
		return nil, false, err
	}
	raw, err := fsys.ReadFile(v.fs, v.path(key), MaxValue)
	_, listed := m[key]
	switch {
	case errors.Is(err, fs.ErrNotExist) && listed:
		return nil, false, fmt.Errorf("vault: %s: its file is missing: it %w", v.path(key), ErrDamaged)
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, fmt.Errorf("vault: %s %w", key, ErrNotFound)
	case err != nil:
		return nil, false, fmt.Errorf("vault: %w", err)
	}
	if value, summed, err = withoutSum(raw); err != nil {
		return nil, summed, fmt.Errorf("vault: %s: %w", v.path(key), err)
	}
	return value, summed, nil
}

// Confirm gives the value of key, which has proved right, a sum where the
// stock agent wrote it without. A key without a value is no error.
func (v *Vault) Confirm(key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	value, summed, err := v.get(key)
	if errors.Is(err, ErrNotFound) || err == nil && summed {
		return nil
	}
	if err != nil {
		return err
	}
	return v.put(key, value)
}

// Put stores value under key, durably. After a crash the key has the old value
// or the new one. A JSON object gets a sum, by which Get knows it again.
func (v *Vault) Put(key string, value []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if len(value) > MaxValue {
		return fmt.Errorf("vault: the value of %s is larger than %d bytes", key, MaxValue)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.put(key, value)
}

func (v *Vault) put(key string, value []byte) error {
	if v.Given(key) {
		return fmt.Errorf("vault: %s %w", key, ErrGiven)
	}
	if err := v.makeDirs(); err != nil {
		return err
	}
	m, err := v.manifest(key)
	if err != nil {
		return err
	}
	if value, err = v.seal(key, value); err != nil {
		return err
	}
	if err := fsys.WriteFile(v.fs, v.path(key), withSum(value), filePerm); err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	if m[key] == v.path(key) {
		return nil
	}
	m[key] = v.path(key)
	return v.writeManifest(key, m)
}

// Delete removes key, durably. A key that is not there is no error.
func (v *Vault) Delete(key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if v.Given(key) {
		return fmt.Errorf("vault: %s %w", key, ErrGiven)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.checkDirs(); err != nil {
		return err
	}
	m, err := v.manifest(key)
	if err != nil {
		return err
	}
	if _, ok := m[key]; ok {
		delete(m, key)
		if err := v.writeManifest(key, m); err != nil {
			return err
		}
	}
	if err := v.fs.Remove(v.path(key)); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("vault: remove %s: %w", key, err)
	}
	if err := v.fs.SyncDir(v.store()); err != nil {
		return fmt.Errorf("vault: remove %s: %w", key, err)
	}
	return nil
}

// CheckWritable proves that Put would work, by writing and removing a file.
func (v *Vault) CheckWritable() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.makeDirs(); err != nil {
		return err
	}
	probe := filepath.Join(v.dir, ".probe")
	if err := fsys.WriteFile(v.fs, probe, nil, filePerm); err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	if err := v.fs.Remove(probe); err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	return nil
}

func (v *Vault) store() string          { return filepath.Join(v.dir, "Store") }
func (v *Vault) path(key string) string { return filepath.Join(v.store(), key) }

func (v *Vault) manifestPath(key string) string {
	if strings.HasPrefix(key, "EC2") {
		return filepath.Join(v.dir, "EC2Manifest")
	}
	return filepath.Join(v.dir, "Manifest")
}

func checkKey(key string) error {
	if !keyRule().MatchString(key) {
		return fmt.Errorf("vault: %.80q is not a key: letters and digits only", key)
	}
	return nil
}

func (v *Vault) makeDirs() error {
	if err := v.checkDirs(); err != nil {
		return err
	}
	if err := fsys.MkdirAll(v.fs, v.store(), dirPerm); err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	return nil
}

// checkDirs refuses a vault that is reached through a link: somebody who may
// not write here could have put it in place of the directory.
func (v *Vault) checkDirs() error {
	for _, dir := range []string{v.dir, v.store()} {
		info, err := v.fs.Lstat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("vault: %w", err)
		}
		if !info.IsDir() {
			return fmt.Errorf("vault: %s is a link or a file, not a directory; remove it", dir)
		}
	}
	return nil
}

// manifest reads the index that key belongs to. It is the stock agent's: a
// value's place follows from its key, and what is there counts, listed or not,
// so that a damaged index makes nobody forget who he is. One that is torn (the
// stock agent writes it in place) is made anew from the values that are there.
func (v *Vault) manifest(key string) (map[string]string, error) {
	raw, err := fsys.ReadFile(v.fs, v.manifestPath(key), maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	if m, ok := parseManifest(raw); ok {
		return m, nil
	}
	return v.rebuild(key)
}

func parseManifest(raw []byte) (map[string]string, bool) {
	var m map[string]string
	if json.Unmarshal(raw, &m) != nil || m == nil {
		return nil, false
	}
	return m, true
}

func (v *Vault) rebuild(key string) (map[string]string, error) {
	m := map[string]string{}
	entries, err := v.fs.ReadDir(v.store())
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, fmt.Errorf("vault: %s is damaged: %w", v.manifestPath(key), err)
	}
	for _, e := range entries {
		if name := e.Name(); keyRule().MatchString(name) && v.manifestPath(name) == v.manifestPath(key) {
			m[name] = v.path(name)
		}
	}
	return m, nil
}

func (v *Vault) writeManifest(key string, m map[string]string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return fmt.Errorf("vault: encode the manifest: %w", err)
	}
	if err := fsys.WriteFile(v.fs, v.manifestPath(key), bytes.TrimSpace(b.Bytes()), filePerm); err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	return nil
}
