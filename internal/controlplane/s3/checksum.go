package s3

import (
	"crypto/md5"  //nolint:gosec // what S3 calls an ETag
	"crypto/sha1" //nolint:gosec // one of S3's checksums
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"slices"
	"strings"

	"ssmagent/internal/controlplane/api"
)

// headerChecksum begins the headers of checksums.
const headerChecksum = "x-amz-checksum-"

// Types of the checksum of an object made of parts: of the parts' checksums,
// or of the whole.
const (
	composite  = "COMPOSITE"
	fullObject = "FULL_OBJECT"
)

// crc64NVME is the polynomial of CRC-64/NVME, reflected.
const crc64NVME = 0x9a6c9329ac4bc9b5

// algorithms are those of checksums, as in header names.
func algorithms() []string { return []string{"crc32", "crc32c", "crc64nvme", "sha1", "sha256"} }

func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "crc32":
		return crc32.NewIEEE()
	case "crc32c":
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case "crc64nvme":
		return crc64.New(crc64.MakeTable(crc64NVME))
	case "md5":
		return md5.New() //nolint:gosec // see the import
	case "sha1":
		return sha1.New() //nolint:gosec // see the import
	}
	return sha256.New()
}

// uploadChecksum is the algorithm and type that an upload in parts asks for.
func uploadChecksum(algorithm, kind string) (string, string, *api.Error) {
	algorithm = strings.ToLower(algorithm)
	switch {
	case algorithm == "" && kind == "":
		return "", "", nil
	case !slices.Contains(algorithms(), algorithm):
		return "", "", refusal("InvalidRequest", 400, "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
	case kind == "" && algorithm == "crc64nvme":
		kind = fullObject
	case kind == "":
		kind = composite
	}
	whole := strings.HasPrefix(algorithm, "crc")
	parts := algorithm != "crc64nvme"
	if kind == fullObject && !whole || kind == composite && !parts || kind != fullObject && kind != composite {
		return "", "", refusal("InvalidRequest", 400, "The %s checksum type cannot be used with the %s checksum algorithm.", api.Clip(kind, 64), algorithm)
	}
	return algorithm, kind, nil
}

func hexOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

func tobase64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// unhex and unbase64 read back what this package wrote.
func unhex(s string) []byte {
	b, _ := hex.DecodeString(s)
	return b
}

func unbase64(s string) []byte {
	b, _ := base64.StdEncoding.DecodeString(s)
	return b
}
