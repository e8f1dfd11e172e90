// Package s3 is what the S3 calls of this project carry in XML: plain data for
// both ends.
package s3

import "encoding/xml"

// Namespace is that of all answers.
const Namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// Encryption algorithms of a bucket.
const (
	AES256 = "AES256"
	KMS    = "aws:kms"
)

// Limits of objects and parts.
const (
	MaxKey      = 1024
	MaxParts    = 10_000
	MinPartSize = 5 << 20 // of all parts but the last
	MaxPutSize  = 5 << 30
)

// Error is a refusal.
type Error struct {
	XMLName   xml.Name `xml:"Error"`
	Code      string
	Message   string
	Resource  string `xml:",omitempty"`
	Region    string `xml:",omitempty"`
	RequestID string `xml:"RequestId"`
}

// Encryption is a bucket's default encryption.
type Encryption struct {
	XMLName   xml.Name         `xml:"ServerSideEncryptionConfiguration"`
	Namespace string           `xml:"xmlns,attr,omitempty"`
	Rules     []EncryptionRule `xml:"Rule"`
}

// EncryptionRule is one rule of it.
type EncryptionRule struct {
	Algorithm string `xml:"ApplyServerSideEncryptionByDefault>SSEAlgorithm"`
	KMSKeyID  string `xml:"ApplyServerSideEncryptionByDefault>KMSMasterKeyID,omitempty"`
}

// Initiated answers CreateMultipartUpload.
type Initiated struct {
	XMLName   xml.Name `xml:"InitiateMultipartUploadResult"`
	Namespace string   `xml:"xmlns,attr,omitempty"`
	Bucket    string
	Key       string
	UploadID  string `xml:"UploadId"`
}

// Complete asks for CompleteMultipartUpload.
type Complete struct {
	XMLName xml.Name       `xml:"CompleteMultipartUpload"`
	Parts   []CompletePart `xml:"Part"`
}

// CompletePart names a part of it.
type CompletePart struct {
	PartNumber        int
	ETag              string
	ChecksumCRC32     string `xml:",omitempty"`
	ChecksumCRC32C    string `xml:",omitempty"`
	ChecksumCRC64NVME string `xml:",omitempty"`
	ChecksumSHA1      string `xml:",omitempty"`
	ChecksumSHA256    string `xml:",omitempty"`
}

// Completed answers CompleteMultipartUpload.
type Completed struct {
	XMLName   xml.Name `xml:"CompleteMultipartUploadResult"`
	Namespace string   `xml:"xmlns,attr,omitempty"`
	Location  string
	Bucket    string
	Key       string
	ETag      string
}

// Listing is what a client reads of the answer to ListObjectsV2.
type Listing struct {
	XMLName     xml.Name `xml:"ListBucketResult"`
	IsTruncated bool
	NextToken   string `xml:"NextContinuationToken"`
	Contents    []Listed
}

// Listed is an object in it.
type Listed struct {
	Key  string
	Size int64
}
