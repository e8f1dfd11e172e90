package s3

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/auth"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/sigv4"
	wire "ssmagent/internal/wire/s3"
)

const secret = "SECRET"

// lab is an object store on a disk of its own. Its callers are whom stored says.
type lab struct {
	*Service
	t      *testing.T
	disk   *fsystest.Disk
	db     *store.DB
	stored auth.Stored
}

func newLab(t *testing.T) *lab {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	l := &lab{t: t, disk: fsystest.NewDisk(), db: db, stored: auth.Stored{Caller: api.Caller{Kind: api.Operator, Region: "us-east-1"}, Payload: sigv4.Unsigned}}
	l.open()
	if code, body, _ := l.do(http.MethodPut, "/lab", nil, ""); code != http.StatusOK {
		t.Fatal(code, body)
	}
	return l
}

func (l *lab) open() {
	l.t.Helper()
	var err error
	l.Service, err = New(Options{Dir: "/objects", FS: l.disk, DB: l.db, Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler), Region: "us-east-1",
		Verify: func(*http.Request) (auth.Stored, *api.Error) { return l.stored, nil }})
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) do(method, target string, h map[string]string, body string) (int, string, http.Header) {
	l.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for k, v := range h {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	l.ServeHTTP(w, r)
	return w.Code, w.Body.String(), w.Header()
}

// files counts the blobs on disk.
func (l *lab) files() (n int) {
	l.t.Helper()
	if err := l.blobs.names(func(string) { n++ }); err != nil {
		l.t.Fatal(err)
	}
	return n
}

// stream encodes body in chunks of size bytes, as the payload kind asks.
func stream(kind, body, trailer string, size int) (string, *sigv4.Chain) {
	at := time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)
	seed := sigv4.Signature{Day: "20261122", Region: "us-east-1", Service: "s3", Time: at, Value: strings.Repeat("0", 64)}
	chain, own := seed.Chain(secret), seed.Chain(secret)
	sign := func(sum []byte) string {
		if kind == sigv4.StreamUnsignedTrailer {
			return ""
		}
		return ";chunk-signature=" + own.Sign(sum)
	}
	var b strings.Builder
	for {
		part := body[:min(size, len(body))]
		body = body[len(part):]
		sum := sha256.Sum256([]byte(part))
		fmt.Fprintf(&b, "%x%s\r\n", len(part), sign(sum[:]))
		if part == "" {
			break
		}
		b.WriteString(part + "\r\n")
	}
	if trailer != "" {
		b.WriteString(trailer + "\r\n")
	}
	if kind == sigv4.StreamSignedTrailer {
		text := ""
		if trailer != "" {
			text = trailer + "\n"
		}
		b.WriteString("x-amz-trailer-signature:" + own.SignTrailer(text) + "\r\n")
	}
	b.WriteString("\r\n")
	return b.String(), chain
}

// TestStreamedBodies: every form of aws-chunked is taken whole, and with any
// byte changed refused without a trace.
func TestStreamedBodies(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	body := strings.Repeat("The quick brown fox. ", 9000)
	sum := newHash("crc64nvme")
	_, _ = io.WriteString(sum, body)
	trailer := "x-amz-checksum-crc64nvme:" + tobase64(sum.Sum(nil))
	for _, v := range []struct{ kind, trailer string }{
		{sigv4.StreamSigned, ""}, {sigv4.StreamSignedTrailer, trailer}, {sigv4.StreamUnsignedTrailer, trailer}, {sigv4.StreamUnsignedTrailer, ""},
	} {
		for _, size := range []int{1 << 20, 65536, 8191} {
			h := map[string]string{"X-Amz-Decoded-Content-Length": fmt.Sprint(len(body)), "Content-Encoding": "aws-chunked"}
			if v.trailer != "" {
				h["X-Amz-Trailer"] = "x-amz-checksum-crc64nvme"
			}
			l.stored.Payload = v.kind
			wire, chain := stream(v.kind, body, v.trailer, size)
			l.stored.Chain = chain
			if code, out, _ := l.do(http.MethodPut, "/lab/k", h, wire); code != http.StatusOK {
				t.Fatalf("%s by %d: %d %s", v.kind, size, code, out)
			}
			l.stored.Payload = sigv4.Unsigned
			if code, out, head := l.do(http.MethodGet, "/lab/k", nil, ""); code != http.StatusOK || out != body || head.Get("Content-Encoding") != "" {
				t.Fatalf("%s by %d: %d, %d bytes", v.kind, size, code, len(out))
			}
			if v.kind == sigv4.StreamUnsignedTrailer && v.trailer == "" {
				continue // nothing tells a changed byte
			}
			for _, at := range []int{0, len(wire) / 2, strings.LastIndex(wire, "\r\n0") + 2, len(wire) - 12} {
				l.stored.Payload = v.kind
				_, l.stored.Chain = stream(v.kind, body, v.trailer, size)
				forged := wire[:at] + string(wire[at]^1) + wire[at+1:]
				if code, _, _ := l.do(http.MethodPut, "/lab/forged", h, forged); code/100 != 4 {
					t.Errorf("%s by %d: with byte %d changed: %d", v.kind, size, at, code)
				}
			}
		}
	}
	l.stored.Payload = sigv4.Unsigned
	if code, _, _ := l.do(http.MethodGet, "/lab/forged", nil, ""); code != http.StatusNotFound || l.files() != 1 {
		t.Errorf("%d, %d files", code, l.files())
	}
}

func FuzzChunked(f *testing.F) {
	for _, kind := range []string{sigv4.StreamSigned, sigv4.StreamSignedTrailer, sigv4.StreamUnsignedTrailer} {
		wire, _ := stream(kind, "some bytes to send", "", 7)
		f.Add([]byte(wire), kind != sigv4.StreamUnsignedTrailer, kind != sigv4.StreamSigned)
	}
	f.Add([]byte("3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"), false, true)
	f.Fuzz(func(t *testing.T, b []byte, signed, trailing bool) {
		var chain *sigv4.Chain
		if signed {
			_, chain = stream(sigv4.StreamSigned, "", "", 1)
		}
		c := newChunked(bytes.NewReader(b), chain, trailing)
		out, err := io.ReadAll(c)
		var e *api.Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%v is no refusal", err)
		}
		if len(out) > len(b) || err == nil && len(c.trailers) > maxTrailers {
			t.Fatalf("%d bytes of %d", len(out), len(b))
		}
	})
}

func FuzzXML(f *testing.F) {
	f.Add([]byte(`<Delete><Object><Key>a</Key></Object><Quiet>true</Quiet></Delete>`))
	f.Add([]byte(`<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"x"</ETag></Part></CompleteMultipartUpload>`))
	f.Add([]byte(`<!DOCTYPE x [<!ENTITY a "b">]><Delete>&a;</Delete>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []any{new(deleteRequest), new(wire.Complete)} {
			var e *api.Error
			if err := parseXML(b, v); err != nil && !errors.As(err, &e) {
				t.Fatal(err)
			}
		}
	})
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-1", int64(10))
	f.Add("bytes=-5", int64(3))
	f.Add("bytes=9223372036854775807-", int64(9))
	f.Fuzz(func(t *testing.T, v string, size int64) {
		if size < 0 {
			return
		}
		from, n, ok, e := parseRange(v, size)
		if ok && (e != nil || from < 0 || n < 1 || from+n > size) {
			t.Fatalf("%q of %d: %d+%d %v", v, size, from, n, e)
		}
	})
}

// TestDigests: a body that is not what its headers say is refused.
func TestDigests(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	sum := sha256.Sum256([]byte("body"))
	for _, v := range []struct {
		payload, header, value, want string
	}{
		{sigv4.Unsigned, "", "", ""},
		{hex.EncodeToString(sum[:]), "", "", ""},
		{strings.Repeat("0", 64), "", "", "XAmzContentSHA256Mismatch"},
		{sigv4.Unsigned, "Content-Md5", "hBotaJrYa9FhFEdFPCLG/A==", ""},
		{sigv4.Unsigned, "Content-Md5", "hBotaJrYa9FhFEdFPCLGZQ==", "BadDigest"},
		{sigv4.Unsigned, "Content-Md5", "short", "InvalidDigest"},
		{sigv4.Unsigned, "X-Amz-Checksum-Sha256", tobase64(sum[:]), ""},
		{sigv4.Unsigned, "X-Amz-Checksum-Crc32", "AAAAAA==", "BadDigest"},
		{sigv4.Unsigned, "X-Amz-Checksum-Crc32", "AAAA", "InvalidRequest"},
		{sigv4.Unsigned, "X-Amz-Trailer", "x-amz-checksum-crc32", "BadDigest"},
		{sigv4.Unsigned, "X-Amz-Trailer", "x-amz-other", "InvalidRequest"},
		{sigv4.Unsigned, "X-Amz-Server-Side-Encryption", "aws:kms", "NotImplemented"},
		{sigv4.Unsigned, "X-Amz-Storage-Class", "GLACIER", "NotImplemented"},
		{sigv4.Unsigned, "X-Amz-Meta-Long", strings.Repeat("x", 3000), "MetadataTooLarge"},
		{sigv4.StreamSigned, "", "", "MissingContentLength"},
	} {
		l.stored.Payload = v.payload
		h := map[string]string{}
		if v.header != "" {
			h[v.header] = v.value
		}
		code, out, _ := l.do(http.MethodPut, "/lab/k", h, "body")
		if (code == http.StatusOK) != (v.want == "") || !strings.Contains(out, v.want) {
			t.Errorf("%+v: %d %s", v, code, out)
		}
	}
	if n := l.files(); n != 1 {
		t.Errorf("%d files are left of what was refused", n)
	}
	if got := crc64.Checksum([]byte("123456789"), crc64.MakeTable(crc64NVME)); got != 0xae8b14860a799888 {
		t.Errorf("CRC-64/NVME of the check string: %x", got)
	}
}

// TestConditions of writes and reads.
func TestConditions(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	_, _, head := l.do(http.MethodPut, "/lab/k", nil, "one")
	tag := head.Get("Etag")
	for _, v := range []struct {
		method, header, value string
		want                  int
	}{
		{"PUT", "If-None-Match", "*", 412}, {"PUT", "If-Match", `"x"`, 412}, {"PUT", "If-Match", tag, 200}, {"PUT", "If-None-Match", `"x"`, 501},
		{"GET", "If-Match", `"x"`, 412}, {"GET", "If-None-Match", tag, 304}, {"GET", "If-None-Match", `"x"`, 200}, {"HEAD", "If-None-Match", "*", 304},
		{"GET", "If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT", 304}, {"GET", "If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:01 GMT", 412},
		{"GET", "Range", "bytes=0-0", 206}, {"GET", "Range", "bytes=3-", 416}, {"GET", "Range", "lines=1", 200}, {"GET", "Range", "bytes=0-0,2-2", 200},
	} {
		code, out, _ := l.do(v.method, "/lab/k", map[string]string{v.header: v.value}, map[string]string{"PUT": "one"}[v.method])
		if code != v.want {
			t.Errorf("%+v: %d %s", v, code, out)
		}
	}
	for target, want := range map[string]int{"/lab?acl": 501, "/lab/k?tagging": 200, "/lab/k?retention": 501, "/lab/k?versionId=1": 501, "/LAB": 400, "/lab/" + strings.Repeat("k", 1025): 400, "/lab/%FF": 400, "/lab/%00": 400, "/lab?%zz": 400} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		u, err := r.URL.Parse(strings.ReplaceAll(target, "?%zz", ""))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(target, "%zz") {
			u.RawQuery = "%zz"
		}
		r.URL = u
		w := httptest.NewRecorder()
		l.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

// TestCrash: whenever the machine stops, an object is the old or the new one,
// whole, and what belongs to none goes at the next start.
func TestCrash(t *testing.T) {
	t.Parallel()
	for stop := 1; stop < 12; stop++ {
		l := newLab(t)
		if code, _, _ := l.do(http.MethodPut, "/lab/k", nil, "old content"); code != http.StatusOK {
			t.Fatal(code)
		}
		l.disk.StopAt(stop)
		code, _, _ := l.do(http.MethodPut, "/lab/k", nil, "new content")
		l.disk.Crash(fsystest.Nothing())
		l.open()
		_, got, _ := l.do(http.MethodGet, "/lab/k", nil, "")
		if want := map[bool]string{true: "new content", false: "old content"}[code == http.StatusOK]; got != want {
			t.Errorf("stopped at %d, answered %d: %q", stop, code, got)
		}
		if n := l.files(); n != 1 {
			t.Errorf("stopped at %d: %d files", stop, n)
		}
	}
}

// TestFullDisk: a disk without room refuses, keeps what there was and leaves
// nothing.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.do(http.MethodPut, "/lab/k", nil, "old")
	l.disk.SetSpace(100)
	if code, out, _ := l.do(http.MethodPut, "/lab/k", nil, strings.Repeat("x", 1000)); code != http.StatusInternalServerError || strings.Contains(out, "no space") {
		t.Errorf("%d %s", code, out)
	}
	if _, got, _ := l.do(http.MethodGet, "/lab/k", nil, ""); got != "old" || l.files() != 1 {
		t.Errorf("%q, %d files", got, l.files())
	}
}

// TestBlobs: what is written can be read from anywhere, and is not on disk in
// the clear.
func TestBlobs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	rapid.Check(t, func(t *rapid.T) {
		var whole []byte
		var row []piece
		for range rapid.IntRange(1, 4).Draw(t, "pieces") {
			b := make([]byte, rapid.IntRange(0, 200).Draw(t, "size"))
			for i := range b {
				b[i] = byte(rand.Uint32())
			}
			name, n, err := l.blobs.write(bytes.NewReader(b), func() error { return nil })
			if err != nil || n != int64(len(b)) {
				t.Fatal(n, err)
			}
			raw, err := fsys.ReadFile(l.disk, l.blobs.path(name), 1000)
			if err != nil || len(b) > 8 && bytes.Contains(raw, b[:8]) {
				t.Fatal("in the clear", err)
			}
			whole, row = append(whole, b...), append(row, piece{name, n})
		}
		from := rapid.IntRange(0, len(whole)).Draw(t, "from")
		n := rapid.IntRange(0, len(whole)-from).Draw(t, "length")
		var got bytes.Buffer
		if err := l.blobs.read(&got, row, int64(from), int64(n)); err != nil || !bytes.Equal(got.Bytes(), whole[from:from+n]) {
			t.Fatalf("%d+%d of %d: %x %v", from, n, len(whole), got.Bytes(), err)
		}
	})
}

func TestUploadChecksum(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ algorithm, kind, want string }{
		{"", "", ""}, {"CRC32", "", composite}, {"CRC64NVME", "", fullObject}, {"CRC32", "FULL_OBJECT", fullObject}, {"SHA256", "", composite},
		{"SHA256", "FULL_OBJECT", "refused"}, {"CRC64NVME", "COMPOSITE", "refused"}, {"MD5", "", "refused"}, {"CRC32", "other", "refused"},
	} {
		_, got, e := uploadChecksum(v.algorithm, v.kind)
		if e != nil {
			got = "refused"
		}
		if got != v.want {
			t.Errorf("%+v: %s", v, got)
		}
	}
}
