package controlplane

import (
	"context"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/auth"
	"ssmagent/internal/controlplane/documents"
	"ssmagent/internal/controlplane/s3"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/sigv4"
)

// attachmentLife is how long the address of an attachment is good.
const attachmentLife = time.Hour

// attachments hands the object store to documents, which knows none.
type attachments struct {
	objects *s3.Service
	key     auth.Key // signs addresses
	region  string
	clock   clock.Clock
	url     func() string
}

var _ documents.Files = attachments{}

// Stage implements documents.Files.
func (a attachments) Stage(bucket, key string) (documents.Staged, error) {
	f, err := a.objects.Stage(bucket, key)
	return documents.Staged(f), err
}

// Again implements documents.Files.
func (a attachments) Again(key string) (documents.Staged, error) {
	return a.Stage(s3.AttachmentsBucket, key)
}

// Discard implements documents.Files.
func (a attachments) Discard(blobs ...string) { a.objects.Discard(blobs...) }

// Keep implements documents.Files.
func (a attachments) Keep(tx *store.Tx, key string, f documents.Staged) error {
	return a.objects.Keep(tx, key, s3.Staged(f))
}

// Unkeep implements documents.Files.
func (a attachments) Unkeep(tx *store.Tx, key string) ([]string, error) {
	return a.objects.Unkeep(tx, key)
}

// URL implements documents.Files: at the host by which the caller reached us.
func (a attachments) URL(ctx context.Context, key string) (string, error) {
	base, ok := ctx.Value(originKey{}).(string)
	if !ok {
		base = a.url()
	}
	c := aws.Credentials{AccessKeyID: a.key.ID, SecretAccessKey: a.key.Secret}
	return sigv4.PresignS3(ctx, base+sigv4.Escape("/"+s3.AttachmentsBucket+"/"+key), c, a.region, a.clock.Now(), attachmentLife)
}

type originKey struct{}

// withOrigin notes by which scheme and host a caller reached us.
func withOrigin(r *http.Request) context.Context {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return context.WithValue(r.Context(), originKey{}, scheme+"://"+r.Host)
}
