package upload

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"pgregory.net/rapid"

	"ssmagent/internal/clock"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/wire/s3"
)

// fake is a service that answers as told and remembers what it was asked.
type fake struct {
	mu     sync.Mutex
	asked  []string
	bodies map[string][]byte
	answer func(n int, r *http.Request, w http.ResponseWriter) (done bool)
}

// RoundTrip implements http.RoundTripper: there is no socket, so that time can
// be a bubble's.
func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	s, err := sigv4.ParseS3(r)
	if r.Header.Get("X-Amz-Target") == "" && (err != nil || !s.VerifyS3(r, "SECRET")) {
		f.mu.Unlock()
		return nil, fmt.Errorf("%s %s is not signed: %w", r.Method, r.URL, err)
	}
	b, _ := io.ReadAll(r.Body)
	what := strings.TrimSpace(r.Method + " " + r.URL.String() + " " + r.Header.Get("X-Amz-Target"))
	f.asked = append(f.asked, what)
	n := len(f.asked)
	f.bodies[what] = b
	f.mu.Unlock()
	w := httptest.NewRecorder()
	if r.Header.Get("X-Amz-Target") == "hang" || !f.answer(n, r, w) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return w.Result(), nil
}

func newUploader(endpoint string, answer func(n int, r *http.Request, w http.ResponseWriter) bool) (*Uploader, *fake) {
	f := &fake{bodies: map[string][]byte{}, answer: answer}
	creds := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "SECRET"}, nil
	})
	return New(Options{HTTP: &http.Client{Transport: f}, Credentials: creds, Region: "eu-west-1", S3: endpoint, Logs: "http://logs", UserAgent: "test", Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler)}), f
}

func refuse(w http.ResponseWriter, status int, code, region string) bool {
	w.WriteHeader(status)
	b, _ := xml.Marshal(s3.Error{Code: code, Message: "no", Region: region})
	_, _ = w.Write(b)
	return true
}

// TestPutObject: where it goes, encrypted as the bucket is, in one piece or in
// parts.
func TestPutObject(t *testing.T) {
	t.Parallel()
	u, f := newUploader("http://127.0.0.1:1", func(_ int, r *http.Request, w http.ResponseWriter) bool {
		switch {
		case r.Method == http.MethodHead:
			w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
		case r.URL.Query().Has("encryption"):
			_, _ = io.WriteString(w, `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>key-1</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`)
		case r.URL.Query().Has("uploads"):
			_, _ = io.WriteString(w, `<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>`)
		case r.Method == http.MethodPut:
			if r.URL.Query().Get("partNumber") == "" && (r.Header.Get("X-Amz-Server-Side-Encryption") != "aws:kms" || r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") != "key-1" ||
				r.Header.Get("X-Amz-Acl") != "bucket-owner-full-control" || r.Header.Get("Content-Md5") == "" || r.Header.Get("Content-Type") != "text/plain") {
				return refuse(w, 400, "headers", "")
			}
			w.Header().Set("Etag", `"e`+r.URL.Query().Get("partNumber")+`"`)
		}
		return true
	})
	put := func(key string, size int) error {
		return u.PutObject(t.Context(), Object{Bucket: "b-1", Key: key, ContentType: "text/plain", Body: bytes.NewReader(make([]byte, size)), Size: int64(size)})
	}
	if err := put("a b/ä.log", 5); err != nil {
		t.Fatal(err)
	}
	if err := put("big", 12<<20); err != nil {
		t.Fatal(err)
	}
	want := []string{"HEAD http://127.0.0.1:1/b-1", "GET http://127.0.0.1:1/b-1?encryption=", "PUT http://127.0.0.1:1/b-1/a%20b/%C3%A4.log", "HEAD http://127.0.0.1:1/b-1", "GET http://127.0.0.1:1/b-1?encryption=",
		"POST http://127.0.0.1:1/b-1/big?uploads=", "PUT http://127.0.0.1:1/b-1/big?partNumber=1&uploadId=u1", "PUT http://127.0.0.1:1/b-1/big?partNumber=2&uploadId=u1", "PUT http://127.0.0.1:1/b-1/big?partNumber=3&uploadId=u1", "POST http://127.0.0.1:1/b-1/big?uploadId=u1"}
	if !slices.Equal(f.asked, want) {
		t.Errorf("%s", strings.Join(f.asked, "\n"))
	}
	var done s3.Complete
	if err := xml.Unmarshal(f.bodies[want[9]], &done); err != nil || len(done.Parts) != 3 || done.Parts[2].ETag != `"e3"` || len(f.bodies[want[8]]) != 2<<20 {
		t.Errorf("%+v %v", done, err)
	}
	if err := put(strings.Repeat("k", 1025), 1); err == nil || !strings.Contains(err.Error(), "shorten the prefix") {
		t.Error(err)
	}
	if err := u.PutObject(t.Context(), Object{Bucket: "evil/../x", Key: "k"}); err == nil {
		t.Error("a path is taken for a bucket")
	}
}

// TestFailures: what may pass is tried again in growing steps, what may not is
// told at once, and a part that fails takes the upload back.
func TestFailures(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		name   string
		size   int
		answer func(n int, r *http.Request, w http.ResponseWriter) bool
		says   string
		asked  int
		took   time.Duration // at least
	}{
		{"403", 1, func(_ int, _ *http.Request, w http.ResponseWriter) bool { return refuse(w, 403, "AccessDenied", "") }, "AccessDenied", 3, 0},
		{"503 for a while", 1, func(n int, r *http.Request, w http.ResponseWriter) bool {
			return r.Method != http.MethodPut || n > 5 || refuse(w, 503, "SlowDown", "")
		}, "", 6, 7 * time.Second},
		{"503 for ever", 1, func(_ int, r *http.Request, w http.ResponseWriter) bool {
			return r.Method != http.MethodPut || refuse(w, 503, "SlowDown", "")
		}, "SlowDown", 6, 7 * time.Second},
		{"hang", 1, func(_ int, r *http.Request, w http.ResponseWriter) bool { return r.Method != http.MethodPut }, "no answer", 6, 4 * time.Minute},
		{"another region", 1, func(_ int, r *http.Request, w http.ResponseWriter) bool {
			if strings.Contains(r.URL.Host, "eu-west-1") {
				w.Header().Set("X-Amz-Bucket-Region", "us-west-2")
				w.WriteHeader(301)
			}
			return true
		}, "", 4, 0},
		{"regions that point at each other", 1, func(n int, _ *http.Request, w http.ResponseWriter) bool {
			return refuse(w, 400, "AuthorizationHeaderMalformed", fmt.Sprintf("r-%d", n%2))
		}, "AuthorizationHeaderMalformed", 6, 0},
		{"a part is refused", 6 << 20, func(_ int, r *http.Request, w http.ResponseWriter) bool {
			switch {
			case r.URL.Query().Has("uploads"):
				_, _ = io.WriteString(w, `<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>`)
			case r.URL.Query().Get("partNumber") == "2":
				return refuse(w, 403, "AccessDenied", "")
			}
			return true
		}, "AccessDenied", 6, 0},
		{"refused with 200", 6 << 20, func(_ int, r *http.Request, w http.ResponseWriter) bool {
			switch {
			case r.URL.Query().Has("uploads"):
				_, _ = io.WriteString(w, `<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>`)
			case r.Method == http.MethodPost:
				return refuse(w, 200, "InternalError", "")
			}
			return true
		}, "InternalError", 7, 0},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				u, f := newUploader("https://s3.{region}.amazonaws.com", v.answer)
				begun := time.Now()
				err := u.PutObject(t.Context(), Object{Bucket: "b-1", Key: "k", ContentType: "text/plain", Body: bytes.NewReader(make([]byte, v.size)), Size: int64(v.size)})
				if (err == nil) != (v.says == "") || err != nil && !strings.Contains(err.Error(), v.says) {
					t.Errorf("%v, want %q", err, v.says)
				}
				if len(f.asked) != v.asked || time.Since(begun) < v.took {
					t.Errorf("%d calls in %s, want %d:\n%s", len(f.asked), time.Since(begun), v.asked, strings.Join(f.asked, "\n"))
				}
				if v.size > 1 && !slices.Contains(f.asked, "DELETE https://b-1.s3.eu-west-1.amazonaws.com/k?uploadId=u1") {
					t.Error("the parts are not taken back")
				}
			})
		})
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ endpoint, bucket, key, want string }{
		{"https://s3.{region}.amazonaws.com", "b-1", "a/k", "https://b-1.s3.r.amazonaws.com/a/k"},
		{"https://s3.{region}.amazonaws.com", "b.1", "k", "https://s3.r.amazonaws.com/b.1/k"},
		{"http://s3.local:8080", "b-1", "", "http://b-1.s3.local:8080/"},
		{"http://localhost:8080", "b-1", "", "http://localhost:8080/b-1"},
		{"http://[::1]:8080/x/", "b-1", "../k", "http://[::1]:8080/x/b-1/../k"},
		{"https://vpce.example", "Old_Name", "k?#", "https://vpce.example/Old_Name/k%3F%23"},
	} {
		u, err := address(v.endpoint, "r", v.bucket, v.key)
		if err != nil || u.String() != v.want {
			t.Errorf("%+v: %v %v", v, u, err)
		}
	}
	if _, err := address("no url", "r", "b", "k"); err == nil {
		t.Error("taken")
	}
}

// TestStream: a stream is made once; throttling is waited out, an accepted
// batch is not put twice, a wanted token is given.
func TestStream(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		name  string
		codes []string // answers of PutLogEvents
		says  string
		puts  int
	}{
		{"fine", nil, "", 1},
		{"throttled", []string{"ThrottlingException", "ThrottlingException"}, "", 3},
		{"throttled for ever", slices.Repeat([]string{"ThrottlingException"}, 10), "ThrottlingException", 6},
		{"accepted already", []string{"DataAlreadyAcceptedException"}, "", 1},
		{"token wanted", []string{"InvalidSequenceTokenException"}, "", 2},
		{"gone", []string{"ResourceNotFoundException"}, "ResourceNotFoundException", 1},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				puts := 0
				var last string
				u, f := newUploader("http://s3", func(_ int, r *http.Request, w http.ResponseWriter) bool {
					switch {
					case strings.HasSuffix(r.Header.Get("X-Amz-Target"), "DescribeLogStreams"):
						_, _ = io.WriteString(w, `{"logStreams":[{"logStreamName":"s","uploadSequenceToken":"wanted"}]}`)
					case strings.HasSuffix(r.Header.Get("X-Amz-Target"), "PutLogEvents"):
						puts++
						if puts <= len(v.codes) {
							w.WriteHeader(400)
							_ = json.NewEncoder(w).Encode(map[string]string{"__type": v.codes[puts-1], "message": "no"})
						} else {
							_, _ = io.WriteString(w, `{"nextSequenceToken":"7"}`)
						}
					case strings.HasSuffix(r.Header.Get("X-Amz-Target"), "CreateLogStream"):
						w.WriteHeader(400)
						_, _ = io.WriteString(w, `{"__type":"ResourceAlreadyExistsException"}`)
					}
					return true
				})
				s := u.Stream("/g", "s")
				err := s.Put(t.Context(), "one", "two")
				if (err == nil) != (v.says == "") || err != nil && !strings.Contains(err.Error(), v.says) || Missing(err) != (v.name == "gone") {
					t.Errorf("%v", err)
				}
				last = string(f.bodies["POST http://logs/ Logs_20140328.PutLogEvents"])
				if puts != v.puts || !strings.Contains(last, `"message":"two"`) || v.name == "token wanted" && !strings.Contains(last, `"sequenceToken":"wanted"`) {
					t.Errorf("%d puts, the last %s", puts, last)
				}
			})
		})
	}
}

func TestEncrypted(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`: "true",
		`<ServerSideEncryptionConfiguration></ServerSideEncryptionConfiguration>`: "false", `not XML`: "error",
		"404": "false", "403": "error",
	} {
		u, _ := newUploader("http://s3", func(_ int, r *http.Request, w http.ResponseWriter) bool {
			switch {
			case r.Method == http.MethodHead:
			case body == "404":
				return refuse(w, 404, "ServerSideEncryptionConfigurationNotFoundError", "")
			case body == "403":
				return refuse(w, 403, "AccessDenied", "")
			default:
				_, _ = io.WriteString(w, body)
			}
			return true
		})
		ok, err := u.Encrypted(t.Context(), "b-1")
		got := fmt.Sprint(ok)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: %s %v", body, got, err)
		}
	}
}

// TestLines: pieces together are the whole, none is over the limit, and they
// end at lines where they can.
func TestLines(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		whole := []byte(rapid.StringOf(rapid.SampledFrom([]rune("ab\n"))).Draw(t, "text"))
		limit, end := rapid.IntRange(1, 9).Draw(t, "limit"), rapid.Bool().Draw(t, "end")
		var got []byte
		rest := whole
		for {
			part, n := Lines(rest, limit, end)
			if n != len(part) || n > limit || n > 0 && n < len(rest) && part[n-1] != '\n' && n != limit {
				t.Fatalf("%q of %q", part, rest)
			}
			if n == 0 {
				break
			}
			got, rest = append(got, part...), rest[n:]
		}
		if !bytes.HasPrefix(whole, got) || end && len(rest) > 0 || !end && bytes.IndexByte(rest, '\n') >= 0 {
			t.Fatalf("%q is left of %q", rest, whole)
		}
	})
}
