package s3

import (
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	wire "ssmagent/internal/wire/s3"
)

const maxList = 1000

// listing is a page of the keys of a bucket.
type listing struct {
	contents []entry
	prefixes []string
	next     string // where the next page starts, "" at the end
}

type entry struct {
	key string
	o   object
}

// above sorts after every key: keys are UTF-8, which has no such byte.
const above = "\xff"

// list reads the keys with the prefix behind after. Those that have the
// delimiter behind the prefix are told once, up to there.
func list(tx *store.Tx, bucket, prefix, delimiter, after string, limit int) (l listing, err error) {
	base := bucket + "\x00"
	for more, last := limit > 0, after; more; {
		more = false
		from := ""
		if last != "" && last >= prefix {
			from = base + last
		}
		err := objects.Scan(tx, base+prefix, from, func(k string, o object) (bool, error) {
			key := k[len(base):]
			if len(l.contents)+len(l.prefixes) == limit {
				l.next = last
				return false, nil
			}
			if i := strings.Index(key[len(prefix):], delimiter); delimiter != "" && i >= 0 {
				common := key[:len(prefix)+i+len(delimiter)]
				l.prefixes = append(l.prefixes, common)
				last, more = common+above, true // on behind all of them
				return false, nil
			}
			l.contents, last = append(l.contents, entry{key, o}), key
			return true, nil
		})
		if err != nil {
			return listing{}, err
		}
	}
	return l, nil
}

type listResult struct {
	XMLName        xml.Name `xml:"ListBucketResult"`
	Namespace      string   `xml:"xmlns,attr"`
	Name           string
	Prefix         string
	Delimiter      string `xml:",omitempty"`
	MaxKeys        int
	EncodingType   string `xml:",omitempty"`
	IsTruncated    bool
	KeyCount       *int         `xml:",omitempty"`
	StartAfter     string       `xml:",omitempty"`
	Token          string       `xml:"ContinuationToken,omitempty"`
	NextToken      string       `xml:"NextContinuationToken,omitempty"`
	Marker         *string      `xml:",omitempty"`
	NextMarker     string       `xml:",omitempty"`
	Contents       []listedKey  `xml:"Contents"`
	CommonPrefixes []listPrefix `xml:"CommonPrefixes"`
}

type listedKey struct {
	Key          string
	LastModified string
	ETag         string
	Size         int64
	StorageClass string
	Owner        *owner `xml:",omitempty"`
}

type listPrefix struct{ Prefix string }

// listObjects answers both versions of the call.
func (c *call) listObjects() error {
	limit, err := maxKeys(c.q.Get("max-keys"))
	if err != nil {
		return err
	}
	version2 := c.q.Get("list-type") == "2"
	if v := c.q.Get("list-type"); v != "" && !version2 {
		return refusal("InvalidArgument", 400, "list-type must be 2 or absent")
	}
	encode := func(s string) string { return s }
	if c.q.Get("encoding-type") == "url" {
		encode = urlEncode
	} else if c.q.Get("encoding-type") != "" {
		return refusal("InvalidArgument", 400, "Invalid Encoding Method specified in Request")
	}
	prefix, delimiter := c.q.Get("prefix"), c.q.Get("delimiter")
	page := api.PageRequest{Op: "ListObjectsV2", Filters: []string{c.bucket, prefix, delimiter}, Token: c.q.Get("continuation-token")}
	after := c.q.Get("start-after")
	if !version2 {
		if after = c.q.Get("marker"); delimiter != "" && strings.HasSuffix(after, delimiter) {
			after += above // the marker is a common prefix: on behind it
		}
	} else if page.Token != "" {
		if after, err = page.Cursor(); err != nil {
			return refusal("InvalidArgument", 400, "The continuation token provided is incorrect")
		}
	}
	var l listing
	err = c.s.opt.DB.View(func(tx *store.Tx) error {
		if _, err := needBucket(tx, c.bucket); err != nil {
			return err
		}
		l, err = list(tx, c.bucket, prefix, delimiter, after, limit)
		return err
	})
	if err != nil {
		return err
	}
	out := listResult{Namespace: wire.Namespace, Name: c.bucket, Prefix: encode(prefix), Delimiter: encode(delimiter), MaxKeys: limit,
		EncodingType: c.q.Get("encoding-type"), IsTruncated: l.next != ""}
	c.fill(&out, l, version2, encode)
	if version2 && l.next != "" {
		out.NextToken = page.NextToken(l.next)
	}
	c.answer(http.StatusOK, out)
	return nil
}

func (c *call) fill(out *listResult, l listing, version2 bool, encode func(string) string) {
	var o *owner
	if !version2 || c.q.Get("fetch-owner") == "true" {
		o = new(owner)
		*o = c.owner()
	}
	for _, e := range l.contents {
		out.Contents = append(out.Contents, listedKey{encode(e.key), isoTime(e.o.Modified), `"` + e.o.ETag + `"`, e.o.Size, "STANDARD", o})
	}
	for _, p := range l.prefixes {
		out.CommonPrefixes = append(out.CommonPrefixes, listPrefix{encode(p)})
	}
	if version2 {
		n := len(l.contents) + len(l.prefixes)
		out.KeyCount, out.StartAfter, out.Token = &n, encode(c.q.Get("start-after")), c.q.Get("continuation-token")
		return
	}
	marker := encode(c.q.Get("marker"))
	out.Marker = &marker
	if l.next != "" {
		out.NextMarker = encode(strings.TrimSuffix(l.next, above))
	}
}

func maxKeys(v string) (int, error) {
	if v == "" {
		return maxList, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return 0, refusal("InvalidArgument", 400, "Argument max-keys must be an integer between 0 and 2147483647")
	}
	return min(n, maxList), nil
}

// urlEncode percent-encodes a key for answers, slashes but not.
func urlEncode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if ch := s[i]; ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z' || ch >= '0' && ch <= '9' || strings.IndexByte("-._~/*", ch) >= 0 {
			b.WriteByte(ch)
		} else {
			b.WriteString("%" + strings.ToUpper(string("0123456789abcdef"[ch>>4])+string("0123456789abcdef"[ch&15])))
		}
	}
	return b.String()
}
