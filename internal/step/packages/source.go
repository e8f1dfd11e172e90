package packages

import (
	"context"
	"crypto/md5" //nolint:gosec // one of the two algorithms that manifests know
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"ssmagent/internal/depot"
	"ssmagent/internal/wire/manifest"
	"ssmagent/internal/wire/ssm"
)

const codeNotFound = "ResourceNotFoundException"

// source is one version of a package as its service has it.
type source struct {
	id       string // on disk, in states and in reports
	version  string // of the package
	manifest manifest.Manifest
	raw      []byte
	cacheAs  string // version under which the manifest is kept
	same     bool   // as the one that is kept

	document bool // of the document service, not of the package service
	given    ssm.GetDocumentInput
	files    []ssm.AttachmentContent // of documents; nil: not asked for yet
}

// find chooses the service that has the package and fetches the manifest.
func (p Plugin) find(ctx context.Context, name, version string) (source, error) {
	if strings.EqualFold(version, latest) {
		version = ""
	}
	if strings.HasPrefix(name, "arn:") && strings.Contains(name, ":document/") || version != "" && !plainVersion(version) {
		return p.document(ctx, name, version)
	}
	asked := version
	if asked == "" {
		asked = latest
	}
	var out ssm.GetManifestOutput
	err := p.Call(ctx, "GetManifest", ssm.GetManifestInput{PackageName: name, PackageVersion: asked}, &out)
	if err != nil && p.Refused(err) == codeNotFound {
		return p.document(ctx, name, version)
	}
	if err != nil {
		return source{}, err
	}
	s := source{raw: []byte(out.Manifest)}
	if s.manifest, err = manifest.Decode(s.raw); err != nil {
		return source{}, err
	}
	if s.id = s.manifest.PackageARN; s.id == "" {
		return source{}, errors.New("the manifest has no packageArn")
	}
	s.version, s.cacheAs = s.manifest.Version, s.manifest.Version
	s.compare(p.Depot.Manifest(s.id, s.cacheAs))
	return s, nil
}

func plainVersion(s string) bool {
	for _, c := range []byte(s) {
		if c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// document finds a package that is a document. What is kept of it is used when
// its hash is still the document's.
func (p Plugin) document(ctx context.Context, name, version string) (source, error) {
	var about ssm.DescribeDocumentOutput
	if err := p.Call(ctx, "DescribeDocument", ssm.DescribeDocumentInput{Name: name, VersionName: version}, &about); err != nil {
		return source{}, err
	}
	d := about.Document
	if d.Status != "Active" {
		return source{}, fmt.Errorf("the document %.200q is %.40q, not Active; wait until it is", name, d.Status)
	}
	s := source{id: d.Name, cacheAs: d.DocumentVersion, document: true, given: ssm.GetDocumentInput{Name: name, VersionName: version}}
	if s.id == "" {
		s.id = name
	}
	kept := p.Depot.Manifest(s.id, s.cacheAs)
	if sum := sha256.Sum256(kept); kept != nil && strings.EqualFold(hex.EncodeToString(sum[:]), d.Hash) {
		s.raw = kept
	} else if err := p.contents(ctx, &s); err != nil {
		return source{}, err
	}
	var err error
	if s.manifest, err = manifest.Decode(s.raw); err != nil {
		return source{}, err
	}
	s.version = s.manifest.Version
	s.compare(kept)
	return s, nil
}

// contents asks for the manifest and the addresses of the files.
func (p Plugin) contents(ctx context.Context, s *source) error {
	var out ssm.GetDocumentOutput
	if err := p.Call(ctx, "GetDocument", s.given, &out); err != nil {
		return err
	}
	if out.Status != "Active" {
		return fmt.Errorf("the document %.200q is %.40q, not Active; wait until it is", s.given.Name, out.Status)
	}
	s.raw, s.files = []byte(out.Content), out.AttachmentsContent
	return nil
}

// compare says whether the manifest means the same as the one that is kept.
func (s *source) compare(kept []byte) {
	old, err := manifest.Decode(kept)
	now := s.manifest
	s.same = err == nil && reflect.DeepEqual(unsigned(old), unsigned(now))
}

// unsigned is a manifest whose addresses have no query: signatures in it are new
// each time.
func unsigned(m manifest.Manifest) manifest.Manifest {
	files := map[string]manifest.File{}
	for name, f := range m.Files {
		f.DownloadLocation, _, _ = strings.Cut(f.DownloadLocation, "?")
		files[name] = f
	}
	m.Files = files
	return m
}

// download makes the version's content the node's.
func (w *work) download(ctx context.Context, s source) error {
	name, file, err := s.manifest.Select(w.system.Name, w.system.Version, architecture(w.Architecture))
	if err != nil {
		return err
	}
	where, sums := file.DownloadLocation, file.Checksums
	if s.document {
		if s.files == nil {
			if err := w.contents(ctx, &s); err != nil {
				return err
			}
		}
		i := slices.IndexFunc(s.files, func(a ssm.AttachmentContent) bool { return a.Name == name })
		if i < 0 {
			return fmt.Errorf("the document has no attachment %.100q, which its manifest names", name)
		}
		where = s.files[i].Url
		if strings.EqualFold(s.files[i].HashType, "sha256") && len(sums) == 0 {
			sums = map[string]string{"sha256": s.files[i].Hash}
		}
	}
	checks, err := checksums(sums)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(where, "https://") && (!strings.HasPrefix(where, "http://") || len(checks) == 0) {
		return fmt.Errorf("the file %.100q comes from %.100q; an address must begin with https://, or with http:// where the manifest has a checksum", name, where)
	}
	fetch := func(in *depot.Incoming) error {
		return w.Fetch(ctx, where, func(body io.Reader) error { return receive(in, body, checks) })
	}
	if err := w.Depot.Put(s.id, s.version, fetch); err != nil {
		return fmt.Errorf("download %.100q: %w", name, err)
	}
	return w.Depot.Check(s.id, s.version)
}

func architecture(goarch string) string {
	if goarch == "amd64" {
		return "x86_64"
	}
	return goarch
}

// check is a checksum that a file must have.
type check struct {
	algorithm, want string
	hash            func() hash.Hash
}

// checksums are those that can be checked. A manifest without any, or with one
// that is empty, asks for none.
func checksums(given map[string]string) ([]check, error) {
	var all []check
	for algorithm, want := range given {
		if want == "" && len(given) == 1 {
			return nil, nil
		}
		switch strings.ToLower(algorithm) {
		case "sha256", "":
			all = append(all, check{"SHA-256", want, sha256.New})
		case "md5":
			all = append(all, check{"MD5", want, md5.New})
		}
	}
	if len(given) > 0 && len(all) == 0 {
		return nil, errors.New("the manifest has checksums of algorithms that are not known; known are sha256 and md5")
	}
	return all, nil
}

// receive writes a body and compares its checksums.
func receive(in *depot.Incoming, body io.Reader, checks []check) error {
	if err := in.Reset(); err != nil {
		return err
	}
	to, sums := []io.Writer{in}, []hash.Hash{}
	for _, c := range checks {
		h := c.hash()
		to, sums = append(to, h), append(sums, h)
	}
	if _, err := io.Copy(io.MultiWriter(to...), body); err != nil {
		return err
	}
	for i, c := range checks {
		if got := hex.EncodeToString(sums[i].Sum(nil)); !strings.EqualFold(got, c.want) {
			return fmt.Errorf("its %s is %s, the manifest says %s", c.algorithm, got, strconv.QuoteToASCII(clip(c.want)))
		}
	}
	return nil
}

func clip(s string) string { return s[:min(len(s), 100)] }

// fetch downloads, and once more with a fresh manifest when that failed.
func (w *work) fetch(ctx context.Context, s *source) error {
	err := w.download(ctx, *s)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if derr := w.Depot.DropManifest(s.id, s.cacheAs); derr != nil {
		return errors.Join(err, derr)
	}
	fresh, ferr := w.find(ctx, w.i.Name, w.asked(s))
	if ferr != nil || fresh.id != s.id || fresh.version != s.version {
		return err
	}
	*s = fresh
	return w.download(ctx, fresh)
}

// asked is the version by which a source was asked for.
func (w *work) asked(s *source) string {
	if s.version == w.source.version {
		return w.i.Version
	}
	return s.version
}
