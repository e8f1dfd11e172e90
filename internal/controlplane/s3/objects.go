package s3

import (
	"encoding/xml"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	wire "ssmagent/internal/wire/s3"
)

// maxMeta bounds the metadata of an object, as in S3.
const maxMeta = 2 << 10

// kept are the headers that are kept with an object and answered with it.
func kept() []string {
	return []string{"Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires"}
}

// meta is what the request's headers say of the object. Headers that ask for
// what this store does not do are refused.
func (c *call) meta() (map[string]string, *api.Error) {
	m, own := map[string]string{}, 0
	for name, values := range c.Header {
		switch low := strings.ToLower(name); {
		case strings.HasPrefix(low, "x-amz-meta-"):
			m[textproto.CanonicalMIMEHeaderKey(name)] = strings.Join(values, ",")
			own += len(low) - len("x-amz-meta-") + len(strings.Join(values, ","))
		case low == "x-amz-server-side-encryption" && values[0] != wire.AES256:
			return nil, notImplemented("the server-side encryption " + api.Clip(values[0], 64) + ": objects are encrypted with AES256")
		case strings.HasPrefix(low, "x-amz-server-side-encryption-"), strings.HasPrefix(low, "x-amz-object-lock-"),
			low == "x-amz-tagging", low == "x-amz-website-redirect-location", low == "x-amz-write-offset-bytes",
			low == "x-amz-storage-class" && values[0] != "STANDARD":
			return nil, notImplemented("the header " + name)
		}
	}
	if own > maxMeta {
		return nil, refusal("MetadataTooLarge", 400, "Your metadata headers exceed the maximum allowed metadata size of %d bytes", maxMeta)
	}
	for _, name := range kept() {
		if v := c.Header.Get(name); v != "" {
			m[name] = v
		}
	}
	delete(m, "Content-Encoding")
	var codings []string
	for coding := range strings.SplitSeq(c.Header.Get("Content-Encoding"), ",") {
		if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "aws-chunked") {
			codings = append(codings, coding)
		}
	}
	if len(codings) > 0 {
		m["Content-Encoding"] = strings.Join(codings, ",")
	}
	return m, nil
}

func notImplemented(what string) *api.Error {
	return refusal("NotImplemented", http.StatusNotImplemented, "%s is not implemented by this control plane", what)
}

func (c *call) putObject() error {
	m, e := c.meta()
	if e != nil {
		return e
	}
	if _, err := c.needBucket(); err != nil {
		return err
	}
	body, e := c.content(wire.MaxPutSize)
	if e != nil {
		return e
	}
	name, size, err := c.s.blobs.write(body, body.check)
	if err != nil {
		return err
	}
	o := object{Size: size, ETag: body.etag(), Modified: c.s.opt.Clock.Now().UTC(), Meta: m, Sums: body.sums(), SumType: fullObject, Blob: name}
	if err := c.s.put(c.bucket, c.key, o, c.writable); err != nil {
		c.s.blobs.remove([]string{name})
		return err
	}
	c.entity(o)
	c.sums(o)
	c.answer(http.StatusOK, nil)
	return nil
}

// put makes o the object at key, if allowed says so of what is there.
func (s *Service) put(bucket, key string, o object, allowed func(old object, there bool) error) error {
	var stray []string
	err := s.opt.DB.Update(func(tx *store.Tx) (err error) {
		stray, err = replaceObject(tx, bucket, key, o, allowed)
		return err
	})
	if err == nil {
		s.blobs.remove(stray)
	}
	return err
}

func replaceObject(tx *store.Tx, bucket, key string, o object, allowed func(old object, there bool) error) (stray []string, err error) {
	if _, err := needBucket(tx, bucket); err != nil {
		return nil, err
	}
	old, ok, err := objects.Get(tx, objectKey(bucket, key))
	if err == nil {
		err = allowed(old, ok)
	}
	if err == nil && ok {
		stray, err = drop(tx, objectKey(bucket, key), old)
	}
	if err != nil {
		return nil, err
	}
	return stray, objects.Put(tx, objectKey(bucket, key), o)
}

// writable applies the conditions of a write.
func (c *call) writable(old object, there bool) error {
	match, none := c.Header.Get("If-Match"), c.Header.Get("If-None-Match")
	switch {
	case none != "" && none != "*":
		return notImplemented("If-None-Match with another value than * for a write")
	case none == "*" && there, match != "" && there && !sameTag(match, old.ETag):
		return errPrecondition()
	case match != "" && !there:
		return refusal("NoSuchKey", 404, "The specified key does not exist.")
	}
	return nil
}

func errPrecondition() error {
	return refusal("PreconditionFailed", http.StatusPreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

// sameTag says whether one of the tags in the list of a header is etag.
func sameTag(list, etag string) bool {
	for tag := range strings.SplitSeq(list, ",") {
		if tag = strings.Trim(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`); tag == "*" || tag == etag {
			return true
		}
	}
	return false
}

// find is the object that is asked for, with its files.
func (s *Service) find(bucket, key string) (o object, row []piece, err error) {
	err = s.opt.DB.View(func(tx *store.Tx) error {
		if _, err := needBucket(tx, bucket); err != nil {
			return err
		}
		var ok bool
		if o, ok, err = objects.Get(tx, objectKey(bucket, key)); err == nil && !ok {
			err = refusal("NoSuchKey", 404, "The specified key does not exist.")
		}
		if err == nil {
			row, err = o.pieces(tx)
		}
		return err
	})
	return o, row, err
}

// entity sets the headers of what is stored.
func (c *call) entity(o object) {
	c.w.Header().Set("Etag", `"`+o.ETag+`"`)
	c.w.Header().Set("X-Amz-Server-Side-Encryption", wire.AES256)
}

func (c *call) sums(o object) {
	for name, v := range o.Sums {
		c.w.Header().Set(headerChecksum+name, v)
		c.w.Header().Set("X-Amz-Checksum-Type", o.SumType)
	}
}

// getObject answers GET and HEAD.
func (c *call) getObject() error {
	o, row, err := c.s.find(c.bucket, c.key)
	if err != nil {
		return err
	}
	c.entity(o)
	h := c.w.Header()
	h.Set("Last-Modified", o.Modified.Format(http.TimeFormat))
	h.Set("Accept-Ranges", "bytes")
	// A browser that was given a presigned address must not run what it shows.
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox")
	if done, err := c.unmodified(o); done || err != nil {
		return err
	}
	h.Set("Content-Type", "binary/octet-stream")
	for name, v := range o.Meta {
		h.Set(name, v)
	}
	for _, name := range kept() {
		if v := c.q.Get("response-" + strings.ToLower(name)); v != "" {
			h.Set(name, v)
		}
	}
	offset, length, status := int64(0), o.Size, http.StatusOK
	if o.Size > 0 || c.Header.Get("Range") != "" {
		from, n, ok, e := parseRange(c.Header.Get("Range"), o.Size)
		if e != nil {
			h.Set("Content-Range", "bytes */"+strconv.FormatInt(o.Size, 10))
			return e
		}
		if ok {
			offset, length, status = from, n, http.StatusPartialContent
			h.Set("Content-Range", "bytes "+strconv.FormatInt(from, 10)+"-"+strconv.FormatInt(from+n-1, 10)+"/"+strconv.FormatInt(o.Size, 10))
		}
	}
	if c.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" && status == http.StatusOK {
		c.sums(o)
	}
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	c.w.WriteHeader(status)
	if c.Method == http.MethodHead {
		return nil
	}
	if err := c.s.blobs.read(&pacedWriter{c.w, http.NewResponseController(c.w)}, row, offset, length); err != nil {
		c.s.opt.Log.Debug("an object was not sent to its end", "request", c.id, "error", err)
		panic(http.ErrAbortHandler) // the client must not take it for whole
	}
	return nil
}

// unmodified applies the conditions of a read. done: it is answered.
func (c *call) unmodified(o object) (done bool, err error) {
	after := func(name string) (is, has bool) {
		t, err := http.ParseTime(c.Header.Get(name))
		return o.Modified.Truncate(time.Second).After(t), err == nil
	}
	match, none := c.Header.Get("If-Match"), c.Header.Get("If-None-Match")
	if match != "" && !sameTag(match, o.ETag) {
		return false, errPrecondition()
	}
	if later, has := after("If-Unmodified-Since"); match == "" && has && later {
		return false, errPrecondition()
	}
	later, has := after("If-Modified-Since")
	if none != "" && sameTag(none, o.ETag) || none == "" && has && !later {
		c.answer(http.StatusNotModified, nil)
		return true, nil
	}
	return false, nil
}

// parseRange reads a Range header for one range of an object of size bytes. One
// that is no such thing, or asks for several, is as if it were not there.
func parseRange(v string, size int64) (from, n int64, ok bool, e *api.Error) {
	v, found := strings.CutPrefix(v, "bytes=")
	a, b, cut := strings.Cut(strings.TrimSpace(v), "-")
	if !found || !cut || strings.Contains(b, ",") {
		return 0, 0, false, nil
	}
	first, err1 := strconv.ParseInt(a, 10, 64)
	last, err2 := strconv.ParseInt(b, 10, 64)
	switch {
	case a == "" && err2 == nil && last >= 0: // the last bytes
		first, last = max(size-last, 0), size-1
		if last < first || b == "0" {
			return 0, 0, false, errRange()
		}
	case err1 != nil || first < 0 || b != "" && (err2 != nil || last < first):
		return 0, 0, false, nil
	case first >= size:
		return 0, 0, false, errRange()
	case b == "" || last >= size:
		last = size - 1
	}
	return first, last - first + 1, true, nil
}

func errRange() *api.Error {
	return refusal("InvalidRange", http.StatusRequestedRangeNotSatisfiable, "The requested range is not satisfiable")
}

// pacedWriter writes to a client that may be slow, but not still.
type pacedWriter struct {
	io.Writer
	rc *http.ResponseController
}

func (p *pacedWriter) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(pace))
	n, err := p.Writer.Write(b)
	_ = p.rc.SetWriteDeadline(time.Time{})
	return n, err
}

// deleteObject succeeds also when there is none, as in S3.
func (c *call) deleteObject() error {
	if err := c.s.delete(c.bucket, c.key); err != nil {
		return err
	}
	c.answer(http.StatusNoContent, nil)
	return nil
}

func (s *Service) delete(bucket string, keys ...string) error {
	var stray []string
	err := s.opt.DB.Update(func(tx *store.Tx) error {
		stray = nil
		if _, err := needBucket(tx, bucket); err != nil {
			return err
		}
		for _, key := range keys {
			o, ok, err := objects.Get(tx, objectKey(bucket, key))
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			names, err := drop(tx, objectKey(bucket, key), o)
			if err != nil {
				return err
			}
			stray = append(stray, names...)
		}
		return nil
	})
	if err == nil {
		s.blobs.remove(stray)
	}
	return err
}

// objectTagging tells that an object has no tags: none can be given.
func (c *call) objectTagging() error {
	if _, _, err := c.s.find(c.bucket, c.key); err != nil {
		return err
	}
	c.answer(http.StatusOK, struct {
		XMLName   xml.Name `xml:"Tagging"`
		Namespace string   `xml:"xmlns,attr"`
		Tags      struct{} `xml:"TagSet"`
	}{Namespace: wire.Namespace})
	return nil
}

// maxDelete is how many keys DeleteObjects takes.
const maxDelete = 1000

type deleteRequest struct {
	XMLName xml.Name                          `xml:"Delete"`
	Objects []struct{ Key, VersionId string } `xml:"Object"`
	Quiet   bool
}

type deleteResult struct {
	XMLName   xml.Name     `xml:"DeleteResult"`
	Namespace string       `xml:"xmlns,attr"`
	Deleted   []deletedKey `xml:"Deleted"`
	Errors    []deleteFail `xml:"Error"`
}

type deletedKey struct{ Key string }

type deleteFail struct{ Key, Code, Message string }

func (c *call) deleteObjects() error {
	var in deleteRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if len(in.Objects) == 0 || len(in.Objects) > maxDelete {
		return refusal("MalformedXML", 400, "Delete needs 1 to %d objects", maxDelete)
	}
	out := deleteResult{Namespace: wire.Namespace}
	var keys []string
	for _, o := range in.Objects {
		e := checkKey(o.Key)
		if e == nil && o.VersionId != "" && o.VersionId != "null" {
			e = notImplemented("VersionId")
		}
		if e != nil {
			out.Errors = append(out.Errors, deleteFail{o.Key, e.Code, e.Message})
			continue
		}
		keys = append(keys, o.Key)
		if !in.Quiet {
			out.Deleted = append(out.Deleted, deletedKey{o.Key})
		}
	}
	if err := c.s.delete(c.bucket, keys...); err != nil {
		return err
	}
	c.answer(http.StatusOK, out)
	return nil
}
