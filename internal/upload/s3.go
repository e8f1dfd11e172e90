package upload

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Content-MD5 is one
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"ssmagent/internal/backoff"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/s3"
)

// maxAnswer bounds what an object store answers.
const maxAnswer = 1 << 20

// bucket is a bucket as the object store told it.
type bucket struct {
	u      *Uploader
	name   string
	region string
	// encryption and key are the default encryption, "" when there is none or
	// it cannot be told.
	encryption, key string
}

// Encrypted says whether the bucket encrypts what it is given. An error says
// that this cannot be told.
func (u *Uploader) Encrypted(ctx context.Context, name string) (bool, error) {
	b, err := u.locate(ctx, name)
	if err == nil {
		err = b.readEncryption(ctx)
	}
	if ssmclient.Code(err) == "ServerSideEncryptionConfigurationNotFoundError" {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("encryption of bucket %s: %w", name, err)
	}
	return b.encryption == s3.KMS || b.encryption == s3.AES256, nil
}

// locate finds the bucket's region. The service tells it with whatever status.
func (u *Uploader) locate(ctx context.Context, name string) (*bucket, error) {
	b := &bucket{u: u, name: name, region: u.opt.Region}
	if name == "" || strings.ContainsAny(name, "/?#@:% ") || len(name) > 255 {
		return nil, fmt.Errorf("bucket %.64q is not a bucket's name", name)
	}
	_, err := b.do(ctx, request{method: http.MethodHead})
	if _, refused := errors.AsType[*ssmclient.Error](err); err != nil && !refused {
		return nil, err
	}
	return b, nil
}

func (b *bucket) readEncryption(ctx context.Context) error {
	a, err := b.do(ctx, request{method: http.MethodGet, query: url.Values{"encryption": {""}}})
	if err != nil {
		return err
	}
	var e s3.Encryption
	if err := xml.Unmarshal(a.body, &e); err != nil {
		return fmt.Errorf("read the bucket's encryption: %w", err)
	}
	if len(e.Rules) > 0 {
		b.encryption, b.key = e.Rules[0].Algorithm, e.Rules[0].KMSKeyID
	}
	return nil
}

// PutObject uploads an object, in parts when it is large, encrypted as the
// bucket has it by default. Its owner will be the bucket's.
func (u *Uploader) PutObject(ctx context.Context, o Object) error {
	if o.Key == "" || len(o.Key) > s3.MaxKey {
		return fmt.Errorf("upload to bucket %s: the key has %d bytes, 1 to %d are possible: shorten the prefix", o.Bucket, len(o.Key), s3.MaxKey)
	}
	b, err := u.locate(ctx, o.Bucket)
	if err == nil {
		if eerr := b.readEncryption(ctx); eerr != nil {
			u.opt.Log.Debug("the bucket's encryption is not known, its own default holds", "bucket", o.Bucket, "error", eerr)
		}
		if o.Size <= s3.MinPartSize {
			err = b.whole(ctx, o)
		} else {
			err = b.inParts(ctx, o)
		}
	}
	if err != nil {
		return fmt.Errorf("upload s3://%s/%s: %w", o.Bucket, o.Key, err)
	}
	return nil
}

func (b *bucket) whole(ctx context.Context, o Object) error {
	body := make([]byte, o.Size)
	if _, err := io.ReadFull(o.Body, body); err != nil {
		return fmt.Errorf("read it: %w", err)
	}
	_, err := b.do(ctx, request{method: http.MethodPut, key: o.Key, header: b.headers(o), body: body})
	return err
}

// headers are those of a new object.
func (b *bucket) headers(o Object) http.Header {
	h := http.Header{"Content-Type": {o.ContentType}, "X-Amz-Acl": {"bucket-owner-full-control"}}
	if b.encryption != "" {
		h.Set("X-Amz-Server-Side-Encryption", b.encryption)
	}
	if b.encryption == s3.KMS && b.key != "" {
		h.Set("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", b.key)
	}
	return h
}

// inParts uploads parts of 5 MiB, larger ones when those would be too many. An
// upload that fails is taken back, so that nobody pays for its parts.
func (b *bucket) inParts(ctx context.Context, o Object) (err error) {
	a, err := b.do(ctx, request{method: http.MethodPost, key: o.Key, query: url.Values{"uploads": {""}}, header: b.headers(o)})
	if err != nil {
		return err
	}
	var id s3.Initiated
	if err := xml.Unmarshal(a.body, &id); err != nil || id.UploadID == "" {
		return errors.New("the service did not name the upload")
	}
	defer func() {
		if err != nil {
			back, done := context.WithTimeout(context.WithoutCancel(ctx), b.u.opt.Timeout)
			defer done()
			if _, aerr := b.do(back, request{method: http.MethodDelete, key: o.Key, query: url.Values{"uploadId": {id.UploadID}}}); aerr != nil {
				err = errors.Join(err, fmt.Errorf("take back its parts: %w", aerr))
			}
		}
	}()
	size := max(int64(s3.MinPartSize), (o.Size+s3.MaxParts-1)/s3.MaxParts)
	buffer, done, left := make([]byte, size), s3.Complete{}, o.Size
	for n := 1; left > 0; n++ {
		body := buffer[:min(size, left)]
		if _, err := io.ReadFull(o.Body, body); err != nil {
			return fmt.Errorf("read it: %w", err)
		}
		a, err := b.do(ctx, request{method: http.MethodPut, key: o.Key, query: url.Values{"partNumber": {strconv.Itoa(n)}, "uploadId": {id.UploadID}}, body: body})
		if err != nil {
			return err
		}
		done.Parts = append(done.Parts, s3.CompletePart{PartNumber: n, ETag: a.header.Get("Etag")})
		left -= int64(len(body))
	}
	list, err := xml.Marshal(done)
	if err != nil {
		return err
	}
	a, err = b.do(ctx, request{method: http.MethodPost, key: o.Key, query: url.Values{"uploadId": {id.UploadID}}, body: list})
	if err != nil {
		return err
	}
	var refused s3.Error // S3 may answer 200 before it knows
	if xml.Unmarshal(a.body, &refused) == nil && refused.Code != "" {
		return &ssmclient.Error{Code: refused.Code, Message: refused.Message, Status: a.status}
	}
	return nil
}

// request is a call about a bucket.
type request struct {
	method, key string
	query       url.Values
	header      http.Header
	body        []byte
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do makes a call and repeats it while that may help. One that is for another
// region is made there.
func (b *bucket) do(ctx context.Context, r request) (a answer, err error) {
	moved := false
	err = backoff.Do(ctx, b.u.opt.Clock, backoff.APIRetry(), func(ctx context.Context) error {
		for {
			before := b.region
			if a, err = b.attempt(ctx, r); err == nil {
				return nil
			}
			if b.region != before && !moved {
				moved = true // once: two services that point at each other are no way
				continue
			}
			break
		}
		if !ssmclient.Retryable(err) {
			return backoff.Stop(err)
		}
		if inv, ok := b.u.opt.Credentials.(ssmclient.Invalidator); ok && strings.HasPrefix(ssmclient.Code(err), "Expired") {
			inv.Invalidate()
		}
		b.u.opt.Log.Debug("upload call again", "method", r.method, "bucket", b.name, "error", err)
		return err
	})
	return a, err
}

func (b *bucket) attempt(ctx context.Context, r request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, b.u.opt.Timeout)
	defer cancel()
	u, err := address(b.u.opt.S3, b.region, b.name, r.key)
	if err != nil {
		return answer{}, err
	}
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return answer{}, fmt.Errorf("endpoint %q: %w", b.u.opt.S3, err)
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	if len(r.body) > 0 {
		sum := md5.Sum(r.body) //nolint:gosec // see the import
		req.Header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	sum := sha256.Sum256(r.body)
	creds, err := b.u.opt.Credentials.Retrieve(ctx)
	if err != nil {
		return answer{}, fmt.Errorf("credentials: %w", err)
	}
	if err := sigv4.SignS3(ctx, req, hex.EncodeToString(sum[:]), creds, b.region, b.u.skew.Now(b.u.opt.Clock)); err != nil {
		return answer{}, err
	}
	req.Header.Set("User-Agent", b.u.opt.UserAgent)
	return b.send(req)
}

func (b *bucket) send(req *http.Request) (answer, error) {
	sent := b.u.opt.Clock.Now()
	resp, err := b.u.http.Do(req)
	if err != nil {
		return answer{}, ssmclient.Unanswered(b.u.opt.S3, err)
	}
	defer resp.Body.Close()
	b.u.skew.Observe(sent, b.u.opt.Clock.Now(), resp.Header.Get("Date"))
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, ssmclient.Unanswered(b.u.opt.S3, err)
	}
	var e s3.Error
	if resp.StatusCode/100 != 2 {
		_ = xml.Unmarshal(body, &e) // HEAD has none
	}
	for _, region := range []string{resp.Header.Get("X-Amz-Bucket-Region"), e.Region} {
		if validRegion(region) {
			b.region = region
		}
	}
	if resp.StatusCode/100 == 2 {
		return answer{resp.StatusCode, resp.Header, body}, nil
	}
	r := &ssmclient.Error{Code: ssmclient.Clean(e.Code), Message: ssmclient.Clean(e.Message), Status: resp.StatusCode, RequestID: ssmclient.Clean(resp.Header.Get("X-Amz-Request-Id"))}
	if t, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		r.Date = t
	}
	return answer{}, r
}

func validRegion(r string) bool {
	return r != "" && len(r) <= 64 && strings.Trim(strings.ToLower(r), "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// address is the URL of an object: the bucket goes before the host, as stock
// agents have it, but into the path where a host cannot have it: before an
// address, before localhost, and with dots in it under a certificate.
func address(endpoint, region, name, key string) (*url.URL, error) {
	u, err := url.Parse(strings.ReplaceAll(endpoint, "{region}", region))
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("S3.Endpoint %q is not a URL like https://host:port; correct the configuration", endpoint)
	}
	host := u.Hostname()
	_, err = netip.ParseAddr(host)
	path := strings.TrimRight(u.Path, "/") + "/"
	if err == nil || host == "localhost" || strings.Contains(name, ".") && u.Scheme == "https" || strings.ToLower(name) != name || strings.Contains(name, "_") {
		path += name + "/"
	} else if port := u.Port(); port != "" {
		u.Host = net.JoinHostPort(name+"."+host, port)
	} else {
		u.Host = name + "." + host
	}
	if key == "" && path != "/" {
		path = strings.TrimRight(path, "/")
	}
	u.Path = path + key
	u.RawPath = sigv4.Escape(u.Path)
	return u, nil
}
