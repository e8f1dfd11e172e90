package sigv4

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

type vector struct {
	Name, Method, Host, Path, Query string
	Headers                         map[string]string
	BodyUtf8, Region                string
	AccessKeyID                     string `json:"accessKeyId"`
	SecretAccessKey, SessionToken   string
	AmzDate                         string
	CanonicalRequest, Authorization string
}

func vectors(t *testing.T) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/sigv4.json")
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	if err := json.Unmarshal(b, &vs); err != nil || len(vs) == 0 {
		t.Fatalf("%d vectors, %v", len(vs), err)
	}
	return vs
}

func (v vector) request(t *testing.T) (*http.Request, time.Time) {
	t.Helper()
	url := "https://" + v.Host + v.Path
	if v.Query != "" {
		url += "?" + v.Query
	}
	r, err := http.NewRequestWithContext(t.Context(), v.Method, url, strings.NewReader(v.BodyUtf8))
	if err != nil {
		t.Fatal(err)
	}
	for k, h := range v.Headers {
		r.Header.Set(k, h)
	}
	now, err := time.Parse(timeFormat, v.AmzDate)
	if err != nil {
		t.Fatal(err)
	}
	return r, now
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			r, now := v.request(t)
			r.Header.Set("User-Agent", "never signed")
			r.Header.Set("Accept-Encoding", "gzip")
			r.Header.Set("Connection", "Upgrade")
			c := aws.Credentials{AccessKeyID: v.AccessKeyID, SecretAccessKey: v.SecretAccessKey, SessionToken: v.SessionToken}
			if err := Sign(t.Context(), r, []byte(v.BodyUtf8), c, "ssmmessages", v.Region, now); err != nil {
				t.Fatal(err)
			}
			if got := r.Header.Get("Authorization"); got != v.Authorization {
				t.Errorf("Authorization\n got %s\nwant %s", got, v.Authorization)
			}
			if r.Header.Get(headerHash) != "" {
				t.Error("X-Amz-Content-Sha256 was set")
			}
			s, err := Parse(r)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := canonicalRequest(r, s.SignedHeaders, canonicalPath(r.URL), canonicalQuery(r.URL.Query()), hexSum([]byte(v.BodyUtf8))); got != v.CanonicalRequest {
				t.Errorf("canonical request\n got %q\nwant %q", got, v.CanonicalRequest)
			}
			if !s.Verify(r, []byte(v.BodyUtf8), v.SecretAccessKey) {
				t.Error("Verify refuses the vector")
			}
			if s.Token != v.SessionToken || s.CredentialID != v.AccessKeyID || !s.Time.Equal(now) {
				t.Errorf("parsed %+v", s)
			}
		})
	}
}

// call makes the request that the tests sign and tamper with.
func call(t *testing.T, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonSSM.ListCommands")
	return r
}

var (
	creds = aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "SECRET", SessionToken: "TOKEN/+="}
	noon  = time.Date(2025, 3, 14, 9, 26, 53, 7, time.UTC)
)

func TestSignedHeadersOfJSONCalls(t *testing.T) {
	t.Parallel()
	r := call(t, "https://ssm.eu-west-1.amazonaws.com:443/", "{}")
	if err := Sign(t.Context(), r, []byte("{}"), creds, "ssm", "eu-west-1", noon); err != nil {
		t.Fatal(err)
	}
	s, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	want := "content-length;content-type;host;x-amz-date;x-amz-security-token;x-amz-target"
	if got := strings.Join(s.SignedHeaders, ";"); got != want {
		t.Errorf("signed %s, want %s", got, want)
	}
	if r.Host != "ssm.eu-west-1.amazonaws.com" {
		t.Errorf("Host %q still has the default port", r.Host)
	}
	r.ContentLength = -1 // will be sent chunked
	if err := Sign(t.Context(), r, []byte("{}"), creds, "ssm", "eu-west-1", noon); err != nil {
		t.Fatal(err)
	}
	if s, err = Parse(r); err != nil || s.SignedHeaders[0] != "content-type" {
		t.Errorf("chunked: signed %v, %v", s.SignedHeaders, err)
	}
}

func TestSignAgainReplacesAll(t *testing.T) {
	t.Parallel()
	r := call(t, "http://127.0.0.1:1/", "{}")
	if err := Sign(t.Context(), r, []byte("{}"), creds, "ssm", "x", noon); err != nil {
		t.Fatal(err)
	}
	other := aws.Credentials{AccessKeyID: "B", SecretAccessKey: "S2"}
	if err := Sign(t.Context(), r, []byte("{}"), other, "ssm", "x", noon.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	s, err := Parse(r)
	if err != nil || s.Token != "" || s.CredentialID != "B" || !s.Verify(r, []byte("{}"), "S2") {
		t.Errorf("second signature %+v, %v", s, err)
	}
}

func TestSignNeedsCredentialsAndHost(t *testing.T) {
	t.Parallel()
	r := call(t, "http://127.0.0.1:1/", "")
	if err := Sign(t.Context(), r, nil, aws.Credentials{}, "ssm", "x", noon); err == nil {
		t.Error("signed without credentials")
	}
	r.URL.Host, r.Host = "", ""
	if err := Sign(t.Context(), r, nil, creds, "ssm", "x", noon); err == nil {
		t.Error("signed without host")
	}
}

// serve runs one request through a real server and verifies there.
func serve(t *testing.T, send func(t *testing.T, base string) *http.Request, verify func(*http.Request, []byte) bool) bool {
	t.Helper()
	verdict := make(chan bool, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		verdict <- err == nil && verify(r, b)
	}))
	defer srv.Close()
	resp, err := srv.Client().Do(send(t, srv.URL))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return <-verdict
}

func verifySecret(secret string) func(*http.Request, []byte) bool {
	return func(r *http.Request, b []byte) bool {
		s, err := Parse(r)
		return err == nil && s.Verify(r, b, secret)
	}
}

func TestThroughServer(t *testing.T) {
	t.Parallel()
	const body = `{"MaxResults":1}`
	tests := map[string]struct {
		path   string
		before func(*http.Request)
		after  func(*http.Request)
		want   bool
	}{
		"plain":            {path: "/", want: true},
		"chunked":          {path: "/", before: func(r *http.Request) { r.ContentLength = -1 }, want: true},
		"encoded path":     {path: "/v1/data-channel/a%20b%2Fc+d:e@f?b=2&a=%2B+x&a=1&c", want: true},
		"odd header value": {path: "/", before: func(r *http.Request) { r.Header.Set("X-Amz-User-Agent", "  a   b  c ") }, want: true},
		"two values": {path: "/", before: func(r *http.Request) {
			r.Header.Add("X-Amz-Thing", "a, b")
			r.Header.Add("X-Amz-Thing", "c")
		}, want: true},
		"own host":     {path: "/", before: func(r *http.Request) { r.Host = "ssm.eu-west-1.amazonaws.com" }, want: true},
		"other header": {path: "/", after: func(r *http.Request) { r.Header.Set("X-Amz-Target", "AmazonSSM.SendCommand") }},
		"missing":      {path: "/", after: func(r *http.Request) { r.Header.Del("Content-Type") }},
		"other query":  {path: "/?a=1", after: func(r *http.Request) { r.URL.RawQuery = "a=2" }},
		"other path":   {path: "/x", after: func(r *http.Request) { r.URL.Path = "/y" }},
		"other method": {path: "/", after: func(r *http.Request) { r.Method = http.MethodPut }},
		"other host":   {path: "/", after: func(r *http.Request) { r.Host = "elsewhere" }},
		"other time":   {path: "/", after: func(r *http.Request) { r.Header.Set(headerDate, "20250314T092654Z") }},
		"other token":  {path: "/", after: func(r *http.Request) { r.Header.Set(headerToken, "T") }},
		"other body":   {path: "/", after: func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"MaxResults":2}`)) }},
		"other service": {path: "/", after: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "/ssm/", "/sts/", 1))
		}},
		"other region": {path: "/", after: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "/eu-", "/us-", 1))
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := serve(t, func(t *testing.T, base string) *http.Request {
				r := call(t, base+tt.path, body)
				if tt.before != nil {
					tt.before(r)
				}
				if err := Sign(t.Context(), r, []byte(body), creds, "ssm", "eu-west-1", noon); err != nil {
					t.Fatal(err)
				}
				if tt.after != nil {
					tt.after(r)
				}
				return r
			}, verifySecret("SECRET"))
			if got != tt.want {
				t.Errorf("Verify says %v", got)
			}
		})
	}
	if serve(t, func(t *testing.T, base string) *http.Request {
		r := call(t, base, body)
		if err := Sign(t.Context(), r, []byte(body), creds, "ssm", "eu-west-1", noon); err != nil {
			t.Fatal(err)
		}
		return r
	}, verifySecret("SECRET2")) {
		t.Error("a wrong secret verifies")
	}
}

// TestSDKHabits verifies what the SDK's own signer makes of requests with the
// headers that the SDK sends.
func TestSDKHabits(t *testing.T) {
	t.Parallel()
	const body = `{"InstanceIds":["mi-0a1b2c3d4e5f60718"]}`
	headers := http.Header{
		"Amz-Sdk-Invocation-Id": {"f2b7c1d0-0a5e-4d4c-9c55-6a7b8c9d0e1f"},
		"Amz-Sdk-Request":       {"attempt=1; max=3"},
		"X-Amz-User-Agent":      {"aws-sdk-js/3 os/linux lang/js"},
		"Accept-Encoding":       {"identity"},
		"User-Agent":            {"aws-sdk-go-v2/1 os/linux lang/go#1.26"},
	}
	ok := serve(t, func(t *testing.T, base string) *http.Request {
		r := call(t, base+"/", body)
		for k, v := range headers {
			r.Header[k] = v
		}
		sum := sha256.Sum256([]byte(body))
		if err := v4.NewSigner().SignHTTP(t.Context(), creds, r, hex.EncodeToString(sum[:]), "ssm", "eu-west-1", noon); err != nil {
			t.Fatal(err)
		}
		if a := r.Header.Get("Authorization"); !strings.Contains(a, "accept-encoding;amz-sdk-invocation-id;amz-sdk-request;content-length;") {
			t.Fatalf("the signer signs otherwise now: %s", a)
		}
		return r
	}, verifySecret("SECRET"))
	if !ok {
		t.Error("the SDK's signature is refused")
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	good := "AWS4-HMAC-SHA256 Credential=AK/20250314/eu-west-1/ssm/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=abcd"
	set := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	tests := map[string]struct {
		auth, date, say string
	}{
		"good":            {auth: good},
		"no blanks":       {auth: strings.ReplaceAll(good, ", ", ",")},
		"base64":          {auth: set("abcd", "aB+/0==")},
		"other algorithm": {auth: set("HMAC", "X"), say: "does not start"},
		"no signature":    {auth: set(", Signature=abcd", ""), say: "no Signature"},
		"empty signature": {auth: set("abcd", ""), say: "no Signature"},
		"strange field":   {auth: good + ", X=1", say: "none of"},
		"twice":           {auth: good + ", Signature=ef", say: "twice"},
		"no scope":        {auth: set("/ssm/", "/"), say: "Credential is not"},
		"no terminator":   {auth: set("aws4_request", "aws4"), say: "Credential is not"},
		"no id":           {auth: set("AK/", "/"), say: "part that is empty"},
		"bad day":         {auth: set("20250314", "20251314"), say: "yyyyMMdd"},
		"day differs":     {auth: set("20250314", "20250315"), say: "day that Credential names"},
		"no host":         {auth: set("host;", ""), say: "host is not"},
		"order":           {auth: set("host;x-amz-date", "x-amz-date;host"), say: "ascending"},
		"twice signed":    {auth: set("host;", "host;host;"), say: "ascending"},
		"capitals":        {auth: set("host;", "Host;host;"), say: "lower-case"},
		"no target":       {auth: set(";x-amz-target", ""), say: "X-Amz-Target is not"},
		"bad signature":   {auth: set("abcd", "ab cd"), say: "neither hex"},
		"bad date":        {auth: good, date: "20250314T092653", say: "yyyyMMddTHHmmssZ"},
		"fraction":        {auth: good, date: "20250314T092653.5Z", say: "yyyyMMddTHHmmssZ"},
		"long":            {auth: good + strings.Repeat("a", maxAuthorization), say: "at most"},
		"many headers":    {auth: set("host;", strings.Repeat("a;", 70)+"host;"), say: "at most"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := call(t, "http://h/", "")
			r.Header.Set("Authorization", tt.auth)
			r.Header.Set(headerDate, "20250314T092653Z")
			if tt.date != "" {
				r.Header.Set(headerDate, tt.date)
			}
			_, err := Parse(r)
			switch {
			case tt.say == "" && err != nil:
				t.Error(err)
			case tt.say != "" && (!errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tt.say)):
				t.Errorf("got %v, want ErrMalformed with %q", err, tt.say)
			}
		})
	}
	r := call(t, "http://h/", "")
	if _, err := Parse(r); !errors.Is(err, ErrUnsigned) {
		t.Errorf("unsigned: %v", err)
	}
	r.Header.Set("Authorization", good)
	if _, err := Parse(r); !errors.Is(err, ErrMalformed) {
		t.Errorf("without X-Amz-Date: %v", err)
	}
	r.Header.Add("Authorization", good)
	if _, err := Parse(r); !errors.Is(err, ErrMalformed) {
		t.Errorf("two Authorizations: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AK/20250314/eu-west-1/ssm/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=abcd",
		"20250314T092653Z", "a=1&b", []byte("{}"))
	f.Add("AWS4-HMAC-SHA256 Credential=mi-1/20250314/r/ssm/aws4_request,SignedHeaders=content-length;host,Signature=aB+/==", "20250314T092653Z", "%", []byte{})
	f.Fuzz(func(t *testing.T, auth, date, query string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "http://h/p", bytes.NewReader(body))
		r.URL.RawQuery = query
		r.Header["Authorization"], r.Header[headerDate] = []string{auth}, []string{date}
		s, err := Parse(r)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error without cause: %v", err)
			}
			return
		}
		if s.Verify(r, body, "a secret nobody guesses") {
			t.Fatal("a made-up signature verifies")
		}
	})
}
