// Package artifact has the file that a step names as its source: fetched, or one
// that the machine has already, and with the digest that the step gives.
package artifact

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"ssmagent/internal/step"
)

const (
	maxBytes = 4 << 30
	maxName  = 80 // of a fetched file
)

// Fetch gets a file and hands its body to take, which may be called again.
type Fetch func(ctx context.Context, address string, take func(io.Reader) error) error

// Source is what a step says of its file.
type Source struct {
	Address string // a URL, or an absolute path
	SHA256  string // hexadecimal; empty: it is not checked
}

// File is a source's file on the machine.
type File struct {
	Path    string
	fetched bool
}

// Get returns the file of s: one that is fetched lies in the step's directory,
// until Remove.
func Get(ctx context.Context, s Source, in step.Input, fetch Fetch) (File, error) {
	want, err := s.digest()
	if err != nil {
		return File{}, err
	}
	if filepath.IsAbs(s.Address) {
		return local(s.Address, want)
	}
	u, err := url.Parse(s.Address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return File{}, fmt.Errorf("source %.200q is neither a URL like https://host/path nor an absolute path", withoutQuery(s.Address))
	case u.Scheme == "http" && want == nil:
		return File{}, errors.New("source has the scheme http, over which anyone can change the file; use https, or give its sourceHash")
	}
	dir, err := MakeDir(in)
	if err != nil {
		return File{}, fmt.Errorf("make the step's directory: %w", err)
	}
	defer dir.Close()
	name := fileName(u)
	f := File{Path: filepath.Join(in.StepDir, name), fetched: true}
	err = fetch(ctx, s.Address, func(from io.Reader) error { return write(dir, name, from, want) })
	if err != nil {
		return File{}, errors.Join(fmt.Errorf("fetch the source: %w", err), f.Remove())
	}
	return f, nil
}

// MakeDir makes and opens the step's directory, to which no link leads.
func MakeDir(in step.Input) (*os.Root, error) {
	rel, err := filepath.Rel(in.CommandDir, in.StepDir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(in.CommandDir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if err := root.MkdirAll(rel, 0o700); err != nil {
		return nil, err
	}
	return root.OpenRoot(rel)
}

// Remove removes a file that was fetched.
func (f File) Remove() error {
	if !f.fetched {
		return nil
	}
	if err := os.Remove(f.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (s Source) digest() ([]byte, error) {
	if s.SHA256 == "" {
		return nil, nil
	}
	b, err := hex.DecodeString(s.SHA256)
	if err != nil || len(b) != sha256.Size {
		return nil, fmt.Errorf("sourceHash %.80q is not a SHA-256: 64 hexadecimal digits", s.SHA256)
	}
	return b, nil
}

func local(name string, want []byte) (File, error) {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no file")
	}
	if err != nil {
		return File{}, fmt.Errorf("source %.300s: %w", name, err)
	}
	if want == nil {
		return File{Path: name}, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return File{}, fmt.Errorf("source: %w", err)
	}
	defer f.Close()
	if err := digest(io.Discard, f, want); err != nil {
		return File{}, fmt.Errorf("source %.300s: %w", name, err)
	}
	return File{Path: name}, nil
}

func write(dir *os.Root, name string, from io.Reader, want []byte) error {
	if err := dir.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	to, err := dir.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(digest(to, from, want), to.Close())
}

// digest copies a file and checks what it was.
func digest(to io.Writer, from io.Reader, want []byte) error {
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, sum), io.LimitReader(from, maxBytes+1))
	switch got := sum.Sum(nil); {
	case err != nil:
		return err
	case n > maxBytes:
		return fmt.Errorf("the file has more than %d bytes", int64(maxBytes))
	case want != nil && subtle.ConstantTimeCompare(got, want) != 1:
		return fmt.Errorf("the file's SHA-256 is %x, not the sourceHash %x: it is another file, or a damaged one", got, want)
	}
	return nil
}

// fileName is a name for what u leads to that can be no path, no device and no
// option of a program.
func fileName(u *url.URL) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, path.Base(u.Path))
	return "source-" + strings.TrimRight(name[max(0, len(name)-maxName):], ".")
}

// withoutQuery is an address without what may be secret in it.
func withoutQuery(address string) string {
	address, _, _ = strings.Cut(address, "?")
	if _, after, ok := strings.Cut(address, "@"); ok {
		return after
	}
	return address
}
