package s3

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"strconv"
	"strings"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/sigv4"
)

// Bounds of a streamed body. Chunks of clients have 64 KiB to a few MiB; since
// they are not held, a large one costs nothing.
const (
	maxChunk    = 1 << 30
	maxLine     = 1024
	maxTrailers = 16
)

// chunked decodes an aws-chunked body: chunks with their length in hex, signed
// each or not at all, and headers behind the last. Its errors but io.EOF and
// those of the connection are refusals.
type chunked struct {
	r        *bufio.Reader
	chain    *sigv4.Chain // nil: the chunks are not signed
	trailing bool         // headers may follow
	left     int64        // of the chunk
	sum      hash.Hash    // of the chunk so far
	signed   string       // the chunk's signature
	first    bool
	err      error
	trailers map[string]string // by name in lower case, complete at io.EOF
}

func newChunked(r io.Reader, chain *sigv4.Chain, trailing bool) *chunked {
	return &chunked{r: bufio.NewReaderSize(r, 64<<10), chain: chain, trailing: trailing, sum: sha256.New(), first: true, trailers: map[string]string{}}
}

// Read implements io.Reader.
func (c *chunked) Read(b []byte) (int, error) {
	for c.err == nil && c.left == 0 {
		c.err = c.next()
	}
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.r.Read(b[:min(int64(len(b)), c.left)])
	c.sum.Write(b[:n])
	c.left -= int64(n)
	if err == nil && c.left == 0 {
		err = c.endChunk()
	}
	if err != nil {
		c.err = short(err)
	}
	return n, nil
}

// next reads the head of a chunk, and what is behind the last.
func (c *chunked) next() error {
	line, err := c.line()
	if err != nil {
		return short(err)
	}
	size, rest, _ := strings.Cut(line, ";")
	n, err := strconv.ParseUint(size, 16, 63)
	if err != nil || n > maxChunk {
		return malformedChunk("a chunk's length is not a hexadecimal number of at most %d", maxChunk)
	}
	c.signed = ""
	if c.chain != nil {
		var ok bool
		if c.signed, ok = strings.CutPrefix(rest, "chunk-signature="); !ok {
			return malformedChunk("a chunk has no chunk-signature")
		}
	}
	c.sum.Reset()
	if c.left = int64(n); n > 0 {
		return nil
	}
	if err := c.verify(); err != nil {
		return err
	}
	return c.tail()
}

func (c *chunked) verify() error {
	if c.chain != nil && !c.chain.Chunk(c.sum.Sum(nil), c.signed) {
		return refusal("SignatureDoesNotMatch", 403, "a chunk's signature does not fit its bytes")
	}
	return nil
}

func (c *chunked) endChunk() error {
	var crlf [2]byte
	if _, err := io.ReadFull(c.r, crlf[:]); err != nil {
		return err
	}
	if string(crlf[:]) != "\r\n" {
		return malformedChunk("a chunk is longer than its length says")
	}
	return c.verify()
}

// tail reads the headers behind the last chunk. io.EOF: all is well.
func (c *chunked) tail() error {
	var text strings.Builder
	signature := ""
	for n := 0; ; n++ {
		line, err := c.line()
		if errors.Is(err, io.EOF) || err == nil && line == "" {
			break
		}
		if err != nil {
			return short(err)
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case !ok || n >= maxTrailers:
			return malformedChunk("what follows the last chunk is no header, or there are more than %d", maxTrailers)
		case name == "x-amz-trailer-signature":
			signature = value
		case !c.trailing:
			return malformedChunk("there is a header behind the last chunk, which X-Amz-Content-Sha256 does not announce")
		default:
			c.trailers[name] = value
			text.WriteString(name + ":" + value + "\n")
		}
	}
	if c.chain != nil && c.trailing && !c.chain.Trailer(text.String(), signature) {
		return refusal("SignatureDoesNotMatch", 403, "the signature of the trailing headers does not fit them")
	}
	return io.EOF
}

// line reads a line without its end.
func (c *chunked) line() (string, error) {
	var b []byte
	for len(b) <= maxLine {
		part, err := c.r.ReadSlice('\n')
		b = append(b, part...)
		if err == nil && len(b) <= maxLine {
			return string(bytes.TrimRight(b, "\r\n")), nil
		}
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if len(b) > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
	return "", malformedChunk("a chunk's head or a trailing header is longer than %d bytes", maxLine)
}

func malformedChunk(format string, args ...any) *api.Error {
	return refusal("InvalidRequest", 400, "the aws-chunked body is malformed: "+format, args...)
}

// short makes an early end of the body what S3 calls it.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refusal("IncompleteBody", 400, "You did not provide the number of bytes specified by the Content-Length HTTP header")
	}
	return err
}
