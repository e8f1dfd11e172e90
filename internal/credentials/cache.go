package credentials

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// ahead is how long before their end credentials are renewed.
const ahead = 5 * time.Minute

// cache holds what was found. Its one place is a lock that a caller can give
// up waiting for.
type cache struct{ place chan aws.Credentials }

func newCache() cache {
	c := cache{make(chan aws.Credentials, 1)}
	c.place <- aws.Credentials{}
	return c
}

// Retrieve implements aws.CredentialsProvider. Credentials that have not ended
// yet outlive a source that cannot renew them.
func (c *Chain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	var kept aws.Credentials
	select {
	case kept = <-c.kept.place:
	case <-ctx.Done():
		return aws.Credentials{}, context.Cause(ctx)
	}
	defer func() { c.kept.place <- kept }()
	now := c.m.Clock.Now()
	if kept.HasKeys() && (!kept.CanExpire || now.Before(kept.Expires.Add(-ahead))) {
		return kept, nil
	}
	f, err := c.Find(ctx)
	switch {
	case err == nil:
		kept = f.Credentials
	case kept.HasKeys() && c.m.Clock.Now().Before(kept.Expires):
		c.m.Log.Warn("renew AWS credentials; the old ones are used while they last", "error", err, "until", kept.Expires)
	default:
		return aws.Credentials{}, err
	}
	return kept, nil
}
