// Package sigv4 signs and verifies requests as the services do: AWS Signature
// Version 4 for everyone with credentials, and its RSA-PSS variant with which
// a registered node signs its role-token and key calls. One package for both
// ends, so that what one writes the other is tested to read.
package sigv4

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
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

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	timeFormat = "20060102T150405Z"

	headerDate  = "X-Amz-Date"
	headerToken = "X-Amz-Security-Token"
	headerHash  = "X-Amz-Content-Sha256"
)

// gateway is the service whose requests leave content-length unsigned.
const gateway = "ssmmessages"

// Sign signs r with c for service in region at now: it sets the headers
// X-Amz-Date, X-Amz-Security-Token (when c has a token) and Authorization, and
// takes a default port out of r.Host. body is the whole body; r.Body is not
// touched. Signed are host, content-type and every X-Amz- header, as well as
// content-length when r.ContentLength says what body is and the service is not
// the message gateway. Call it last: whatever signed changes afterwards breaks
// the signature.
func Sign(ctx context.Context, r *http.Request, body []byte, c aws.Credentials, service, region string, now time.Time) error {
	if c.AccessKeyID == "" || c.SecretAccessKey == "" {
		return errors.New("sign request: the credentials have no access key or no secret key")
	}
	if r.URL == nil || hostOf(r) == "" {
		return errors.New("sign request: the request has no host")
	}
	// The signer takes every header it sees, so it sees only what is wanted.
	s := r.Clone(ctx)
	s.Body, s.ContentLength = nil, 0
	if service != gateway && r.ContentLength == int64(len(body)) {
		s.ContentLength = r.ContentLength
	}
	s.Header = http.Header{}
	for k, v := range r.Header {
		k = textproto.CanonicalMIMEHeaderKey(k)
		if k == "Content-Type" || strings.HasPrefix(k, "X-Amz-") && k != headerHash {
			s.Header[k] = v
		}
	}
	s.Header.Del(headerDate)
	s.Header.Del(headerToken)
	s.Host = canonicalHost(r)
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, c, s, hex.EncodeToString(sum[:]), service, region, now); err != nil {
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

// Verify says whether the signature was made with secret over r, whose whole
// body is body. r may be a server's or a client's request. The canonical
// request is rebuilt from those headers that the signer lists.
func (s Signature) Verify(r *http.Request, body []byte, secret string) bool {
	text, ok := s.stringToSign(r, body)
	if !ok || secret == "" {
		return false
	}
	return hmac.Equal([]byte(hex.EncodeToString(mac(s.key(secret), text))), []byte(s.Value))
}

// key is the key that secret gives for the signature's day, region and service.
func (s Signature) key(secret string) []byte {
	key := []byte("AWS4" + secret)
	for _, part := range []string{s.Day, s.Region, s.Service, terminator} {
		key = mac(key, part)
	}
	return key
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func (s Signature) scope() string {
	return s.Day + "/" + s.Region + "/" + s.Service + "/" + terminator
}

// stringToSign is false when a header that is listed as signed is not there.
func (s Signature) stringToSign(r *http.Request, body []byte) (string, bool) {
	canonical, ok := canonicalRequest(r, s.SignedHeaders, canonicalPath(r.URL), canonicalQuery(r.URL.Query()), hexSum(body))
	return s.textOf(canonical), ok
}

// textOf is what is signed of a canonical request.
func (s Signature) textOf(canonical string) string {
	return strings.Join([]string{algorithm, s.Time.UTC().Format(timeFormat), s.scope(), hexSum([]byte(canonical))}, "\n")
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func canonicalRequest(r *http.Request, signed []string, path, query, payload string) (string, bool) {
	var b strings.Builder
	b.WriteString(r.Method + "\n" + path + "\n" + query + "\n")
	for _, name := range signed {
		v, ok := headerValue(r, name)
		if !ok {
			return "", false
		}
		b.WriteString(name + ":" + v + "\n")
	}
	b.WriteString("\n" + strings.Join(signed, ";") + "\n" + payload)
	return b.String(), true
}

// headerValue finds a header also where net/http has moved it to.
func headerValue(r *http.Request, name string) (string, bool) {
	if name == "host" {
		return canonicalHost(r), true
	}
	vs := r.Header.Values(name)
	if len(vs) == 0 {
		switch {
		case name == "content-length" && r.ContentLength >= 0:
			return strconv.FormatInt(r.ContentLength, 10), true
		case name == "transfer-encoding" && len(r.TransferEncoding) > 0:
			return strings.Join(r.TransferEncoding, ","), true
		}
		return "", false
	}
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = squeeze(v)
	}
	return strings.Join(out, ","), true
}

// squeeze trims blanks and makes each run of them one.
func squeeze(s string) string {
	s = strings.Trim(s, " \t")
	for strings.Contains(s, "  ") {
		s = strings.ReplaceAll(s, "  ", " ")
	}
	return s
}

func hostOf(r *http.Request) string {
	if r.Host != "" {
		return r.Host
	}
	return r.URL.Host
}

// canonicalHost is the host as signed and sent. A client's request knows its
// scheme, whose default port signers take out; a server's has no scheme.
func canonicalHost(r *http.Request) string {
	host := hostOf(r)
	if h, port, err := net.SplitHostPort(host); err == nil &&
		(r.URL.Scheme == "https" && port == "443" || r.URL.Scheme == "http" && port == "80") {
		if strings.Contains(h, ":") {
			return "[" + h + "]"
		}
		return h
	}
	return host
}

// canonicalPath is the path, percent-encoded as sent and then once more.
func canonicalPath(u *url.URL) string {
	p := u.EscapedPath()
	if p == "" {
		return "/"
	}
	return escape(p, true)
}

func canonicalQuery(q url.Values) string {
	var pairs [][2]string
	for k, vs := range q {
		for _, v := range vs {
			pairs = append(pairs, [2]string{escape(k, false), escape(v, false)})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	out := make([]string, len(pairs))
	for i, p := range pairs {
		out[i] = p[0] + "=" + p[1]
	}
	return strings.Join(out, "&")
}

// escape percent-encodes all but the unreserved characters of RFC 3986.
func escape(s string, keepSlash bool) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
			strings.IndexByte("-._~", c) >= 0, c == '/' && keepSlash:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}
