package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/clock"
	"ssmagent/internal/secret"
)

// freshFor is how long credentials must still be valid not to be renewed.
const freshFor = time.Minute

// Credentials are the node's for a while. They are in memory and on the way to
// a worker only.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey secret.Text
	SessionToken    secret.Text
	Expires         time.Time // zero: never
}

// Borrow makes Credentials of what c has.
func Borrow(ctx context.Context, c aws.CredentialsProvider) (Credentials, error) {
	got, err := c.Retrieve(ctx)
	if err != nil {
		return Credentials{}, err
	}
	out := Credentials{AccessKeyID: got.AccessKeyID, SecretAccessKey: secret.Text(got.SecretAccessKey), SessionToken: secret.Text(got.SessionToken)}
	if got.CanExpire {
		out.Expires = got.Expires
	}
	return out, nil
}

// Purse is where a worker keeps the credentials that agents hand it. It is an
// aws.CredentialsProvider. Safe for concurrent use.
type Purse struct {
	clock clock.Clock
	ask   func()

	mu      sync.Mutex
	have    bool
	creds   Credentials
	wanting bool          // whoever is there is to send credentials
	refused string        // why the last answer was none
	news    chan struct{} // closed and replaced with every answer
}

// NewPurse returns an empty purse. ask tells the agents that are there that
// credentials are wanted; an agent that comes later is told by whoever greets
// it, see Wanting. expecting says that the first ones come unasked.
func NewPurse(c clock.Clock, expecting bool, ask func()) *Purse {
	return &Purse{clock: c, ask: ask, wanting: expecting, news: make(chan struct{})}
}

// Put takes an agent's answer: credentials, or why there are none. Neither is
// no answer.
func (p *Purse) Put(c *Credentials, refused string) {
	if c == nil && refused == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c != nil {
		p.creds, p.have = *c, true
	}
	p.refused, p.wanting = refused, false
	close(p.news)
	p.news = make(chan struct{})
}

// Wanting says whether an agent that comes now is to send credentials.
func (p *Purse) Wanting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wanting
}

// Retrieve implements aws.CredentialsProvider: what the agent sent while it is
// valid, else what this or the next agent sends until ctx ends.
func (p *Purse) Retrieve(ctx context.Context) (aws.Credentials, error) {
	for asked := false; ; asked = true {
		p.mu.Lock()
		c, left, answered, refused, news := p.creds, p.left(), !p.wanting, p.refused, p.news
		want := left < freshFor && answered && !asked
		p.wanting = p.wanting || want
		p.mu.Unlock()
		if want {
			p.ask()
		}
		switch {
		case left > 0:
			return aws.Credentials{
				AccessKeyID: c.AccessKeyID, SecretAccessKey: string(c.SecretAccessKey), SessionToken: string(c.SessionToken),
				CanExpire: !c.Expires.IsZero(), Expires: c.Expires,
			}, nil
		case asked && answered && refused != "":
			return aws.Credentials{}, fmt.Errorf("the agent has no credentials: %s", refused)
		case asked && answered:
			return aws.Credentials{}, errors.New("the agent's credentials have expired")
		}
		select {
		case <-news:
		case <-ctx.Done():
			return aws.Credentials{}, fmt.Errorf("wait for the agent's credentials: %w", context.Cause(ctx))
		}
	}
}

// left is how long the credentials are valid. With p.mu.
func (p *Purse) left() time.Duration {
	switch {
	case !p.have:
		return 0
	case p.creds.Expires.IsZero():
		return freshFor
	}
	return p.creds.Expires.Sub(p.clock.Now())
}

// Invalidate drops credentials that the service does not take any more.
func (p *Purse) Invalidate() {
	p.mu.Lock()
	p.have = false
	p.mu.Unlock()
}
