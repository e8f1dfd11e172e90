package content

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"ssmagent/internal/sigv4"
	"ssmagent/internal/wire/s3"
)

type s3Info struct {
	Path string `json:"path"`
}

// s3 fetches an object, or all objects below a prefix, which is a directory.
func (p Plugin) s3(ctx context.Context, i s3Info, to *destination) error {
	if strings.TrimSpace(i.Path) == "" {
		return errors.New("sourceInfo has no path")
	}
	o, h, err := p.object(i.Path)
	if err != nil {
		return err
	}
	b := bucket{Plugin: p, http: h, at: o}
	prefix := o.key
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	found, err := b.tree(ctx, prefix, to)
	switch {
	case ctx.Err() != nil:
		return err
	case found, err != nil && (prefix == o.key || !isListing(err)):
		return err
	case prefix == o.key:
		return fmt.Errorf("there is no object below %q in the bucket %s", o.key, o.bucket)
	}
	return b.object(ctx, o.key, func(resp *http.Response) error {
		return to.file(o.key[strings.LastIndexByte(o.key, '/')+1:], resp.Body)
	})
}

// object reads an address of S3, and has a client for it.
func (p Plugin) object(address string) (object, *http.Client, error) {
	var ours *url.URL
	if p.S3 != "" {
		var err error
		if ours, err = url.Parse(p.S3); err != nil {
			return object{}, nil, fmt.Errorf("S3.Endpoint of the configuration: %w", err)
		}
	}
	o, err := parseS3(address, ours, p.Region)
	if err != nil {
		return object{}, nil, err
	}
	h, err := p.HTTP()
	if err != nil {
		return object{}, nil, err
	}
	plain := *h
	plain.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return o, &plain, nil
}

// bucket makes calls about one bucket.
type bucket struct {
	Plugin

	http *http.Client
	at   object
}

// listingError is why the keys cannot be listed.
type listingError struct{ err error }

func (l *listingError) Error() string { return "list the bucket: " + l.err.Error() }
func (l *listingError) Unwrap() error { return l.err }

func isListing(err error) bool {
	_, ok := errors.AsType[*listingError](err)
	return ok
}

// tree fetches all objects below prefix. found: there is one.
func (b *bucket) tree(ctx context.Context, prefix string, to *destination) (found bool, err error) {
	for next := ""; ; {
		page, err := b.list(ctx, prefix, next)
		if err != nil {
			return found, &listingError{err}
		}
		for _, e := range page.Contents {
			if err := ctx.Err(); err != nil {
				return found, context.Cause(ctx)
			}
			if !found {
				if err := to.directory(); err != nil {
					return false, err
				}
			}
			found = true
			name, ok := strings.CutPrefix(e.Key, prefix)
			if strings.HasSuffix(e.Key, "/") {
				continue // how consoles show an empty folder
			}
			if !ok {
				return true, fmt.Errorf("the bucket lists %.200q, which is not below %q", e.Key, prefix)
			}
			err := b.object(ctx, e.Key, func(resp *http.Response) error { return to.put(name, resp.Body) })
			if err != nil {
				return true, err
			}
		}
		if next = page.NextToken; !page.IsTruncated || next == "" || len(page.Contents) == 0 {
			return found, nil
		}
	}
}

func (b *bucket) list(ctx context.Context, prefix, next string) (page s3.Listing, err error) {
	query := url.Values{"list-type": {"2"}, "prefix": {prefix}}
	if next != "" {
		query.Set("continuation-token", next)
	}
	err = b.signed(ctx, "", query, func(resp *http.Response) error {
		text, err := whole(resp)
		if err != nil {
			return err
		}
		if err := xml.Unmarshal(text, &page); err != nil {
			return fmt.Errorf("the answer of %s is no list of objects; is the address right?", resp.Request.URL.Host)
		}
		return nil
	})
	return page, err
}

// object fetches an object with the node's credentials; where those do not
// help, as anybody.
func (b *bucket) object(ctx context.Context, key string, take func(*http.Response) error) error {
	err := b.signed(ctx, key, nil, take)
	var r *refused
	if err == nil || ctx.Err() != nil || !errors.As(err, &r) && !isUncredited(err) {
		return nameKey(key, err)
	}
	open := b.exchange(ctx, b.http, func(ctx context.Context) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, b.at.url(key, nil).String(), nil)
	}, func(resp *http.Response) error {
		if err := expect(resp, http.StatusOK); err != nil {
			return err
		}
		return take(resp)
	})
	if _, ok := errors.AsType[*refused](open); ok {
		return nameKey(key, err) // what the node may do is the cause that can be mended
	}
	return nameKey(key, open)
}

func nameKey(key string, err error) error {
	if err != nil {
		err = fmt.Errorf("object %.200q: %w", key, err)
	}
	return err
}

// uncredited says that there are no credentials to sign with.
type uncredited struct{ err error }

func (u *uncredited) Error() string { return "credentials: " + u.err.Error() }
func (u *uncredited) Unwrap() error { return u.err }

func isUncredited(err error) bool {
	_, ok := errors.AsType[*uncredited](err)
	return ok
}

// signed makes a signed request and follows the bucket to its region, once.
func (b *bucket) signed(ctx context.Context, key string, query url.Values, take func(*http.Response) error) error {
	nothing := sha256.Sum256(nil)
	build := func(ctx context.Context) (*http.Request, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.at.url(key, query).String(), nil)
		if err != nil {
			return nil, err
		}
		c, err := b.Credentials.Retrieve(ctx)
		if err != nil {
			return nil, &uncredited{err}
		}
		return r, sigv4.SignS3(ctx, r, hex.EncodeToString(nothing[:]), c, b.at.region, b.Clock.Now())
	}
	region := ""
	receive := func(resp *http.Response) error {
		if resp.StatusCode == http.StatusOK {
			return take(resp)
		}
		region = resp.Header.Get("X-Amz-Bucket-Region")
		return s3Refusal(resp)
	}
	err := b.exchange(ctx, b.http, build, receive)
	if err != nil && region != "" && region != b.at.region && validRegion(region) {
		if b.at.region = region; b.at.domain != "" {
			b.at.rebase(region)
		}
		return b.exchange(ctx, b.http, build, receive)
	}
	return err
}

func validRegion(s string) bool {
	return len(s) <= 40 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func s3Refusal(resp *http.Response) error {
	var e s3.Error
	if text, err := whole(resp); err == nil && xml.Unmarshal(text, &e) == nil && e.Code != "" {
		return refusal(resp, e.Code+": "+e.Message)
	}
	return refusal(resp, "")
}
