package setup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"ssmagent/internal/fsys"
	"ssmagent/internal/signature"
)

// Bounds of what is fetched, in bytes.
const (
	maxPackage  = 256 << 20
	maxManifest = 16 << 20
	maxText     = 64 << 10
)

// found is a package that may be installed: its signature was good, unless
// nobody wanted to know.
type found struct {
	file    string // in the scratch folder, where nobody else can change it
	ext     string // ".deb", ".rpm", ".tar.gz", ".msi"
	version string // as the manifest says; empty: the package says it
}

// fetch brings the package here and checks it.
func (r run) fetch(ctx context.Context) (found, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	keys, err := r.keys()
	if err != nil {
		return found{}, err
	}
	from := choice{url: r.Package}
	if r.Manifest != "" {
		if from, err = r.chosen(ctx); err != nil {
			return found{}, fmt.Errorf("the manifest %s: %w", r.Manifest, err)
		}
	}
	ext, err := kind(from.url)
	if err != nil {
		return found{}, err
	}
	r.say("Fetching %s", from.url)
	b, err := r.get(ctx, from.url, maxPackage)
	if err != nil {
		return found{}, fmt.Errorf("fetch the package: %w", err)
	}
	if sum := sha256.Sum256(b); from.checksum != "" && hex.EncodeToString(sum[:]) != from.checksum {
		return found{}, fmt.Errorf("%s is not what the manifest %s lists: its SHA-256 is another; nothing was installed", from.url, r.Manifest)
	}
	if err := r.trust(ctx, keys, from.url, ext, b); err != nil {
		return found{}, err
	}
	file := filepath.Join(r.Scratch, packageName+ext)
	if err := fsys.WriteFile(r.FS, file, b, 0o600); err != nil {
		return found{}, fmt.Errorf("keep the package: %w", err)
	}
	return found{file, ext, from.version}, nil
}

// keys are those that may have signed; nil when signatures are not checked.
func (r run) keys() (*signature.Keys, error) {
	if r.SkipSignatures {
		r.say("Warning: whoever made the package, it is installed: -skip-signature-validation.")
		return nil, nil
	}
	file := r.Key
	if file == "" {
		file = r.DefaultKey
	}
	b, err := r.Read(file, maxManifest)
	if err != nil && r.Key == "" {
		return nil, fmt.Errorf("no key is trusted: name the public key of who signs the packages by -key FILE, or put it into %s: %w", r.DefaultKey, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key that is trusted: %w", err)
	}
	keys, err := signature.ReadKeys(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &keys, nil
}

// trust checks who signed the package.
func (r run) trust(ctx context.Context, keys *signature.Keys, from, ext string, b []byte) error {
	if keys == nil {
		return nil
	}
	var detached []byte
	if !signature.Inside(ext) {
		var err error
		if detached, err = r.get(ctx, from+".asc", maxText); err != nil {
			return fmt.Errorf("fetch the package's signature: %w; nothing was installed", err)
		}
	}
	signer, err := keys.Check(ext, b, detached, r.Clock.Now())
	if err != nil {
		return fmt.Errorf("%s is not installed: %w", from, err)
	}
	r.say("Signed by %s", signer)
	return nil
}

// kind is the kind of package that a URL or path names.
func kind(from string) (string, error) {
	name := from
	if u, err := url.Parse(from); err == nil && strings.Contains(from, "://") {
		name = u.Path
	}
	for _, ext := range []string{".deb", ".rpm", tarball, msi} {
		if strings.HasSuffix(name, ext) {
			return ext, nil
		}
	}
	return "", fmt.Errorf("%s is no package: a deb, rpm, tar.gz or msi is", path.Base(filepath.ToSlash(name)))
}

// chosen looks into the manifest.
func (r run) chosen(ctx context.Context) (choice, error) {
	b, err := r.get(ctx, r.Manifest, maxManifest)
	if err != nil {
		return choice{}, err
	}
	m, err := parseManifest(b)
	if err != nil {
		return choice{}, err
	}
	version := r.Version
	switch version {
	case "latest":
		version = ""
	case "stable", "":
		at, err := beside(r.Manifest, "stable/VERSION")
		if err != nil {
			return choice{}, err
		}
		text, err := r.get(ctx, at, maxText)
		if err != nil {
			return choice{}, fmt.Errorf("find the stable version: %w", err)
		}
		version = strings.TrimSpace(string(text))
	}
	platform, ext := r.OS, r.preferred()
	if ext == tarball { // with the system's name it is what updaters take
		platform = "tar"
	}
	return m.choose(r.Manifest, packageName+"-"+platform+"-"+r.Arch+ext, version, r.Region)
}

// get reads a URL (https, http, file) or a path.
func (r run) get(ctx context.Context, from string, limit int64) ([]byte, error) {
	scheme, rest, isURL := strings.Cut(from, "://")
	switch {
	case !isURL:
		return r.Read(from, limit)
	case scheme == "file":
		u, err := url.Parse(from)
		if err != nil || u.Host != "" || u.Path == "" {
			return nil, fmt.Errorf("file://%s names no file: file:///path does", rest)
		}
		return r.Read(filepath.FromSlash(u.Path), limit)
	case scheme != "http" && scheme != "https":
		return nil, fmt.Errorf("%s:// is unknown here: https, http and file are known", scheme)
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	a, err := r.HTTP.Do(q)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: the server says %s", from, a.Status)
	}
	b, err := io.ReadAll(io.LimitReader(a.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", from, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("get %s: %w", from, errTooLarge)
	}
	return b, nil
}

var errTooLarge = errors.New("it is larger than any package")
