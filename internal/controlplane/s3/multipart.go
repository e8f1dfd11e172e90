package s3

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"ssmagent/internal/controlplane/store"
	wire "ssmagent/internal/wire/s3"
)

func partKey(id string, number int) string { return fmt.Sprintf("%s\x00%05d", id, number) }

func (c *call) createUpload() error {
	m, e := c.meta()
	if e != nil {
		return e
	}
	algorithm, kind, e := uploadChecksum(c.Header.Get("X-Amz-Checksum-Algorithm"), c.Header.Get("X-Amz-Checksum-Type"))
	if e != nil {
		return e
	}
	id := strings.ReplaceAll(uuid.NewString(), "-", "")
	err := c.s.opt.DB.Update(func(tx *store.Tx) error {
		if _, err := needBucket(tx, c.bucket); err != nil {
			return err
		}
		return uploads.Put(tx, id, upload{Bucket: c.bucket, Key: c.key, Started: c.s.opt.Clock.Now().UTC(), Meta: m, Algorithm: algorithm, SumType: kind})
	})
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("X-Amz-Server-Side-Encryption", wire.AES256)
	if algorithm != "" {
		h.Set("X-Amz-Checksum-Algorithm", strings.ToUpper(algorithm))
		h.Set("X-Amz-Checksum-Type", kind)
	}
	c.answer(http.StatusOK, wire.Initiated{Namespace: wire.Namespace, Bucket: c.bucket, Key: c.key, UploadID: id})
	return nil
}

// needUpload is the upload that is asked for. Its id is good for its bucket
// and key only.
func (c *call) needUpload(tx *store.Tx) (id string, u upload, err error) {
	if _, err = needBucket(tx, c.bucket); err != nil {
		return "", u, err
	}
	id = c.q.Get("uploadId")
	u, ok, err := uploads.Get(tx, id)
	if err == nil && (!ok || u.Bucket != c.bucket || u.Key != c.key) {
		err = refusal("NoSuchUpload", 404, "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")
	}
	return id, u, err
}

func (c *call) checkUpload() error {
	return c.s.opt.DB.View(func(tx *store.Tx) error {
		_, _, err := c.needUpload(tx)
		return err
	})
}

func (c *call) partNumber() (int, error) {
	n, err := strconv.Atoi(c.q.Get("partNumber"))
	if err != nil || n < 1 || n > wire.MaxParts {
		return 0, refusal("InvalidArgument", 400, "Part number must be an integer between 1 and %d, inclusive", wire.MaxParts)
	}
	return n, nil
}

func (c *call) uploadPart() error {
	n, err := c.partNumber()
	if err == nil {
		err = c.checkUpload()
	}
	if err != nil {
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
	p := part{Number: n, Blob: name, Size: size, ETag: body.etag(), Modified: c.s.opt.Clock.Now().UTC(), Sums: body.sums()}
	if err := c.putPart(p); err != nil {
		return err
	}
	c.entity(object{ETag: p.ETag})
	for algorithm, v := range p.Sums {
		c.w.Header().Set(headerChecksum+algorithm, v)
	}
	c.answer(http.StatusOK, nil)
	return nil
}

// putPart records a part, in place of one of its number.
func (c *call) putPart(p part) error {
	var stray []string
	err := c.s.opt.DB.Update(func(tx *store.Tx) error {
		stray = nil
		id, _, err := c.needUpload(tx)
		if err != nil {
			return err
		}
		old, ok, err := parts.Get(tx, partKey(id, p.Number))
		if ok {
			stray = append(stray, old.Blob)
		}
		if err != nil {
			return err
		}
		return parts.Put(tx, partKey(id, p.Number), p)
	})
	if err != nil {
		stray = []string{p.Blob}
	}
	c.s.blobs.remove(stray)
	return err
}

func (c *call) completeUpload() error {
	var in wire.Complete
	if err := c.decode(&in); err != nil {
		return err
	}
	if len(in.Parts) == 0 || len(in.Parts) > wire.MaxParts {
		return refusal("MalformedXML", 400, "CompleteMultipartUpload needs 1 to %d parts", wire.MaxParts)
	}
	if !slices.IsSortedFunc(in.Parts, func(a, b wire.CompletePart) int { return cmp.Compare(a.PartNumber, b.PartNumber) }) {
		return refusal("InvalidPartOrder", 400, "The list of parts was not in ascending order. Parts must be ordered by part number.")
	}
	whole, err := c.wholeSum(in)
	if err != nil {
		return err
	}
	var o object
	var stray []string
	err = c.s.opt.DB.Update(func(tx *store.Tx) error {
		id, u, err := c.needUpload(tx)
		if err != nil {
			return err
		}
		row, object, err := c.join(tx, id, u, in)
		if err != nil {
			return err
		}
		if o = object; whole != "" {
			o.Sums = map[string]string{u.Algorithm: whole}
		}
		old, err := replaceObject(tx, c.bucket, c.key, o, c.writable)
		if err == nil {
			err = rows.Put(tx, o.Pieces, row)
		}
		if err != nil {
			return err
		}
		all, err := dropUpload(tx, id)
		stray = append(old, slices.DeleteFunc(all, func(name string) bool {
			return slices.ContainsFunc(row, func(p piece) bool { return p.Blob == name })
		})...)
		return err
	})
	if err != nil {
		return err
	}
	c.s.blobs.remove(stray)
	c.w.Header().Set("X-Amz-Server-Side-Encryption", wire.AES256)
	c.answer(http.StatusOK, wire.Completed{Namespace: wire.Namespace, Location: "/" + c.bucket + "/" + urlEncode(c.key), Bucket: c.bucket, Key: c.key, ETag: `"` + o.ETag + `"`})
	return nil
}

// join makes an object of the parts that the caller names.
func (c *call) join(tx *store.Tx, id string, u upload, in wire.Complete) (row []piece, o object, err error) {
	tags, sums := newHash("md5"), newHash(cmp.Or(u.Algorithm, "sha256"))
	for i, want := range in.Parts {
		p, ok, err := parts.Get(tx, partKey(id, want.PartNumber))
		switch {
		case err != nil:
			return nil, o, err
		case !ok || strings.Trim(want.ETag, `"`) != p.ETag || !sumFits(want, p) || i > 0 && want.PartNumber == in.Parts[i-1].PartNumber:
			return nil, o, refusal("InvalidPart", 400, "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag: part %d", want.PartNumber)
		case i < len(in.Parts)-1 && p.Size < wire.MinPartSize:
			return nil, o, refusal("EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed size: part %d has %d bytes, all but the last need %d", p.Number, p.Size, wire.MinPartSize)
		}
		tags.Write(unhex(p.ETag))
		sums.Write(unbase64(p.Sums[u.Algorithm]))
		row = append(row, piece{p.Blob, p.Size})
		o.Size += p.Size
	}
	count := "-" + strconv.Itoa(len(row))
	o.ETag, o.Pieces, o.Meta, o.Modified = fmt.Sprintf("%x", tags.Sum(nil))+count, id, u.Meta, c.s.opt.Clock.Now().UTC()
	if u.SumType == composite {
		o.Sums = map[string]string{u.Algorithm: tobase64(sums.Sum(nil)) + count}
	}
	o.SumType = u.SumType
	return row, o, nil
}

// sumFits says whether the checksum that the caller names, if any, is that of
// the part.
func sumFits(want wire.CompletePart, p part) bool {
	for algorithm, v := range map[string]string{"crc32": want.ChecksumCRC32, "crc32c": want.ChecksumCRC32C, "crc64nvme": want.ChecksumCRC64NVME, "sha1": want.ChecksumSHA1, "sha256": want.ChecksumSHA256} {
		if v != "" && p.Sums[algorithm] != "" && v != p.Sums[algorithm] {
			return false
		}
	}
	return true
}

// wholeSum reads the parts for the checksum of the whole object, where the
// upload asks for one.
func (c *call) wholeSum(in wire.Complete) (string, error) {
	var row []piece
	var u upload
	err := c.s.opt.DB.View(func(tx *store.Tx) error {
		id, got, err := c.needUpload(tx)
		if u = got; err != nil || u.SumType != fullObject {
			return err
		}
		row, _, err = c.join(tx, id, u, in)
		return err
	})
	if err != nil || u.SumType != fullObject {
		return "", err
	}
	d := digest{algorithm: u.Algorithm, hash: newHash(u.Algorithm), want: c.Header.Get(headerChecksum + u.Algorithm)}
	var size int64
	for _, p := range row {
		size += p.Size
	}
	if err := c.s.blobs.read(d.hash, row, 0, size); err != nil {
		return "", err
	}
	if d.want != "" && d.want != d.value() {
		return "", refusal("BadDigest", 400, "The %s you specified did not match the calculated checksum.", strings.ToUpper(u.Algorithm))
	}
	return d.value(), nil
}

func (c *call) abortUpload() error {
	var stray []string
	err := c.s.opt.DB.Update(func(tx *store.Tx) error {
		id, _, err := c.needUpload(tx)
		if err != nil {
			return err
		}
		stray, err = dropUpload(tx, id)
		return err
	})
	if err != nil {
		return err
	}
	c.s.blobs.remove(stray)
	c.answer(http.StatusNoContent, nil)
	return nil
}

// dropUpload forgets an upload and its parts, and returns their files.
func dropUpload(tx *store.Tx, id string) (names []string, err error) {
	var keys []string
	err = parts.Scan(tx, id+"\x00", "", func(k string, p part) (bool, error) {
		keys, names = append(keys, k), append(names, p.Blob)
		return true, nil
	})
	for _, k := range keys {
		if err == nil {
			err = parts.Delete(tx, k)
		}
	}
	if err != nil {
		return nil, err
	}
	return names, uploads.Delete(tx, id)
}

type partList struct {
	XMLName      xml.Name `xml:"ListPartsResult"`
	Namespace    string   `xml:"xmlns,attr"`
	Bucket       string
	Key          string
	UploadID     string `xml:"UploadId"`
	Initiator    owner
	Owner        owner
	StorageClass string
	Marker       int `xml:"PartNumberMarker"`
	NextMarker   int `xml:"NextPartNumberMarker,omitempty"`
	MaxParts     int
	IsTruncated  bool
	Parts        []listedPart `xml:"Part"`
}

type listedPart struct {
	PartNumber   int
	LastModified string
	ETag         string
	Size         int64
}

func (c *call) listParts() error {
	limit, err := maxKeys(c.q.Get("max-parts"))
	if err != nil {
		return err
	}
	marker := 0
	if v := c.q.Get("part-number-marker"); v != "" {
		if marker, err = strconv.Atoi(v); err != nil || marker < 0 || marker > wire.MaxParts {
			return refusal("InvalidArgument", 400, "part-number-marker must be a part's number")
		}
	}
	out := partList{Namespace: wire.Namespace, Bucket: c.bucket, Key: c.key, UploadID: c.q.Get("uploadId"), Initiator: c.owner(), Owner: c.owner(),
		StorageClass: "STANDARD", Marker: marker, MaxParts: limit}
	err = c.s.opt.DB.View(func(tx *store.Tx) error {
		id, _, err := c.needUpload(tx)
		if err != nil {
			return err
		}
		return parts.Scan(tx, id+"\x00", partKey(id, marker), func(_ string, p part) (bool, error) {
			if out.IsTruncated = len(out.Parts) == limit; out.IsTruncated {
				return false, nil
			}
			out.Parts, out.NextMarker = append(out.Parts, listedPart{p.Number, isoTime(p.Modified), `"` + p.ETag + `"`, p.Size}), p.Number
			return true, nil
		})
	})
	if err != nil {
		return err
	}
	c.answer(http.StatusOK, out)
	return nil
}

type uploadList struct {
	XMLName     xml.Name `xml:"ListMultipartUploadsResult"`
	Namespace   string   `xml:"xmlns,attr"`
	Bucket      string
	MaxUploads  int
	IsTruncated bool
	Uploads     []listedUpload `xml:"Upload"`
}

type listedUpload struct {
	Key          string
	UploadID     string `xml:"UploadId"`
	Initiator    owner
	Owner        owner
	StorageClass string
	Initiated    string
}

// listUploads lists the first thousand uploads of a bucket by key.
func (c *call) listUploads() error {
	out := uploadList{Namespace: wire.Namespace, Bucket: c.bucket, MaxUploads: maxList}
	err := c.s.opt.DB.View(func(tx *store.Tx) error {
		if _, err := needBucket(tx, c.bucket); err != nil {
			return err
		}
		return uploads.Scan(tx, "", "", func(id string, u upload) (bool, error) {
			if u.Bucket == c.bucket && strings.HasPrefix(u.Key, c.q.Get("prefix")) {
				out.Uploads = append(out.Uploads, listedUpload{u.Key, id, c.owner(), c.owner(), "STANDARD", isoTime(u.Started)})
			}
			return true, nil
		})
	})
	if err != nil {
		return err
	}
	slices.SortFunc(out.Uploads, func(a, b listedUpload) int {
		return cmp.Or(strings.Compare(a.Key, b.Key), strings.Compare(a.Initiated, b.Initiated))
	})
	if out.IsTruncated = len(out.Uploads) > maxList; out.IsTruncated {
		out.Uploads = out.Uploads[:maxList]
	}
	c.answer(http.StatusOK, out)
	return nil
}
