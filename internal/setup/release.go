package setup

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"ssmagent/internal/wire/doc"
)

// packageName is the agent's in lists of releases and to package managers.
const packageName = "amazon-ssm-agent"

// manifest is the stock agent's list of releases.
type manifest struct {
	UriFormat string
	Packages  []struct {
		Name  string
		Files []struct {
			Name              string
			AvailableVersions []release
		}
	}
}

// release is one version of one file.
type release struct{ Version, Checksum, Status string }

// The words of Status; none means active.
const (
	active     = "Active"
	deprecated = "Deprecated"
)

// choice is the file that was chosen from a manifest.
type choice struct {
	url      string
	version  string
	checksum string // SHA-256, in hex
}

// parseManifest reads a list of releases.
func parseManifest(b []byte) (manifest, error) {
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return manifest{}, fmt.Errorf("it is no manifest: %w", err)
	}
	if m.UriFormat == "" {
		return manifest{}, errors.New("it is no manifest: UriFormat is missing")
	}
	return m, nil
}

// choose finds the file of that name in the version that is wanted: a number,
// or the newest that is active. at is the manifest's own URL.
func (m manifest) choose(at, file, version, region string) (choice, error) {
	var all []release
	for _, p := range m.Packages {
		for _, f := range p.Files {
			if p.Name == packageName && f.Name == file {
				all = append(all, f.AvailableVersions...)
			}
		}
	}
	if len(all) == 0 {
		return choice{}, fmt.Errorf("it has no %s of the package %s", file, packageName)
	}
	all = slices.DeleteFunc(all, func(r release) bool { _, err := doc.CompareVersions(r.Version, "0"); return err != nil })
	slices.SortStableFunc(all, func(a, b release) int {
		c, _ := doc.CompareVersions(b.Version, a.Version) // both are versions
		return c
	})
	for _, r := range all {
		if version != "" && r.Version != version || version == "" && r.Status != "" && r.Status != active {
			continue
		}
		if r.Status != "" && r.Status != active && r.Status != deprecated {
			return choice{}, fmt.Errorf("version %s of %s is %s", version, file, r.Status)
		}
		return m.choice(r, at, file, region)
	}
	if version == "" {
		return choice{}, fmt.Errorf("it has no active version of %s", file)
	}
	return choice{}, fmt.Errorf("it has no version %s of %s", version, file)
}

func (m manifest) choice(r release, at, file, region string) (choice, error) {
	sum := strings.ToLower(r.Checksum)
	if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 32 {
		return choice{}, fmt.Errorf("the checksum of %s %s is no SHA-256", file, r.Version)
	}
	place := strings.NewReplacer("{Region}", region, "{PackageName}", packageName, "{PackageVersion}", r.Version, "{FileName}", file).Replace(m.UriFormat)
	u, err := beside(at, place)
	if err != nil {
		return choice{}, err
	}
	return choice{u, r.Version, sum}, nil
}

// beside is the URL that ref means in a document at the URL at.
func beside(at, ref string) (string, error) {
	base, err := url.Parse(at)
	if err != nil {
		return "", fmt.Errorf("its URL %q is none: %w", at, err)
	}
	u, err := base.Parse(ref)
	if err != nil {
		return "", fmt.Errorf("its UriFormat makes no URL: %w", err)
	}
	return u.String(), nil
}
