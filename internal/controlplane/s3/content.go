package s3

import (
	"crypto/md5" //nolint:gosec // what S3 calls an ETag and Content-MD5
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/sigv4"
)

// content is a request's body, decoded, measured and hashed while it is read.
// Whoever has read it to the end asks check whether it is what was announced.
type content struct {
	r       io.Reader
	length  int64 // announced
	size    int64 // read
	md5     hash.Hash
	wantMD5 []byte
	sha     hash.Hash // nil: the signature does not cover the body
	wantSHA string
	chunks  *chunked // nil: not streamed in chunks
	sum     *digest  // nil: no checksum was announced
}

// digest is a checksum of the body.
type digest struct {
	algorithm string // as in header names, lower case
	hash      hash.Hash
	want      string // base64; "" until the trailer says it
}

// content returns the body, of which at most limit bytes are taken.
func (c *call) content(limit int64) (*content, *api.Error) {
	b := &content{r: c.Body, length: c.ContentLength, md5: md5.New()} //nolint:gosec // see the import
	switch c.Payload {
	case sigv4.Unsigned:
	case sigv4.StreamSigned, sigv4.StreamSignedTrailer, sigv4.StreamUnsignedTrailer:
		n, err := strconv.ParseInt(c.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
		if err != nil || n < 0 {
			return nil, refusal("MissingContentLength", http.StatusLengthRequired, "You must provide the X-Amz-Decoded-Content-Length HTTP header")
		}
		chain := c.Chain
		if c.Payload == sigv4.StreamUnsignedTrailer {
			chain = nil
		}
		b.length, b.chunks = n, newChunked(c.Body, chain, c.Payload != sigv4.StreamSigned)
		b.r = b.chunks
	default:
		b.sha, b.wantSHA = sha256.New(), c.Payload
	}
	switch {
	case b.length < 0:
		return nil, refusal("MissingContentLength", http.StatusLengthRequired, "You must provide the Content-Length HTTP header")
	case b.length > limit:
		return nil, refusal("EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed size of %d bytes", limit)
	}
	if v := c.Header.Get("Content-Md5"); v != "" {
		var err error
		if b.wantMD5, err = base64.StdEncoding.DecodeString(v); err != nil || len(b.wantMD5) != md5.Size {
			return nil, refusal("InvalidDigest", 400, "The Content-MD5 you specified is not valid")
		}
	}
	var e *api.Error
	b.sum, e = announced(c.Header)
	return b, e
}

// announced is the checksum that the headers announce, with its value or in a
// trailer.
func announced(h http.Header) (*digest, *api.Error) {
	var d *digest
	for _, name := range algorithms() {
		v, trailer := h.Get(headerChecksum+name), strings.EqualFold(strings.TrimSpace(h.Get("X-Amz-Trailer")), headerChecksum+name)
		if v == "" && !trailer {
			continue
		}
		if d != nil {
			return nil, refusal("InvalidRequest", 400, "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		d = &digest{algorithm: name, hash: newHash(name), want: v}
		if raw, err := base64.StdEncoding.DecodeString(v); v != "" && (err != nil || len(raw) != d.hash.Size()) {
			return nil, refusal("InvalidRequest", 400, "Value for x-amz-checksum-%s header is invalid.", name)
		}
	}
	if d == nil && h.Get("X-Amz-Trailer") != "" {
		return nil, refusal("InvalidRequest", 400, "The value specified in the x-amz-trailer header is not supported")
	}
	return d, nil
}

// Read implements io.Reader.
func (b *content) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.size += int64(n)
	if b.size > b.length {
		return 0, refusal("IncompleteBody", 400, "the body has more bytes than the %d that its length announces", b.length)
	}
	b.md5.Write(p[:n])
	if b.sha != nil {
		b.sha.Write(p[:n])
	}
	if b.sum != nil {
		b.sum.hash.Write(p[:n])
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = short(err)
	}
	return n, err
}

// check says whether the body, read to its end, is what was announced.
func (b *content) check() error {
	switch {
	case b.size != b.length:
		return short(io.ErrUnexpectedEOF)
	case b.sha != nil && subtle.ConstantTimeCompare([]byte(hex.EncodeToString(b.sha.Sum(nil))), []byte(b.wantSHA)) == 0:
		return refusal("XAmzContentSHA256Mismatch", 400, "The provided 'x-amz-content-sha256' header does not match what was computed.")
	case b.wantMD5 != nil && string(b.md5.Sum(nil)) != string(b.wantMD5):
		return refusal("BadDigest", 400, "The Content-MD5 you specified did not match what we received.")
	case b.sum == nil:
		return nil
	}
	if b.chunks != nil && b.sum.want == "" {
		b.sum.want = b.chunks.trailers[headerChecksum+b.sum.algorithm]
	}
	if b.sum.value() != b.sum.want {
		return refusal("BadDigest", 400, "The %s you specified did not match the calculated checksum.", strings.ToUpper(b.sum.algorithm))
	}
	return nil
}

// etag is the MD5 of the body, as S3 names its content.
func (b *content) etag() string { return hexOf(b.md5) }

// sums are the checksums to keep with the object.
func (b *content) sums() map[string]string {
	if b.sum == nil {
		return nil
	}
	return map[string]string{b.sum.algorithm: b.sum.value()}
}

func (d *digest) value() string { return tobase64(d.hash.Sum(nil)) }
