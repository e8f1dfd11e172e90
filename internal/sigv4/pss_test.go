package sigv4

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// testKey is made once: keys take long.
var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := NewKey()
	if err != nil {
		panic(err)
	}
	return k
})

func TestPSSThroughServer(t *testing.T) {
	t.Parallel()
	const body = `{"Fingerprint":"c0ffee00-1111-4222-8333-444455556666"}`
	other, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		after func(*http.Request)
		pub   *rsa.PublicKey
		want  bool
	}{
		"good":       {pub: &testKey().PublicKey, want: true},
		"other key":  {pub: &other.PublicKey},
		"no key":     {},
		"other body": {pub: &testKey().PublicKey, after: func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("{}")) }},
		"other day":  {pub: &testKey().PublicKey, after: func(r *http.Request) { r.Header.Set(headerDate, "20250314T092654Z") }},
		"other node": {pub: &testKey().PublicKey, after: func(r *http.Request) {
			// The id itself is not signed: it selects the key, and that is what binds it.
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "mi-0", "mi-1", 1))
		}, want: true},
		"other target": {pub: &testKey().PublicKey, after: func(r *http.Request) { r.Header.Set("X-Amz-Target", "AmazonSSM.X") }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := serve(t, func(t *testing.T, base string) *http.Request {
				r := call(t, base+"/", body)
				r.ContentLength = -1
				if err := SignPSS(r, []byte(body), testKey(), "mi-0a1b2c3d4e5f60718", "ssm", "eu-west-1", noon); err != nil {
					t.Fatal(err)
				}
				if tt.after != nil {
					tt.after(r)
				}
				return r
			}, func(r *http.Request, b []byte) bool {
				s, err := Parse(r)
				if err != nil {
					t.Error(err)
				}
				if r.ContentLength != -1 || len(s.Value) != 344 {
					t.Errorf("length %d, signature of %d characters", r.ContentLength, len(s.Value))
				}
				return err == nil && s.VerifyPSS(r, b, tt.pub)
			})
			if got != tt.want {
				t.Errorf("VerifyPSS says %v", got)
			}
		})
	}
}

// TestPSSRequest is the worked example of a role-token call.
func TestPSSRequest(t *testing.T) {
	t.Parallel()
	const body = `{"Fingerprint":"c0ffee00-1111-4222-8333-444455556666"}`
	r := call(t, "https://ssm.eu-west-1.amazonaws.com/", body)
	r.Header.Set("X-Amz-Target", "AmazonSSM.RequestManagedInstanceRoleToken")
	if err := SignPSS(r, []byte(body), testKey(), "mi-0a1b2c3d4e5f60718", "ssm", "eu-west-1", noon); err != nil {
		t.Fatal(err)
	}
	const want = "AWS4-HMAC-SHA256 Credential=mi-0a1b2c3d4e5f60718/20250314/eu-west-1/ssm/aws4_request, " +
		"SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature="
	if got := r.Header.Get("Authorization"); !strings.HasPrefix(got, want) {
		t.Errorf("Authorization %s", got)
	}
	if r.Header.Get(headerDate) != "20250314T092653Z" {
		t.Errorf("X-Amz-Date %s", r.Header.Get(headerDate))
	}
	hash := r.Header.Get(headerHash)
	canonical := "POST\n/\n\ncontent-type:application/x-amz-json-1.1\nhost:ssm.eu-west-1.amazonaws.com\n" +
		"x-amz-date:20250314T092653Z\nx-amz-target:AmazonSSM.RequestManagedInstanceRoleToken\n\n" +
		"content-type;host;x-amz-date;x-amz-target\n" + hash
	if got, _ := canonicalRequest(r, pssHeaders(), canonicalPath(r.URL), canonicalQuery(r.URL.Query()), hexSum([]byte(body))); got != canonical || len(hash) != 64 {
		t.Errorf("canonical request %q", got)
	}
	r.Header.Del("X-Amz-Target")
	if err := SignPSS(r, nil, testKey(), "mi-0", "ssm", "x", noon); err == nil {
		t.Error("signed without X-Amz-Target")
	}
	if err := SignPSS(r, nil, nil, "mi-0", "ssm", "x", noon); err == nil {
		t.Error("signed without a key")
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	pub, err := EncodePublicKey(&testKey().PublicKey)
	if err != nil || len(pub) != 392 {
		t.Fatalf("public key of %d characters, %v", len(pub), err)
	}
	if k, err := DecodePublicKey(pub); err != nil || !k.Equal(&testKey().PublicKey) {
		t.Errorf("public key does not come back: %v", err)
	}
	priv, err := EncodePrivateKey(testKey())
	if err != nil {
		t.Fatal(err)
	}
	if k, err := DecodePrivateKey(priv); err != nil || !k.Equal(testKey()) {
		t.Errorf("private key does not come back: %v", err)
	}
	if _, err := EncodePrivateKey(nil); err == nil {
		t.Error("no key encoded")
	}
}

func TestKeysRefused(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	smallPub, _ := EncodePublicKey(&small.PublicKey)
	smallPriv, _ := EncodePrivateKey(small)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&curve.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]string{
		"empty": "", "not base64": "%", "not DER": "AAAA", "small": smallPub, "small private": smallPriv,
		"curve": base64.StdEncoding.EncodeToString(der), "long": strings.Repeat("A", maxEncodedKey+4),
	} {
		if _, err := DecodePublicKey(s); err == nil {
			t.Errorf("%s: taken as a public key", name)
		}
		if _, err := DecodePrivateKey(s); err == nil {
			t.Errorf("%s: taken as a private key", name)
		}
	}
}

func FuzzDecodeKeys(f *testing.F) {
	if pub, err := EncodePublicKey(&testKey().PublicKey); err == nil {
		f.Add(pub)
	}
	if priv, err := EncodePrivateKey(testKey()); err == nil {
		f.Add(priv)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := DecodePublicKey(s); err == nil {
			if _, err := EncodePublicKey(k); err != nil {
				t.Fatal(err)
			}
		}
		if k, err := DecodePrivateKey(s); err == nil {
			if _, err := EncodePrivateKey(k); err != nil {
				t.Fatal(err)
			}
		}
	})
}
