package sigv4

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// ServiceS3 is the service whose requests are signed by rules of their own:
// the path is percent-encoded once, the body is named by a header, and the
// signature may stand in the query.
const ServiceS3 = "s3"

// Values of X-Amz-Content-Sha256 that are no hash of the body.
const (
	Unsigned              = "UNSIGNED-PAYLOAD"
	StreamSigned          = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	StreamSignedTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	StreamUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// Query parameters of a presigned request.
const (
	queryAlgorithm  = "X-Amz-Algorithm"
	queryCredential = "X-Amz-Credential"
	queryDate       = headerDate
	queryExpires    = "X-Amz-Expires"
	queryHeaders    = "X-Amz-SignedHeaders"
	querySignature  = "X-Amz-Signature"
	queryToken      = headerToken
)

// maxExpires is how long a presigned request may be good, in seconds.
const maxExpires = 7 * 24 * 60 * 60

// ErrPayload says that X-Amz-Content-Sha256 is missing or no such value.
var ErrPayload = errors.New("X-Amz-Content-Sha256 must be the SHA-256 of the body in hex, or one of the values that name an unsigned or streamed body")

// ScopedTo says whether r claims a signature for the service, in a header or
// in the query. It proves nothing.
func ScopedTo(r *http.Request, service string) bool {
	credential := ""
	if auth := r.Header.Get("Authorization"); auth != "" {
		_, rest, _ := strings.Cut(auth, "Credential=")
		credential, _, _ = strings.Cut(rest, ",")
	} else if strings.Contains(r.URL.RawQuery, queryCredential) {
		credential = r.URL.Query().Get(queryCredential)
	}
	p := strings.Split(credential, "/")
	return len(p) == 5 && p[3] == service
}

// ParseS3 is Parse for requests to S3. A presigned request has Expires set.
func ParseS3(r *http.Request) (Signature, error) {
	q := r.URL.Query()
	if len(r.Header.Values("Authorization")) > 0 || !q.Has(querySignature) {
		s, err := Parse(r)
		if err != nil {
			return Signature{}, err
		}
		s.Payload = r.Header.Get(headerHash)
		if !payloadKnown(s.Payload) {
			return Signature{}, ErrPayload
		}
		return s, s.covers(r)
	}
	s, err := parsePresigned(r, q)
	if err != nil {
		return Signature{}, err
	}
	return s, s.covers(r)
}

// covers says that no header of AWS's goes unsigned: they name what is done.
func (s Signature) covers(r *http.Request) error {
	for k := range r.Header {
		if k = strings.ToLower(k); strings.HasPrefix(k, "x-amz-") && !slices.Contains(s.SignedHeaders, k) {
			return malformed("the header %s is not among the signed headers", strconv.Quote(k))
		}
	}
	return nil
}

func parsePresigned(r *http.Request, q url.Values) (Signature, error) {
	for _, k := range []string{queryAlgorithm, queryCredential, queryDate, queryExpires, queryHeaders, querySignature} {
		if len(q[k]) != 1 || q.Get(k) == "" || len(q.Get(k)) > maxAuthorization {
			return Signature{}, malformed("the query has no %s, or an empty one, or several", k)
		}
	}
	if q.Get(queryAlgorithm) != algorithm {
		return Signature{}, malformed("%s is not %s", queryAlgorithm, algorithm)
	}
	if len(q[queryToken]) > 1 || len(q.Get(queryToken)) > maxToken {
		return Signature{}, malformed("%s is there twice or over %d bytes", queryToken, maxToken)
	}
	s := Signature{Value: q.Get(querySignature), SignedHeaders: strings.Split(q.Get(queryHeaders), ";"), Token: q.Get(queryToken), Payload: Unsigned}
	if err := s.parseCredential(q.Get(queryCredential)); err != nil {
		return Signature{}, err
	}
	if err := checkNames(s.SignedHeaders); err != nil {
		return Signature{}, err
	}
	t, err := time.Parse(timeFormat, q.Get(queryDate))
	if err != nil || q.Get(queryDate)[:8] != s.Day {
		return Signature{}, malformed("%s is not of the form yyyyMMddTHHmmssZ, or of another day than the credential", queryDate)
	}
	n, err := strconv.Atoi(q.Get(queryExpires))
	if err != nil || n < 1 || n > maxExpires {
		return Signature{}, malformed("%s must be 1 to %d seconds", queryExpires, maxExpires)
	}
	s.Time, s.Expires = t, time.Duration(n)*time.Second
	if p := r.Header.Get(headerHash); p != "" {
		s.Payload = p
	}
	if !payloadKnown(s.Payload) {
		return Signature{}, ErrPayload
	}
	return s, nil
}

func payloadKnown(p string) bool {
	switch p {
	case Unsigned, StreamSigned, StreamSignedTrailer, StreamUnsignedTrailer:
		return true
	}
	return len(p) == 2*sha256.Size && strings.Trim(p, "0123456789abcdef") == ""
}

// VerifyS3 says whether the signature was made with secret over r. The body is
// what s.Payload says: whoever reads it has to compare.
func (s Signature) VerifyS3(r *http.Request, secret string) bool {
	q := r.URL.Query()
	if s.Expires > 0 {
		q.Del(querySignature)
	}
	canonical, ok := canonicalRequest(r, s.SignedHeaders, escape(pathOf(r.URL), true), canonicalQuery(q), s.Payload)
	return ok && secret != "" && hmac.Equal([]byte(hex.EncodeToString(mac(s.key(secret), s.textOf(canonical)))), []byte(s.Value))
}

// Escape percent-encodes a path as S3 signs it.
func Escape(path string) string { return escape(path, true) }

func pathOf(u *url.URL) string {
	if u.Path == "" {
		return "/"
	}
	return u.Path
}

// Chain is the row of signatures over the chunks of a streamed body, each over
// the one before it.
type Chain struct {
	key         []byte
	time, scope string
	last        string
}

// Chain starts the row behind the signature s, which was made with secret.
func (s Signature) Chain(secret string) *Chain {
	return &Chain{key: s.key(secret), time: s.Time.UTC().Format(timeFormat), scope: s.scope(), last: s.Value}
}

// Chunk says whether signature is that of the next chunk, whose SHA-256 is sum.
func (c *Chain) Chunk(sum []byte, signature string) bool {
	return hmac.Equal([]byte(c.Sign(sum)), []byte(signature))
}

// Trailer says whether signature is that of the trailing headers: name, colon,
// value and line feed of each.
func (c *Chain) Trailer(text, signature string) bool {
	return hmac.Equal([]byte(c.SignTrailer(text)), []byte(signature))
}

// Sign is the signature of the next chunk, and SignTrailer that of the
// trailing headers.
func (c *Chain) Sign(sum []byte) string {
	return c.next("PAYLOAD", hexSum(nil)+"\n"+hex.EncodeToString(sum))
}

// SignTrailer is described at Sign.
func (c *Chain) SignTrailer(text string) string { return c.next("TRAILER", hexSum([]byte(text))) }

func (c *Chain) next(kind, what string) string {
	text := strings.Join([]string{algorithm + "-" + kind, c.time, c.scope, c.last, what}, "\n")
	c.last = hex.EncodeToString(mac(c.key, text))
	return c.last
}

// PresignS3 returns the address of a GET request to S3, signed so that it is
// good without further credentials for as long as expires says.
func PresignS3(ctx context.Context, address string, c aws.Credentials, region string, now time.Time, expires time.Duration) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", fmt.Errorf("presign %.200q: %w", address, err)
	}
	q := r.URL.Query()
	q.Set(queryExpires, strconv.Itoa(int(expires/time.Second)))
	r.URL.RawQuery = q.Encode()
	signed, _, err := v4.NewSigner().PresignHTTP(ctx, c, r, Unsigned, ServiceS3, region, now, func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil {
		return "", fmt.Errorf("presign a request to %s: %w", r.URL.Host, err)
	}
	return signed, nil
}

// SignS3 signs r for S3 in region at now. payload is the SHA-256 of the body in
// hex. Signed are host and all headers that are set; it is called last.
func SignS3(ctx context.Context, r *http.Request, payload string, c aws.Credentials, region string, now time.Time) error {
	if c.AccessKeyID == "" || c.SecretAccessKey == "" {
		return errors.New("sign request: the credentials have no access key or no secret key")
	}
	if r.URL == nil || hostOf(r) == "" {
		return errors.New("sign request: the request has no host")
	}
	r.Header.Set(headerHash, payload)
	s := r.Clone(ctx)
	s.Body, s.Header = nil, http.Header{}
	for k, v := range r.Header {
		if k = textproto.CanonicalMIMEHeaderKey(k); k != "User-Agent" && k != headerDate && k != headerToken {
			s.Header[k] = v
		}
	}
	s.Host = canonicalHost(r)
	err := v4.NewSigner().SignHTTP(ctx, c, s, payload, ServiceS3, region, now, func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil {
		return fmt.Errorf("sign request to %s: %w", r.URL.Host, err)
	}
	r.Host = s.Host
	r.Header.Del(headerToken)
	for _, k := range []string{headerDate, headerToken, "Authorization"} {
		if v := s.Header.Get(k); v != "" {
			r.Header.Set(k, v)
		}
	}
	return nil
}
