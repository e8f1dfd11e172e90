package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

func s3Request(t *testing.T, method, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestS3Headers: what SignS3 signs ParseS3 and VerifyS3 take, whatever is in
// the key, and nothing else.
func TestS3Headers(t *testing.T) {
	t.Parallel()
	creds := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "SECRET", SessionToken: "TOKEN"}
	now := time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)
	for _, url := range []string{
		"http://127.0.0.1:8080/", "http://127.0.0.1:8080/bucket/a%20b/%C3%A4%2B~%3D/..//x?list-type=2&prefix=a%2Fb&uploads",
		"https://bucket.s3.eu-west-1.amazonaws.com:443/k?x=%2A%27",
	} {
		r := s3Request(t, http.MethodPut, url)
		r.Header.Set("X-Amz-Acl", "private")
		if err := SignS3(t.Context(), r, hexSum([]byte("body")), creds, "eu-west-1", now); err != nil {
			t.Fatal(err)
		}
		r.Header.Set("User-Agent", "changed on the way")
		s, err := ParseS3(r)
		if err != nil || !s.VerifyS3(r, "SECRET") || s.VerifyS3(r, "OTHER") || s.Expires != 0 || s.Service != ServiceS3 || !ScopedTo(r, ServiceS3) || ScopedTo(r, "ssm") {
			t.Errorf("%s: %+v %v", url, s, err)
		}
		r.Header.Set("X-Amz-Content-Sha256", Unsigned)
		if s, err := ParseS3(r); err != nil || s.VerifyS3(r, "SECRET") {
			t.Errorf("%s: another body is taken, %v", url, err)
		}
		r.Header.Set("X-Amz-Content-Sha256", "nonsense")
		if _, err := ParseS3(r); !errors.Is(err, ErrPayload) {
			t.Errorf("%s: %v", url, err)
		}
		r.Header.Set("X-Amz-Content-Sha256", Unsigned)
		r.Header.Set("X-Amz-Copy-Source", "/other/key")
		if _, err := ParseS3(r); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: an unsigned header is taken: %v", url, err)
		}
	}
}

// TestS3Presigned takes what the SDK presigns.
func TestS3Presigned(t *testing.T) {
	t.Parallel()
	r := s3Request(t, http.MethodGet, "http://127.0.0.1:8080/bucket/a%20b?X-Amz-Expires=60")
	signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "SECRET", SessionToken: "TOKEN"},
		r, Unsigned, ServiceS3, "eu-west-1", time.Now(), func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseS3(s3Request(t, http.MethodGet, signed))
	if err != nil || s.Expires != time.Minute || s.Token != "TOKEN" || !s.VerifyS3(s3Request(t, http.MethodGet, signed), "SECRET") {
		t.Fatalf("%+v %v", s, err)
	}
	if !ScopedTo(s3Request(t, http.MethodGet, signed), ServiceS3) {
		t.Error("not seen as S3's")
	}
	for _, change := range [][2]string{{"X-Amz-Expires=60", "X-Amz-Expires=61"}, {"a%20b", "a%20c"}, {"http://127", "http://128"}} {
		r := s3Request(t, http.MethodGet, strings.Replace(signed, change[0], change[1], 1))
		if s, err := ParseS3(r); err != nil || s.VerifyS3(r, "SECRET") {
			t.Errorf("%v is taken, %v", change, err)
		}
	}
	for _, change := range [][2]string{
		{"X-Amz-Expires=60", "X-Amz-Expires=604801"}, {"X-Amz-Expires=60", "X-Amz-Expires=0"}, {"X-Amz-Algorithm=AWS4-HMAC", "X-Amz-Algorithm=AWS5-HMAC"}, {"X-Amz-Date=2", "X-Amz-Date=3"},
	} {
		if _, err := ParseS3(s3Request(t, http.MethodGet, strings.Replace(signed, change[0], change[1], 1))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v: %v", change, err)
		}
	}
}

// TestChain holds the row of chunk signatures to the example that AWS
// documents: 65,536 and 1,024 bytes of "a".
func TestChain(t *testing.T) {
	t.Parallel()
	s := Signature{Day: "20130524", Region: "us-east-1", Service: "s3", Time: time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC),
		Value: "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"}
	c := s.Chain("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	for _, v := range []struct {
		n    int
		want string
	}{
		{65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"},
		{1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"},
		{0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"},
	} {
		sum := sha256.Sum256([]byte(strings.Repeat("a", v.n)))
		if !c.Chunk(sum[:], v.want) {
			t.Errorf("%d bytes: %s", v.n, c.last)
		}
	}
	if c.Chunk(sha256.New().Sum(nil), hex.EncodeToString(make([]byte, 32))) {
		t.Error("a wrong signature is taken")
	}
}

func FuzzParseS3(f *testing.F) {
	f.Add("/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F20261122%2Fr%2Fs3%2Faws4_request&X-Amz-Date=20261122T010203Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00", "", "")
	f.Add("/b/k", "AWS4-HMAC-SHA256 Credential=A/20261122/r/s3/aws4_request, SignedHeaders=host, Signature=00", Unsigned)
	f.Fuzz(func(t *testing.T, target, auth, payload string) {
		if !strings.HasPrefix(target, "/") || strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return
		}
		r := &http.Request{Method: http.MethodGet, Header: http.Header{}, Host: "localhost"}
		var err error
		if r.URL, err = httptest.NewRequest(http.MethodGet, "/", nil).URL.Parse("http://localhost" + target); err != nil {
			return
		}
		if auth != "" {
			r.Header.Set("Authorization", auth)
			r.Header.Set("X-Amz-Date", "20261122T010203Z")
		}
		if payload != "" {
			r.Header.Set("X-Amz-Content-Sha256", payload)
		}
		s, err := ParseS3(r)
		if err != nil {
			if !errors.Is(err, ErrUnsigned) && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrPayload) {
				t.Fatal(err)
			}
			return
		}
		if s.VerifyS3(r, "SECRET") && s.Value == "00" {
			t.Fatal("verified without a signature")
		}
	})
}
