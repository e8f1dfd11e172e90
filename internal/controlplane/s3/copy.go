package s3

import (
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"ssmagent/internal/controlplane/api"
	wire "ssmagent/internal/wire/s3"
)

type copied struct {
	XMLName      xml.Name
	Namespace    string `xml:"xmlns,attr"`
	LastModified string
	ETag         string
}

// source is the object that X-Amz-Copy-Source names.
func (c *call) source() (o object, row []piece, err error) {
	text, _, versioned := strings.Cut(c.Header.Get("X-Amz-Copy-Source"), "?")
	text, err = url.PathUnescape(text)
	bucket, key, ok := strings.Cut(strings.TrimPrefix(text, "/"), "/")
	if err != nil || !ok || !validBucket(bucket) || key == "" || checkKey(key) != nil {
		return o, nil, refusal("InvalidArgument", 400, "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	}
	if versioned {
		return o, nil, notImplemented("a version in X-Amz-Copy-Source")
	}
	for name := range c.Header {
		if strings.HasPrefix(strings.ToLower(name), "x-amz-copy-source-if-") && !strings.EqualFold(name, "x-amz-copy-source-if-match") {
			return o, nil, notImplemented("the header " + name)
		}
	}
	if o, row, err = c.s.find(bucket, key); err != nil {
		return o, nil, err
	}
	if want := c.Header.Get("X-Amz-Copy-Source-If-Match"); want != "" && !sameTag(want, o.ETag) {
		return o, nil, errPrecondition()
	}
	return o, row, nil
}

func (c *call) copyObject() error {
	m, e := c.meta()
	if e != nil {
		return e
	}
	from, row, err := c.source()
	if err != nil {
		return err
	}
	switch d := c.Header.Get("X-Amz-Metadata-Directive"); d {
	case "", "COPY":
		m = from.Meta
		if c.Header.Get("X-Amz-Copy-Source") != "" && d == "" && c.sameObject() {
			return refusal("InvalidRequest", 400, "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata")
		}
	case "REPLACE":
	default:
		return refusal("InvalidArgument", 400, "Unknown metadata directive.")
	}
	name, tag, err := c.duplicate(row, 0, from.Size)
	if err != nil {
		return err
	}
	o := object{Size: from.Size, ETag: tag, Modified: c.s.opt.Clock.Now().UTC(), Meta: m, Blob: name}
	if from.SumType == fullObject {
		o.Sums, o.SumType = from.Sums, from.SumType
	}
	if err := c.s.put(c.bucket, c.key, o, c.writable); err != nil {
		c.s.blobs.remove([]string{name})
		return err
	}
	c.entity(o)
	c.answer(http.StatusOK, copied{XMLName: xml.Name{Local: "CopyObjectResult"}, Namespace: wire.Namespace, LastModified: isoTime(o.Modified), ETag: `"` + tag + `"`})
	return nil
}

func (c *call) sameObject() bool {
	text, err := url.PathUnescape(c.Header.Get("X-Amz-Copy-Source"))
	return err == nil && strings.TrimPrefix(text, "/") == c.bucket+"/"+c.key
}

// duplicate writes length bytes of the pieces from offset on anew, and returns
// the file and its MD5.
func (c *call) duplicate(row []piece, offset, length int64) (name, etag string, err error) {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(c.s.blobs.read(w, row, offset, length))
	}()
	d := digest{hash: newHash("md5")}
	name, _, err = c.s.blobs.write(io.TeeReader(r, d.hash), func() error { return nil })
	_ = r.Close()
	<-done
	return name, hexOf(d.hash), err
}

func (c *call) uploadPartCopy() error {
	n, err := c.partNumber()
	if err == nil {
		err = c.checkUpload()
	}
	if err != nil {
		return err
	}
	from, row, err := c.source()
	if err != nil {
		return err
	}
	offset, length := int64(0), from.Size
	if v := c.Header.Get("X-Amz-Copy-Source-Range"); v != "" {
		var ok bool
		var e *api.Error
		if offset, length, ok, e = parseRange(v, from.Size); e != nil || !ok {
			return refusal("InvalidArgument", 400, "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy: the source has %s bytes", strconv.FormatInt(from.Size, 10))
		}
	}
	if length > wire.MaxPutSize {
		return refusal("EntityTooLarge", 400, "a part has at most %d bytes: give a range", int64(wire.MaxPutSize))
	}
	name, tag, err := c.duplicate(row, offset, length)
	if err != nil {
		return err
	}
	p := part{Number: n, Blob: name, Size: length, ETag: tag, Modified: c.s.opt.Clock.Now().UTC()}
	if err := c.putPart(p); err != nil {
		return err
	}
	c.answer(http.StatusOK, copied{XMLName: xml.Name{Local: "CopyPartResult"}, Namespace: wire.Namespace, LastModified: isoTime(p.Modified), ETag: `"` + tag + `"`})
	return nil
}
