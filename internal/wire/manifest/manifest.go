// Package manifest is the words of packages that nodes install: which file is
// for which system, where it lies and what its checksums are.
package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// MaxSize is how many bytes a manifest may have.
const MaxSize = 1 << 20

const (
	anything   = "_any"
	everything = "*"
	nano       = "nano" // ends versions of Windows Nano Server
	maxText    = 2048
)

// Manifest is a version of a package.
type Manifest struct {
	SchemaVersion string `json:"schemaVersion"`
	PackageARN    string `json:"packageArn,omitempty"`
	Version       string `json:"version"`
	// Packages are targets by platform, its version and its architecture.
	Packages map[string]map[string]map[string]Target `json:"packages"`
	Files    map[string]File                         `json:"files"`
}

// Target names the file for a system.
type Target struct {
	File string `json:"file"`
}

// File is a file of a package.
type File struct {
	Checksums        map[string]string `json:"checksums,omitempty"` // hex, by algorithm
	DownloadLocation string            `json:"downloadLocation,omitempty"`
	Size             int64             `json:"size,omitempty"`
}

// Decode reads a manifest and checks what its use relies on.
func Decode(b []byte) (Manifest, error) {
	if len(b) > MaxSize {
		return Manifest{}, fmt.Errorf("the manifest has %d bytes, more than %d", len(b), MaxSize)
	}
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return Manifest{}, fmt.Errorf("the manifest cannot be decoded: %w", err)
	}
	for _, v := range [][2]string{{"version", m.Version}, {"packageArn", m.PackageARN}} {
		if len(v[1]) > maxText || strings.ContainsRune(v[1], 0) {
			return Manifest{}, fmt.Errorf("%s of the manifest has more than %d bytes or a NUL character", v[0], maxText)
		}
	}
	switch {
	case m.Version == "":
		return Manifest{}, errors.New("the manifest has no version")
	case len(m.Packages) == 0:
		return Manifest{}, errors.New("packages of the manifest is empty: it must name a file for each platform, version and architecture")
	}
	for platform, versions := range m.Packages {
		for version, architectures := range versions {
			for architecture, t := range architectures {
				if f, ok := m.Files[t.File]; !ok || f.Size < 0 {
					return Manifest{}, fmt.Errorf("the manifest has for %.60s %.60s %.60s the file %.100q, which is not among its files, or has a negative size", platform, version, architecture, t.File)
				}
			}
		}
	}
	return m, nil
}

// Select returns the file for a system: of each table the exact entry, else the
// nearest, else the one for all.
func (m Manifest) Select(platform, version, architecture string) (name string, f File, err error) {
	versions, ok := m.Packages[platform]
	if !ok {
		versions, ok = m.Packages[anything]
	}
	if ok {
		var key string
		if key, ok = pick(versions, version); ok {
			var t Target
			if t, ok = versions[key][architecture]; !ok {
				t, ok = versions[key][anything]
			}
			if ok {
				return t.File, m.Files[t.File], nil
			}
		}
	}
	return "", File{}, fmt.Errorf("version %.60s of the package has no file for %s %s on %s", m.Version, platform, version, architecture)
}

// pick returns the key that fits a platform's version best: the version, the
// longest prefix of its parts that ends in ".*", "_any", or "*". Nano Server
// and the others keep to themselves.
func pick[T any](keys map[string]T, version string) (string, bool) {
	if _, ok := keys[version]; ok {
		return version, true
	}
	bare, small := strings.CutSuffix(version, nano)
	parts := strings.Split(bare, ".")
	best, longest := "", -1
	for key := range keys {
		k, forNano := strings.CutSuffix(key, nano)
		prefix, ok := strings.CutSuffix(k, ".*")
		want := strings.Split(prefix, ".")
		if !ok || forNano != small || len(want) > len(parts) || len(want) <= longest {
			continue
		}
		if strings.Join(parts[:len(want)], ".") == prefix {
			best, longest = key, len(want)
		}
	}
	if longest >= 0 {
		return best, true
	}
	for _, key := range []string{anything, everything} {
		if _, ok := keys[key]; ok {
			return key, true
		}
	}
	return "", false
}
