// Package auth tells who calls the control plane: operators by access keys,
// nodes by role tokens or by their RSA key; and it issues both.
package auth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/wire/kms"
	"ssmagent/internal/wire/logs"
	"ssmagent/internal/wire/mds"
	"ssmagent/internal/wire/ssm"
)

// Skew is how far a caller's clock may be off.
const Skew = 5 * time.Minute

// Options are what a Verifier needs.
type Options struct {
	Keys    Keys
	Issuer  *Issuer
	Account string
	Clock   clock.Clock
	// PublicKey returns a registered node's key in base64 PKIX DER, and false
	// for a node that is not registered (any more).
	PublicKey func(instanceID string) (string, bool, error)
}

// Verifier tells who makes a request. Safe for concurrent use.
type Verifier struct{ opt Options }

// New returns a Verifier.
func New(o Options) *Verifier { return &Verifier{o} }

// Caller returns who made r, whose body was body: Anonymous when r is not
// signed at all, a refusal when it is signed but not rightly.
func (v *Verifier) Caller(r *http.Request, body []byte) (api.Caller, *api.Error) {
	s, err := sigv4.Parse(r)
	if errors.Is(err, sigv4.ErrUnsigned) {
		return api.Caller{Kind: api.Anonymous, Account: v.opt.Account, SourceIP: api.SourceIP(r)}, nil
	}
	if err != nil {
		return api.Caller{}, refuse("IncompleteSignatureException", "%v", err)
	}
	if e := v.fresh(s.Time); e != nil {
		return api.Caller{}, e
	}
	if want := ServiceOf(r); s.Service != want {
		return api.Caller{}, refuse("InvalidSignatureException", "the credential is scoped to service %q, this call needs %q", s.Service, want)
	}
	c := api.Caller{Account: v.opt.Account, Region: s.Region, SourceIP: api.SourceIP(r), AccessKeyID: s.CredentialID}
	holds := func(secret string) bool { return s.Verify(r, body, secret) }
	switch {
	case s.Token != "":
		return v.role(c, s, holds)
	case strings.HasPrefix(s.CredentialID, "mi-"):
		return v.nodeKey(c, s, r, body)
	}
	if c, e := v.operator(c, s, holds); e != nil || r.Header.Get(headerKeyProof) == "" {
		return c, e
	}
	return v.keyProof(c, r, body)
}

// ServiceOf is the service name that a signature on r must be scoped to.
func ServiceOf(r *http.Request) string {
	target := r.Header.Get("X-Amz-Target")
	switch prefix, _, _ := strings.Cut(target, "."); {
	case prefix == ssm.TargetPrefix:
		return "ssm"
	case prefix == mds.TargetPrefix:
		return "ec2messages"
	case prefix == logs.TargetPrefix:
		return "logs"
	case prefix == kms.TargetPrefix:
		return kms.Service
	case strings.HasPrefix(r.URL.Path, "/v1/"):
		return "ssmmessages"
	}
	return "sts"
}

// fresh refuses a signature whose time is too far from ours. The codes are
// those that SDKs know as a wrong clock.
func (v *Verifier) fresh(t time.Time) *api.Error {
	off := v.opt.Clock.Now().Sub(t)
	switch {
	case off > Skew:
		return refuse("InvalidSignatureException", "Signature expired: the caller's clock is %d seconds behind the control plane's, at most %d are allowed: set the clock of either machine",
			int64(off/time.Second), int64(Skew/time.Second))
	case off < -Skew:
		return refuse("InvalidSignatureException", "Signature not yet current: the caller's clock is %d seconds ahead of the control plane's, at most %d are allowed: set the clock of either machine",
			int64(-off/time.Second), int64(Skew/time.Second))
	}
	return nil
}

// operator and role tell whose access key the signature names; holds says
// whether it was made with a secret.
func (v *Verifier) operator(c api.Caller, s sigv4.Signature, holds func(secret string) bool) (api.Caller, *api.Error) {
	key, ok := v.opt.Keys.find(s.CredentialID)
	if !ok {
		return api.Caller{}, refuse("UnrecognizedClientException", "the access key %q is not one of this control plane: use the credentials file that it wrote", api.Clip(s.CredentialID, 64))
	}
	if !holds(key.Secret) {
		return api.Caller{}, mismatch("the secret access key")
	}
	c.Kind, c.UserID = api.Operator, key.ID
	c.ARN = fmt.Sprintf("arn:aws:iam::%s:user/%s", v.opt.Account, key.Name)
	return c, nil
}

func (v *Verifier) role(c api.Caller, s sigv4.Signature, holds func(secret string) bool) (api.Caller, *api.Error) {
	t, err := v.opt.Issuer.open(s.Token)
	if err != nil || t.AccessKeyID != s.CredentialID {
		return api.Caller{}, refuse("UnrecognizedClientException", "the security token is not one that this control plane issued for this access key")
	}
	if !holds(t.Secret) {
		return api.Caller{}, mismatch("the secret access key")
	}
	if !v.opt.Clock.Now().Before(t.Expires) {
		return api.Caller{}, refuse("ExpiredTokenException", "the security token expired at %s: ask for a new one", t.Expires.UTC().Format(time.RFC3339))
	}
	if _, ok, err := v.opt.PublicKey(t.InstanceID); err != nil || !ok {
		return api.Caller{}, gone(t.InstanceID, err)
	}
	c.Kind, c.InstanceID = api.Node, t.InstanceID
	c.UserID = t.AccessKeyID + ":" + t.InstanceID
	c.ARN = fmt.Sprintf("arn:aws:sts::%s:assumed-role/ssm-node/%s", v.opt.Account, t.InstanceID)
	return c, nil
}

func (v *Verifier) nodeKey(c api.Caller, s sigv4.Signature, r *http.Request, body []byte) (api.Caller, *api.Error) {
	text, ok, err := v.opt.PublicKey(s.CredentialID)
	if err != nil || !ok {
		return api.Caller{}, gone(s.CredentialID, err)
	}
	pub, err := sigv4.DecodePublicKey(text)
	if err != nil {
		return api.Caller{}, internal(fmt.Errorf("stored key of %s: %w", s.CredentialID, err))
	}
	if !s.VerifyPSS(r, body, pub) {
		return api.Caller{}, mismatch("the registration key")
	}
	c.Kind, c.InstanceID, c.AccessKeyID, c.UserID = api.NodeKey, s.CredentialID, "", s.CredentialID
	c.ARN = fmt.Sprintf("arn:aws:ssm:%s:%s:managed-instance/%s", s.Region, v.opt.Account, s.CredentialID)
	return c, nil
}

func gone(id string, err error) *api.Error {
	if err != nil {
		return internal(err)
	}
	return refuse(api.CodeAccessDenied, "the node %q is not registered here (any more): register it again", api.Clip(id, 64))
}

func internal(err error) *api.Error {
	return &api.Error{Code: api.CodeInternal, Message: "the caller cannot be looked up: " + err.Error(), Status: http.StatusInternalServerError}
}

func mismatch(key string) *api.Error {
	return refuse("InvalidSignatureException", "the signature does not fit the request: check %s, and that nothing on the way changes signed headers", key)
}

func refuse(code, format string, args ...any) *api.Error {
	e := api.Errorf(code, format, args...)
	return e
}
