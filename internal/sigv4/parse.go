package sigv4

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// ErrUnsigned is returned by Parse for a request without an Authorization
// header.
var ErrUnsigned = errors.New("the request is not signed: it has no Authorization header")

// ErrMalformed is wrapped, with the reason, by every other error of Parse.
var ErrMalformed = errors.New("malformed signature")

// Bounds of what is parsed. The longest Authorization known has 600 bytes, the
// longest list of signed headers a dozen names; session tokens have 1-2 KiB.
const (
	maxAuthorization = 8 << 10
	maxToken         = 16 << 10
	maxSignedHeaders = 64
	maxPart          = 256
)

// Signature is what a request says about its signature. Nothing in it is true
// before Verify or VerifyPSS says so.
type Signature struct {
	CredentialID  string    // access key id, or the instance id of a node that signs with its RSA key
	Day           string    // yyyyMMdd
	Region        string    // as the signer sees it
	Service       string    // as the signer sees it
	SignedHeaders []string  // lower case, ascending, host among them
	Value         string    // hex for HMAC, base64 for RSA-PSS
	Time          time.Time // X-Amz-Date; its age is for the caller to judge
	Token         string    // X-Amz-Security-Token, "" without
	// Of requests to S3 only:
	Payload string        // X-Amz-Content-Sha256
	Expires time.Duration // of a presigned request, 0 for others
}

// Parse reads the signature of r. Its errors are ErrUnsigned and ErrMalformed.
func Parse(r *http.Request) (Signature, error) {
	auth := r.Header.Values("Authorization")
	switch {
	case len(auth) == 0:
		return Signature{}, ErrUnsigned
	case len(auth) > 1:
		return Signature{}, malformed("there are %d Authorization headers, need one", len(auth))
	case len(auth[0]) > maxAuthorization:
		return Signature{}, malformed("Authorization has %d bytes, at most %d are taken", len(auth[0]), maxAuthorization)
	}
	fields, err := split(auth[0])
	if err != nil {
		return Signature{}, err
	}
	s := Signature{Value: fields["Signature"], SignedHeaders: strings.Split(fields["SignedHeaders"], ";")}
	if err := s.parseCredential(fields["Credential"]); err != nil {
		return Signature{}, err
	}
	if err := checkNames(s.SignedHeaders); err != nil {
		return Signature{}, err
	}
	if s.Value == "" || strings.ContainsFunc(s.Value, notBase64) {
		return Signature{}, malformed("Signature is neither hex nor base64")
	}
	// The operation is named by a header: unsigned, anybody could exchange it.
	if r.Header.Get("X-Amz-Target") != "" && !slices.Contains(s.SignedHeaders, "x-amz-target") {
		return Signature{}, malformed("X-Amz-Target is not among the signed headers")
	}
	return s, s.parseHeaders(r)
}

func malformed(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, a...))
}

// split takes the three fields of an Authorization value, parted by commas with
// or without blanks; a base64 signature contains "=" but no comma.
func split(auth string) (map[string]string, error) {
	rest, ok := strings.CutPrefix(auth, algorithm+" ")
	if !ok {
		return nil, malformed("Authorization does not start with %s", algorithm)
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		k, v, ok := strings.Cut(strings.Trim(part, " \t"), "=")
		if !ok || k != "Credential" && k != "SignedHeaders" && k != "Signature" {
			return nil, malformed("Authorization has a field that is none of Credential, SignedHeaders and Signature")
		}
		if _, twice := fields[k]; twice {
			return nil, malformed("Authorization has %s twice", k)
		}
		fields[k] = v
	}
	for _, k := range []string{"Credential", "SignedHeaders", "Signature"} {
		if fields[k] == "" {
			return nil, malformed("Authorization has no %s", k)
		}
	}
	return fields, nil
}

func (s *Signature) parseCredential(v string) error {
	p := strings.Split(v, "/")
	if len(p) != 5 || p[4] != terminator {
		return malformed("Credential is not id/yyyyMMdd/region/service/%s", terminator)
	}
	for _, part := range p {
		if part == "" || len(part) > maxPart || strings.ContainsFunc(part, notVisible) {
			return malformed("Credential has a part that is empty, over %d bytes or not printable", maxPart)
		}
	}
	if _, err := time.Parse("20060102", p[1]); err != nil {
		return malformed("Credential names the day %q, need yyyyMMdd", p[1])
	}
	s.CredentialID, s.Day, s.Region, s.Service = p[0], p[1], p[2], p[3]
	return nil
}

func (s *Signature) parseHeaders(r *http.Request) error {
	date, token := r.Header.Values(headerDate), r.Header.Values(headerToken)
	if len(date) != 1 {
		return malformed("there are %d X-Amz-Date headers, need one", len(date))
	}
	t, err := time.Parse(timeFormat, date[0])
	if err != nil || len(date[0]) != len(timeFormat) {
		return malformed("X-Amz-Date is not of the form yyyyMMddTHHmmssZ")
	}
	if date[0][:8] != s.Day {
		return malformed("X-Amz-Date is not of the day that Credential names")
	}
	if len(token) > 1 || len(token) == 1 && len(token[0]) > maxToken {
		return malformed("X-Amz-Security-Token is there twice or over %d bytes", maxToken)
	}
	s.Time, s.Token = t, r.Header.Get(headerToken)
	return nil
}

func checkNames(names []string) error {
	if len(names) > maxSignedHeaders {
		return malformed("%d signed headers, at most %d are taken", len(names), maxSignedHeaders)
	}
	for i, n := range names {
		if n == "" || len(n) > maxPart || strings.ContainsFunc(n, notName) {
			return malformed("SignedHeaders has a name that is no lower-case header name")
		}
		if i > 0 && names[i-1] >= n {
			return malformed("SignedHeaders is not in ascending order at %q", n)
		}
	}
	if !slices.Contains(names, "host") {
		return malformed("host is not among the signed headers")
	}
	return nil
}

func notName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
}

func notVisible(r rune) bool { return r <= ' ' || r > '~' }

func notBase64(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("+/=", r))
}
