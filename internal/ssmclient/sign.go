package ssmclient

import (
	"context"
	"crypto/rsa"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/clock"
	"ssmagent/internal/sigv4"
)

// CredentialsSigner signs with Signature Version 4.
type CredentialsSigner struct {
	Credentials aws.CredentialsProvider
	Region      string
	Clock       clock.Clock
	Skew        *Skew // may be nil
}

// Sign implements Signer. Nothing is signed with credentials that have expired;
// before the first answer nobody knows by a clock that may be wrong.
func (s CredentialsSigner) Sign(ctx context.Context, r *http.Request, body []byte, service string) error {
	c, err := s.Credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	now := s.Skew.Now(s.Clock)
	if c.CanExpire && !now.Before(c.Expires) && (s.Skew == nil || s.Skew.Measured()) {
		return fmt.Errorf("credentials: they expired at %s, and it is %s; nothing is signed until there are new ones",
			c.Expires.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return sigv4.Sign(ctx, r, body, c, service, s.Region, now)
}

// Invalidate implements Invalidator where the credentials do.
func (s CredentialsSigner) Invalidate() {
	if i, ok := s.Credentials.(Invalidator); ok {
		i.Invalidate()
	}
}

// KeySigner signs with a registration's private key, as token and key calls are.
type KeySigner struct {
	Key        *rsa.PrivateKey
	InstanceID string
	Region     string
	Clock      clock.Clock
	Skew       *Skew // may be nil
}

// Sign implements Signer.
func (s KeySigner) Sign(_ context.Context, r *http.Request, body []byte, service string) error {
	return sigv4.SignPSS(r, body, s.Key, s.InstanceID, service, s.Region, s.Skew.Now(s.Clock))
}
