package identity

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/vault"
	"ssmagent/internal/wire/ssm"
)

// Options are what a Provider needs. AutoRotateDays, Skew, Reach and Share may be left out.
type Options struct {
	Identity  Identity
	Key       *rsa.PrivateKey
	Vault     *vault.Vault
	Endpoint  string // of ssm
	Region    string // of signatures: config.SigningRegion
	UserAgent string
	HTTP      *http.Client
	Clock     clock.Clock
	Log       *slog.Logger
	Skew      *ssmclient.Skew
	Reach     *ssmclient.Reach
	// Fingerprint is asked once, before the first token call.
	Fingerprint func(context.Context) (string, error)
	// Share is given new credentials, and the time at which they were had, to put
	// them where other programs find them; nil: they are not shared.
	Share func(c aws.Credentials, retrieved time.Time) error
	// AutoRotateDays is the age at which the key is replaced; 0: never unasked.
	AutoRotateDays int

	newKey func() (*rsa.PrivateKey, error) // for tests; nil: sigv4.NewKey
}

// Provider holds the role-token credentials of a registered node, in memory
// only. It is an aws.CredentialsProvider. Safe for concurrent use.
type Provider struct {
	o      Options
	ask    func(context.Context) (token, error) // gets new credentials
	why    func(err error) backoff.TokenFailure // what kind of failure of ask err is
	wake   chan struct{}                        // Run should look again
	mu     sync.Mutex
	cur    token
	flight chan struct{} // closed when the call under way has ended; nil: none
	fails  int
	next   time.Time // no call before it, after a failure (local time)
	last   error
	print  string // the fingerprint, once known
	key    *rsa.PrivateKey
	rotate bool // the service asked for a new key

	// Of Run alone: no change of keys before rotateNext, and no look at the
	// key's age before ageNext; shared is when the credentials were had that are
	// shared, and no others are shared before shareNext.
	rotateNext, ageNext time.Time
	shared, shareNext   time.Time
}

// token is one set of credentials; times are the service's.
type token struct {
	aws.Credentials

	retrieved time.Time
}

// NewProvider returns a provider that has asked for nothing yet.
func NewProvider(o Options) *Provider {
	p := &Provider{o: o, key: o.Key, wake: make(chan struct{}, 1), why: cause}
	p.ask = p.fetch
	return p
}

// Signer signs for p's node in region.
func Signer(p *Provider, region string) ssmclient.Signer {
	return ssmclient.CredentialsSigner{Credentials: p, Region: region, Clock: p.o.Clock, Skew: p.o.Skew}
}

// Retrieve implements aws.CredentialsProvider.
func (p *Provider) Retrieve(ctx context.Context) (aws.Credentials, error) { return p.Credentials(ctx) }

// Credentials returns credentials that have not expired. Concurrent callers
// share one call. After a failure no call is made until its back-off has
// passed; the failure is returned meanwhile, unless the old credentials still
// hold.
func (p *Provider) Credentials(ctx context.Context) (aws.Credentials, error) {
	return p.get(ctx, false)
}

// get is Credentials; with renew a call is made though the old ones hold.
func (p *Provider) get(ctx context.Context, renew bool) (aws.Credentials, error) {
	for {
		p.mu.Lock()
		if !renew && p.validLocked() {
			defer p.mu.Unlock()
			return p.cur.Credentials, nil
		}
		if wait := p.next.Sub(p.o.Clock.Now()); p.last != nil && wait > 0 && p.flight == nil {
			defer p.mu.Unlock()
			return aws.Credentials{}, fmt.Errorf("%w (next attempt in %v)", p.last, wait.Round(time.Second))
		}
		if done := p.flight; done != nil {
			p.mu.Unlock()
			select {
			case <-done:
				renew = false // theirs is as fresh as ours would be
				continue
			case <-ctx.Done():
				return aws.Credentials{}, context.Cause(ctx)
			}
		}
		done := make(chan struct{})
		p.flight = done
		p.mu.Unlock()
		c, err := p.ask(ctx)
		p.mu.Lock()
		p.flight = nil
		p.settleLocked(ctx, c, err)
		p.mu.Unlock()
		close(done)
		p.nudge()
		return c.Credentials, err
	}
}

// margin keeps credentials from expiring on their way.
const margin = 5 * time.Second

func (p *Provider) validLocked() bool {
	return p.cur.AccessKeyID != "" && p.serviceNow().Add(margin).Before(p.cur.Expires)
}

// Expires is when the credentials in use expire; zero when there are none.
func (p *Provider) Expires() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cur.Expires
}

func (p *Provider) serviceNow() time.Time { return p.o.Skew.Now(p.o.Clock) }

// settleLocked remembers the outcome of a call. A caller that went away says
// nothing about the service.
func (p *Provider) settleLocked(ctx context.Context, c token, err error) {
	switch {
	case err == nil:
		p.cur, p.fails, p.last = c, 0, nil
	case ctx.Err() != nil:
	default:
		p.last = err
		wait := backoff.RoleToken(p.why(err), p.fails, nil)
		if ssmclient.IsUnreachable(err) { // which says nothing about this node
			wait = min(wait, maxUnanswered)
		}
		p.next = p.o.Clock.Now().Add(wait)
		p.fails++
	}
}

// maxUnanswered is the longest wait after a call that nobody answered, as that
// of health pings is.
const maxUnanswered = 5 * time.Minute

// errIncomplete is an answer without all its members.
var errIncomplete = errors.New("the service's answer holds no usable credentials")

func cause(err error) backoff.TokenFailure {
	code := ssmclient.Code(err)
	switch {
	case code == ssmclient.AccessDenied || code == fingerprintMismatch:
		return backoff.TokenForbidden
	case errors.Is(err, errIncomplete):
		return backoff.TokenIncomplete
	}
	if _, refused := errors.AsType[*ssmclient.Error](err); refused {
		return backoff.TokenRefused
	}
	return backoff.TokenUnanswered
}

// fetch asks for new credentials.
func (p *Provider) fetch(ctx context.Context) (token, error) {
	p.mu.Lock()
	print, key := p.print, p.key
	p.mu.Unlock()
	if print == "" {
		var err error
		if print, err = p.o.Fingerprint(ctx); err != nil {
			return token{}, fmt.Errorf("fingerprint: %w", err)
		}
	}
	c, update, err := p.o.token(ctx, key, print)
	if err != nil && suspect(err) {
		// An interrupted change of keys may have reached the service.
		if k := p.pending(ctx, print); k != nil {
			key = k
			c, update, err = p.o.token(ctx, key, print)
		}
	}
	if err != nil {
		return token{}, err
	}
	p.mu.Lock()
	first := p.print == ""
	p.print, p.key, p.rotate = print, key, p.rotate || update
	p.mu.Unlock()
	if first {
		p.confirm()
	}
	return c, nil
}

// confirm has the vault know the records that the service has taken.
func (p *Provider) confirm() {
	for _, key := range []string{vault.RegistrationKey, vault.InstanceFingerprint} {
		if err := p.o.Vault.Confirm(key); err != nil {
			p.o.Log.Warn("a record in the vault has no checksum; damage to it may not be seen", "error", err)
		}
	}
}

const fingerprintMismatch = "MachineFingerprintDoesNotMatch"

// client is for calls signed with key.
func (o Options) client(key *rsa.PrivateKey) *ssmclient.Client {
	return &ssmclient.Client{
		HTTP: o.HTTP, Endpoint: o.Endpoint, Service: "ssm", TargetPrefix: ssm.TargetPrefix, UserAgent: o.UserAgent,
		Signer: ssmclient.KeySigner{Key: key, InstanceID: o.Identity.InstanceID, Region: o.Region, Clock: o.Clock, Skew: o.Skew},
		Clock:  o.Clock, Log: o.Log, Skew: o.Skew, Reach: o.Reach, Retry: ssmclient.TokenRetry(),
	}
}

// token makes one RequestManagedInstanceRoleToken call.
func (o Options) token(ctx context.Context, key *rsa.PrivateKey, fingerprint string) (token, bool, error) {
	return o.tokenBy(ctx, o.client(key), fingerprint)
}

// tokenBy is token by a client that signs.
func (o Options) tokenBy(ctx context.Context, c *ssmclient.Client, fingerprint string) (token, bool, error) {
	var out struct {
		ssm.RequestManagedInstanceRoleTokenOutput

		UpdateKeyPair *bool
	}
	in := ssm.RequestManagedInstanceRoleTokenInput{Fingerprint: fingerprint}
	if err := c.Call(ctx, "RequestManagedInstanceRoleToken", in, &out); err != nil {
		if ssmclient.Code(err) == fingerprintMismatch {
			return token{}, false, fmt.Errorf("%w; this machine is not the one that was registered as %s: it is a clone of it, or its hardware has changed; "+
				"ssm-cli fingerprint shows what; if it is a clone, %s", err, o.Identity.InstanceID, reRegister)
		}
		if ssmclient.Code(err) == ssmclient.BadSignature {
			err = fmt.Errorf("%w; the registration is of region %s, the call went to %s and was signed for %s: check Ssm.Endpoint and Agent.Region of the "+
				"configuration, and if they are right, %s", err, o.Identity.Region, o.Endpoint, o.Region, reRegister)
		}
		return token{}, false, err
	}
	now := o.Skew.Now(o.Clock)
	if out.AccessKeyId == "" || out.SecretAccessKey == "" || out.SessionToken == "" || out.TokenExpirationDate.IsZero() {
		return token{}, false, errIncomplete
	}
	if left := out.TokenExpirationDate.Sub(now); left < 2*margin {
		return token{}, false, fmt.Errorf("%w: the credentials expire in %v by this machine's time; is the clock right?", errIncomplete, left.Round(time.Second))
	}
	return token{retrieved: now, Credentials: aws.Credentials{
		AccessKeyID: out.AccessKeyId, SecretAccessKey: string(out.SecretAccessKey), SessionToken: string(out.SessionToken),
		CanExpire: true, Expires: out.TokenExpirationDate.Time, Source: SourceSSM,
	}}, out.UpdateKeyPair != nil && *out.UpdateKeyPair, nil
}

// Invalidate makes the next caller ask for new credentials: the service called
// those it had expired. Credentials younger than half a minute are kept, so
// that a service of two minds is not stormed.
func (p *Provider) Invalidate() {
	p.mu.Lock()
	if p.serviceNow().Sub(p.cur.retrieved) > 30*time.Second {
		p.cur = token{}
	}
	p.mu.Unlock()
	p.nudge()
}

func (p *Provider) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run keeps the credentials fresh, renewing at half their life, and replaces
// the key when it is due. It returns when ctx ends.
func (p *Provider) Run(ctx context.Context) error {
	timer := p.o.Clock.NewTimer(0)
	defer timer.Stop()
	for {
		news := p.o.Reach.Changed()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C():
		case <-p.wake:
		case <-news:
			p.hope()
		}
		if p.untilDue() <= 0 {
			if _, err := p.get(ctx, true); err != nil && ctx.Err() == nil {
				p.o.Log.Warn("no new credentials", "error", err)
			}
		}
		p.rotateIfDue(ctx)
		timer.Reset(max(min(p.untilDue(), p.share()), 0))
	}
}

// shareAgain is the time between attempts to share credentials.
const shareAgain = time.Minute

// share shares credentials that are new, and says when to try again.
func (p *Provider) share() time.Duration {
	p.mu.Lock()
	cur, valid := p.cur, p.validLocked()
	p.mu.Unlock()
	now := p.o.Clock.Now()
	switch {
	case p.o.Share == nil || !valid || cur.retrieved.Equal(p.shared):
		return math.MaxInt64
	case now.Before(p.shareNext):
		return p.shareNext.Sub(now)
	}
	if err := p.o.Share(cur.Credentials, cur.retrieved); err != nil {
		p.o.Log.Warn("other programs do not get the new credentials", "error", err, "again_in", shareAgain)
		p.shareNext = now.Add(shareAgain)
		return shareAgain
	}
	p.shared = cur.retrieved
	return math.MaxInt64
}

// hope lets the next call be soon when the last one got no answer.
func (p *Provider) hope() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if soon := p.o.Clock.Now().Add(rand.N(time.Second)); ssmclient.IsUnreachable(p.last) && soon.Before(p.next) {
		p.next = soon
	}
}

// untilDue is the time to the next call.
func (p *Provider) untilDue() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil {
		return p.next.Sub(p.o.Clock.Now())
	}
	if !p.validLocked() {
		return 0
	}
	half := p.cur.Expires.Sub(p.cur.retrieved) / 2
	return p.cur.retrieved.Add(half).Sub(p.serviceNow())
}
