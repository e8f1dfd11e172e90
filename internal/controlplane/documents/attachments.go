package documents

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/google/uuid"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/manifest"
	"ssmagent/internal/wire/ssm"
)

// Staged is a copy of an object that belongs to nobody yet.
type Staged struct {
	Blob string
	Size int64
	Hash string // SHA-256, hex
	ETag string
}

// Files keeps what is attached to documents.
type Files interface {
	// Stage copies an object; what is not kept until the next start is
	// gone then. Again copies something that is attached already.
	Stage(bucket, key string) (Staged, error)
	Again(key string) (Staged, error)
	// Keep gives a copy a key, which must be new. Unkeep takes it back; what
	// it returns is for Discard once that is durable.
	Keep(tx *store.Tx, key string, f Staged) error
	Unkeep(tx *store.Tx, key string) (blobs []string, err error)
	Discard(blobs ...string)
	// URL is an address that is good for a while.
	URL(ctx context.Context, key string) (string, error)
}

// Attachment is something attached to a version of a document.
type Attachment struct {
	Name string
	Key  string // of Files
	Size int64
	Hash string // SHA-256, hex
}

// readPackage is newVersion for packages, whose content is a manifest.
func (v *Version) readPackage() error {
	if v.Format != "JSON" {
		return api.Errorf(codeContent, "a Package document is JSON, not %s", v.Format)
	}
	m, err := manifest.Decode([]byte(v.Content))
	if err != nil {
		return api.Errorf(codeContent, "%v", err)
	}
	v.SchemaVersion, v.PackageVersion, v.PackageARN = m.SchemaVersion, m.Version, m.PackageARN
	found := map[string]bool{}
	for p := range m.Packages {
		switch p {
		case "windows":
			found["Windows"] = true
		case "mac_os_x":
			found["MacOS"] = true
		case "_any":
			found["Windows"], found["Linux"], found["MacOS"] = true, true, true
		default:
			found["Linux"] = true
		}
	}
	v.PlatformTypes = slices.Sorted(maps.Keys(found))
	return nil
}

// attached is what a request brings along, copied.
type attached struct {
	list   []Attachment
	staged []Staged // of the same order
}

// attach copies what the sources of a document of this type name. All that the
// manifest of a package names must come along, and be what it says.
func (s *Service) attach(kind string, v Version, sources []ssm.AttachmentsSource) (a attached, err error) {
	if kind != typePackage {
		if len(sources) > 0 {
			err = api.Errorf(api.CodeValidation, "Attachments are for documents of type Package here, not %s", kind)
		}
		return a, err
	}
	m, err := manifest.Decode([]byte(v.Content))
	if err != nil {
		return a, api.Errorf(codeContent, "%v", err)
	}
	defer func() {
		if err != nil {
			s.discard(a)
		}
	}()
	for _, source := range sources {
		if err := s.copyFrom(source, m, &a); err != nil {
			return a, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		i := slices.IndexFunc(a.list, func(f Attachment) bool { return f.Name == name })
		if i < 0 {
			return a, api.Errorf(codeContent, "the manifest names the file %s, which is not attached: add it to Attachments", api.Clip(name, 128))
		}
		if sum := m.Files[name].Checksums["sha256"]; sum != "" && !strings.EqualFold(sum, a.list[i].Hash) {
			return a, api.Errorf(codeContent, "the SHA-256 of %s is %s, the manifest says %s", name, a.list[i].Hash, api.Clip(sum, 128))
		}
	}
	return a, nil
}

// copyFrom adds what one source names.
func (s *Service) copyFrom(source ssm.AttachmentsSource, m manifest.Manifest, a *attached) error {
	where := source.Values[0]
	if source.Key == "AttachmentReference" {
		old, err := s.referenced(where)
		if err != nil {
			return err
		}
		f, err := s.opt.Files.Again(old.Key)
		return a.add(source.Name, old.Name, f, err)
	}
	bucket, key, err := parseObject(where)
	if err != nil {
		return api.Errorf(api.CodeValidation, "Attachments: %v", err)
	}
	if source.Key == "S3FileUrl" {
		f, err := s.opt.Files.Stage(bucket, key)
		return a.add(source.Name, path.Base(key), f, err)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		f, err := s.opt.Files.Stage(bucket, strings.TrimPrefix(strings.TrimSuffix(key, "/")+"/"+name, "/"))
		if err := a.add("", name, f, err); err != nil {
			return err
		}
	}
	return nil
}

// add notes a copy under the name given, else under its own.
func (a *attached) add(given, own string, f Staged, err error) error {
	name := own
	if given != "" {
		name = given
	}
	if refused, ok := errors.AsType[*api.Error](err); ok {
		return api.Errorf(codeContent, "the attachment %s cannot be had: %s", api.Clip(name, 128), refused.Message)
	}
	if err != nil {
		return fmt.Errorf("copy the attachment %.100q: %w", name, err)
	}
	a.staged = append(a.staged, f) // so that it is discarded also if it is refused
	if !api.Matches("attachmentName", name) {
		return api.Errorf(codeContent, "the attachment name %s must be made of 3 to 128 letters, digits and _-.", api.Clip(name, 128))
	}
	if slices.ContainsFunc(a.list, func(f Attachment) bool { return f.Name == name }) {
		return api.Errorf(codeContent, "two attachments have the name %s: give one of them another Name", name)
	}
	a.list = append(a.list, Attachment{Name: name, Key: uuid.NewString() + "/" + name, Size: f.Size, Hash: f.Hash})
	return nil
}

// referenced finds "document/version/name".
func (s *Service) referenced(where string) (found Attachment, err error) {
	p := strings.Split(where, "/")
	if len(p) != 3 {
		return found, api.Errorf(api.CodeValidation, "Attachments: AttachmentReference %s is not of the form document/version/name", api.Clip(where, 128))
	}
	err = s.opt.DB.View(func(tx *store.Tx) error {
		_, v, err := s.find(tx, p[0], p[1], "")
		if err != nil {
			return api.Errorf(codeContent, "AttachmentReference %s: %s", api.Clip(where, 128), api.ErrorOf(err).Message)
		}
		i := slices.IndexFunc(v.Attachments, func(f Attachment) bool { return f.Name == p[2] })
		if i < 0 {
			return api.Errorf(codeContent, "AttachmentReference %s: nothing of that name is attached there", api.Clip(where, 128))
		}
		found = v.Attachments[i]
		return nil
	})
	return found, err
}

// parseObject reads the place of an object or a folder in S3: s3://bucket/key,
// or an address with the bucket in its path or, at Amazon's hosts, in its name.
func parseObject(where string) (bucket, key string, err error) {
	u, err := url.Parse(where)
	if err != nil || u.Host == "" || !slices.Contains([]string{"s3", "http", "https"}, u.Scheme) {
		return "", "", fmt.Errorf("%.100q is no place in S3: write s3://bucket/key", where)
	}
	key = strings.TrimPrefix(u.Path, "/")
	name, domain, _ := strings.Cut(u.Hostname(), ".s3")
	switch {
	case u.Scheme == "s3":
		bucket = u.Host
	case domain != "" && strings.Contains(domain, ".amazonaws.com"):
		bucket = name
	default:
		bucket, key, _ = strings.Cut(key, "/")
	}
	if bucket == "" || strings.ContainsRune(bucket+key, 0) {
		return "", "", fmt.Errorf("%.100q names no bucket: write s3://bucket/key", where)
	}
	return bucket, key, nil
}

// keep makes the copies the version's, in the transaction that makes it.
func (s *Service) keep(tx *store.Tx, a attached) error {
	for i, f := range a.staged {
		if err := s.opt.Files.Keep(tx, a.list[i].Key, f); err != nil {
			return err
		}
	}
	return nil
}

// discard removes copies that did not become a version's.
func (s *Service) discard(a attached) {
	for _, f := range a.staged {
		s.opt.Files.Discard(f.Blob)
	}
}

// unkeep takes the attachments of a version back.
func (s *Service) unkeep(tx *store.Tx, v Version) (blobs []string, err error) {
	for _, f := range v.Attachments {
		b, err := s.opt.Files.Unkeep(tx, f.Key)
		if err != nil {
			return nil, err
		}
		blobs = append(blobs, b...)
	}
	return blobs, nil
}

// contents says where a version's attachments can be fetched.
func (s *Service) contents(ctx context.Context, v Version) ([]ssm.AttachmentContent, error) {
	var all []ssm.AttachmentContent
	for _, f := range v.Attachments {
		address, err := s.opt.Files.URL(ctx, f.Key)
		if err != nil {
			return nil, err
		}
		all = append(all, ssm.AttachmentContent{Name: f.Name, Size: f.Size, Hash: f.Hash, HashType: hashType, Url: address})
	}
	return all, nil
}
