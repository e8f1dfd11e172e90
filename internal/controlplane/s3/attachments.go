package s3

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
)

// AttachmentsBucket is where copies of what is attached to documents lie. It
// is read as any other bucket; only documents change it.
const AttachmentsBucket = "ssm-local-attachments"

// Staged is a copy of an object that no key has yet: until Keep gives it one,
// a restart removes it.
type Staged struct {
	Blob string
	Size int64
	Hash string // SHA-256, hex
	ETag string
}

// Stage copies the object at key.
func (s *Service) Stage(bucket, key string) (Staged, error) {
	o, row, err := s.find(bucket, key)
	if err != nil {
		return Staged{}, err
	}
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(s.blobs.read(w, row, 0, o.Size)) }()
	sum := sha256.New()
	name, size, err := s.blobs.write(io.TeeReader(r, sum), func() error { return nil })
	_ = r.Close() // ends the other side if write gave up
	if err != nil {
		return Staged{}, err
	}
	return Staged{Blob: name, Size: size, Hash: hex.EncodeToString(sum.Sum(nil)), ETag: o.ETag}, nil
}

// Discard removes copies that nobody keeps.
func (s *Service) Discard(blobs ...string) { s.blobs.remove(blobs) }

// Keep makes a staged copy the object at a key, which must be new, of the
// bucket of attachments.
func (s *Service) Keep(tx *store.Tx, key string, f Staged) error {
	now := s.opt.Clock.Now().UTC()
	if _, ok, err := buckets.Get(tx, AttachmentsBucket); err != nil {
		return err
	} else if !ok {
		if err := buckets.Put(tx, AttachmentsBucket, bucket{Created: now, Region: s.opt.Region}); err != nil {
			return err
		}
	}
	return objects.Put(tx, objectKey(AttachmentsBucket, key), object{Size: f.Size, ETag: f.ETag, Modified: now, Blob: f.Blob})
}

// Unkeep forgets an attachment. What it returns is for Discard once that is
// durable.
func (s *Service) Unkeep(tx *store.Tx, key string) (blobs []string, err error) {
	o, ok, err := objects.Get(tx, objectKey(AttachmentsBucket, key))
	if err != nil || !ok {
		return nil, err
	}
	return drop(tx, objectKey(AttachmentsBucket, key), o)
}

// reserved refuses what would change the bucket of attachments: whoever gets a
// document trusts them.
func (c *call) reserved() *api.Error {
	if c.bucket != AttachmentsBucket || c.Method == http.MethodGet || c.Method == http.MethodHead {
		return nil
	}
	return refusal("AccessDenied", http.StatusForbidden, "the bucket %s holds what is attached to documents, which only documents change: update the document", AttachmentsBucket)
}
