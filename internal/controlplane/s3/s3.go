// Package s3 is an object store that speaks S3: buckets and objects for one
// site, good enough for the AWS CLI, the SDKs and agents that upload their
// output. Objects are files below the data directory, each encrypted with a
// key of its own; what they are called and hold is in the store.
package s3

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/auth"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/fsys"
	"ssmagent/internal/sigv4"
)

// Options are what a Service needs. All members are required but Names.
type Options struct {
	Dir    string // of the objects' files; made if need be
	FS     fsys.FS
	DB     *store.DB
	Clock  clock.Clock
	Log    *slog.Logger
	Region string   // of buckets, when nobody says
	Names  []string // host names of the control plane: <bucket>.<name> is a bucket
	// Verify tells who calls.
	Verify func(*http.Request) (auth.Stored, *api.Error)
}

// Service is the object store. Safe for concurrent use.
type Service struct {
	opt   Options
	blobs *blobs
}

// New returns the service, after it has removed files that a crash left
// without an object.
func New(o Options) (*Service, error) {
	b, err := openBlobs(o)
	if err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	s := &Service{opt: o, blobs: b}
	if err := s.sweep(); err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	return s, nil
}

// Mine says whether r is for this service: signed for S3, or unsigned and for
// a bucket's own host name. Anything else at the listener is somebody else's.
func (s *Service) Mine(r *http.Request) bool {
	if sigv4.ScopedTo(r, sigv4.ServiceS3) {
		return true
	}
	return r.Header.Get("Authorization") == "" && s.hostBucket(r.Host) != ""
}

// call is one request under way.
type call struct {
	*http.Request
	s      *Service
	w      http.ResponseWriter
	id     string
	q      url.Values
	bucket string
	key    string
	auth.Stored
}

// operation is what a request asks for.
type operation struct {
	name string
	// open: for nodes too, not for operators only.
	open bool
	run  func(*call) error
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Request: r, s: s, w: w, id: uuid.NewString()}
	w.Header().Set("X-Amz-Request-Id", c.id)
	log := s.opt.Log.With("request", c.id, "method", r.Method)
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // the value that net/http looks for
				panic(p)
			}
			log.Error("panic", "value", fmt.Sprint(p))
			c.refuse(fmt.Errorf("panic: %v", p))
		}
	}()
	err := c.serve()
	switch e := (*api.Error)(nil); {
	case err == nil:
	case errors.As(err, &e) && (e.HTTPStatus() < 500 || e.HTTPStatus() == http.StatusNotImplemented):
		log.Debug("refused", "code", e.Code, "message", e.Message)
		c.refuse(err)
	default:
		log.Error("request", "error", err)
		c.refuse(err)
	}
}

func (c *call) serve() error {
	var err error
	if c.q, err = url.ParseQuery(c.URL.RawQuery); err != nil {
		return refusal("InvalidURI", 400, "the query cannot be read: percent-encode it")
	}
	if e := c.address(); e != nil {
		return e
	}
	c.Body = &paced{c.Body, http.NewResponseController(c.w)}
	var e *api.Error
	if c.Stored, e = c.s.opt.Verify(c.Request); e != nil {
		c.hintRegion()
		return e
	}
	op, e := c.operation()
	if e != nil {
		return e
	}
	if c.Caller.Kind != api.Operator && !(op.open && c.Caller.Kind == api.Node) {
		return refusal("AccessDenied", http.StatusForbidden, "%s is not authorized to perform s3:%s", c.Caller, op.name)
	}
	if e := c.reserved(); e != nil {
		return e
	}
	if e := c.rightRegion(op); e != nil {
		return e
	}
	return op.run(c)
}

// address finds bucket and key: in the host's name or in the path.
func (c *call) address() *api.Error {
	rest := strings.TrimPrefix(c.URL.Path, "/")
	if b := c.s.hostBucket(c.Host); b != "" {
		c.bucket, c.key = b, rest
	} else {
		c.bucket, c.key, _ = strings.Cut(rest, "/")
	}
	if c.bucket != "" && !validBucket(c.bucket) {
		return refusal("InvalidBucketName", 400, "The specified bucket is not valid: 3 to 63 small letters, digits, dots and hyphens")
	}
	return checkKey(c.key)
}

// subresources are the query parameters that choose an operation, with those
// that this version does not have.
func subresources() []string {
	return []string{"accelerate", "acl", "analytics", "attributes", "cors", "delete", "encryption", "intelligent-tiering", "inventory", "legal-hold",
		"lifecycle", "location", "logging", "metadataTable", "metrics", "notification", "object-lock", "ownershipControls", "partNumber", "policy",
		"policyStatus", "publicAccessBlock", "renameObject", "replication", "requestPayment", "restore", "retention", "select", "session", "tagging", "torrent",
		"uploadId", "uploads", "versioning", "versions", "website"}
}

// operation is what method, place and query ask for.
func (c *call) operation() (operation, *api.Error) {
	place := "service"
	switch {
	case c.key != "":
		place = "object"
	case c.bucket != "":
		place = "bucket"
	}
	var asked []string
	for _, sub := range subresources() {
		if c.q.Has(sub) {
			asked = append(asked, sub)
		}
	}
	if v := c.q.Get("versionId"); v != "" && v != "null" {
		asked = append(asked, "versionId")
	}
	op, ok := operations()[strings.Join(append([]string{c.Method, place}, asked...), " ")]
	if !ok {
		what := c.Method + " of a " + place
		if len(asked) > 0 {
			what += " with ?" + strings.Join(asked, "&")
		}
		return operation{}, refusal("NotImplemented", http.StatusNotImplemented, "%s is not implemented by this control plane", what)
	}
	if op.name == "PutObject" && c.Header.Get("X-Amz-Copy-Source") != "" {
		op = operation{"CopyObject", true, (*call).copyObject}
	}
	if op.name == "UploadPart" && c.Header.Get("X-Amz-Copy-Source") != "" {
		op = operation{"UploadPartCopy", true, (*call).uploadPartCopy}
	}
	return op, nil
}

func operations() map[string]operation {
	return map[string]operation{
		"GET service":                    {"ListBuckets", false, (*call).listBuckets},
		"PUT bucket":                     {"CreateBucket", false, (*call).createBucket},
		"HEAD bucket":                    {"HeadBucket", true, (*call).headBucket},
		"DELETE bucket":                  {"DeleteBucket", false, (*call).deleteBucket},
		"GET bucket":                     {"ListObjects", true, (*call).listObjects},
		"GET bucket location":            {"GetBucketLocation", true, (*call).bucketLocation},
		"GET bucket encryption":          {"GetBucketEncryption", true, (*call).bucketEncryption},
		"GET bucket versioning":          {"GetBucketVersioning", true, (*call).bucketVersioning},
		"GET bucket uploads":             {"ListMultipartUploads", false, (*call).listUploads},
		"POST bucket delete":             {"DeleteObjects", false, (*call).deleteObjects},
		"PUT object":                     {"PutObject", true, (*call).putObject},
		"GET object":                     {"GetObject", true, (*call).getObject},
		"HEAD object":                    {"HeadObject", true, (*call).getObject},
		"GET object tagging":             {"GetObjectTagging", true, (*call).objectTagging},
		"DELETE object":                  {"DeleteObject", false, (*call).deleteObject},
		"POST object uploads":            {"CreateMultipartUpload", true, (*call).createUpload},
		"PUT object partNumber uploadId": {"UploadPart", true, (*call).uploadPart},
		"POST object uploadId":           {"CompleteMultipartUpload", true, (*call).completeUpload},
		"DELETE object uploadId":         {"AbortMultipartUpload", true, (*call).abortUpload},
		"GET object uploadId":            {"ListParts", true, (*call).listParts},
	}
}

// rightRegion refuses a request that is signed for another region than the
// bucket's, and says which that is.
func (c *call) rightRegion(op operation) *api.Error {
	if c.bucket == "" || slices.Contains([]string{"CreateBucket", "GetBucketLocation"}, op.name) {
		return nil
	}
	b, ok, err := c.s.bucket(c.bucket)
	if err != nil || !ok {
		return nil // the operation says so
	}
	c.w.Header().Set(headerRegion, b.Region)
	if b.Region == c.Caller.Region {
		return nil
	}
	if op.name == "HeadBucket" {
		return refusal("PermanentRedirect", http.StatusMovedPermanently, "the bucket is in region %s", b.Region)
	}
	return refusal("AuthorizationHeaderMalformed", 400, "The authorization header is malformed; the region '%s' is wrong; expecting '%s'", api.Clip(c.Caller.Region, 64), b.Region)
}

const headerRegion = "X-Amz-Bucket-Region"

// hintRegion tells the bucket's region with a refusal, as S3 does also to
// those it does not know.
func (c *call) hintRegion() {
	if b, ok, err := c.s.bucket(c.bucket); err == nil && ok {
		c.w.Header().Set(headerRegion, b.Region)
	}
}

// pace is how long a client may let us wait for its next bytes, or for room
// for ours.
const pace = 60 * time.Second

// paced reads a body from a client that may be slow, but not still.
type paced struct {
	io.ReadCloser
	rc *http.ResponseController
}

func (p *paced) Read(b []byte) (int, error) {
	_ = p.rc.SetReadDeadline(time.Now().Add(pace)) // recorders cannot
	n, err := p.ReadCloser.Read(b)
	_ = p.rc.SetReadDeadline(time.Time{})
	return n, err
}
