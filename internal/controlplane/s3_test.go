package controlplane

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// bucket makes a bucket and returns an SDK client of the object store.
func (p *plane) bucket(name string) *s3.Client {
	p.t.Helper()
	c := s3.NewFromConfig(p.config(), func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := c.CreateBucket(p.t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		p.t.Fatal(err)
	}
	return c
}

func read(t *testing.T, r io.ReadCloser) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestObjects: what the SDK puts it gets, under any key, by ranges and in
// pages, with its checksums.
func TestObjects(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c, ctx, bucket := p.bucket("lab-bucket"), t.Context(), aws.String("lab-bucket")
	body := make([]byte, 200_000)
	_, _ = rand.Read(body)
	keys := []string{"a", "../../etc/passwd", "/", "//x//", "a/b/../c", "sp ace+%2F&?=#", "ä/é/😀", "con", "a\\b:c*", strings.Repeat("k", 1024), "\x01\x7f"}
	algorithms := []types.ChecksumAlgorithm{types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc32c, types.ChecksumAlgorithmCrc64nvme, types.ChecksumAlgorithmSha1, types.ChecksumAlgorithmSha256}
	for i, key := range keys {
		out, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: bytes.NewReader(body[:i*1000]), ChecksumAlgorithm: algorithms[i%len(algorithms)],
			ContentType: aws.String("text/x-lab"), Metadata: map[string]string{"owner": "ada"}})
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		got, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		if b := read(t, got.Body); !bytes.Equal(b, body[:i*1000]) || *got.ETag != *out.ETag || *got.ContentType != "text/x-lab" || got.Metadata["owner"] != "ada" {
			t.Errorf("%q: %d bytes, %+v", key, len(b), got)
		}
	}
	big := "ä/é/😀"
	for _, v := range []struct{ ask, want string }{{"bytes=100-199", string(body[100:200])}, {"bytes=-17", string(body[6000-17 : 6000])}, {"bytes=5990-", string(body[5990:6000])}, {"bytes=17-17", string(body[17:18])}} {
		got, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &big, Range: &v.ask})
		if err != nil || string(read(t, got.Body)) != v.want {
			t.Errorf("%s: %v", v.ask, err)
		}
	}
	if _, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &big, Range: aws.String("bytes=6000-")}); code(err) != "InvalidRange" {
		t.Error(err)
	}
	var listed []string
	for pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: bucket, MaxKeys: aws.Int32(3), EncodingType: types.EncodingTypeUrl}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			listed = append(listed, *o.Key)
		}
	}
	if len(listed) != len(keys) {
		t.Errorf("%q", listed)
	}
	var ids []types.ObjectIdentifier
	for _, k := range keys[:len(keys)-1] { // the last cannot be written in XML
		ids = append(ids, types.ObjectIdentifier{Key: &k})
	}
	if out, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: ids}}); err != nil || len(out.Deleted) != len(ids) {
		t.Errorf("%+v %v", out, err)
	}
	if _, err := c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: bucket}); code(err) != "BucketNotEmpty" {
		t.Error(err)
	}
	if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: &keys[len(keys)-1]}); err != nil {
		t.Error(err)
	}
	if _, err := c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: bucket}); err != nil {
		t.Error(err)
	}
}

// TestPresigned: an address is good for one method, one key and its time.
func TestPresigned(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c, bucket := p.bucket("lab-bucket"), aws.String("lab-bucket")
	pre := s3.NewPresignClient(c)
	put, err := pre.PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String("pre/signed key")})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), put.Method, put.URL, strings.NewReader("by address"))
	if err != nil {
		t.Fatal(err)
	}
	if a := p.send(r); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	get, err := pre.PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: aws.String("pre/signed key")})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		change [2]string
		want   int
	}{{[2]string{"", ""}, 200}, {[2]string{"key", "kez"}, 403}, {[2]string{"X-Amz-Signature=", "X-Amz-Signature=0"}, 403}} {
		r, err := http.NewRequestWithContext(t.Context(), get.Method, strings.Replace(get.URL, v.change[0], v.change[1], 1), nil)
		if err != nil {
			t.Fatal(err)
		}
		if a := p.send(r); a.status != v.want || v.want == 200 && a.body != "by address" {
			t.Errorf("%v: %d %s", v.change, a.status, a.body)
		}
	}
	p.clock.advance(2 * 15 * 60e9)
	r, _ = http.NewRequestWithContext(t.Context(), get.Method, get.URL, nil)
	if a := p.send(r); a.status != http.StatusForbidden || !strings.Contains(a.body, "expired") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestMultipart: parts in any order become one object, wrong ones do not.
func TestMultipart(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c, ctx, bucket, key := p.bucket("lab-bucket"), t.Context(), aws.String("lab-bucket"), aws.String("dir/big")
	up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
	if err != nil {
		t.Fatal(err)
	}
	whole := make([]byte, 11<<20)
	_, _ = rand.Read(whole)
	cuts := [][]byte{whole[:5<<20], whole[5<<20 : 10<<20], whole[10<<20:]}
	done := make([]types.CompletedPart, 3)
	for _, i := range []int{2, 0, 1, 0} { // one of them twice
		out, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: up.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(cuts[i]), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
		if err != nil {
			t.Fatal(err)
		}
		done[i] = types.CompletedPart{ETag: out.ETag, PartNumber: aws.Int32(int32(i + 1)), ChecksumCRC32: out.ChecksumCRC32}
	}
	list, err := c.ListParts(ctx, &s3.ListPartsInput{Bucket: bucket, Key: key, UploadId: up.UploadId, MaxParts: aws.Int32(2)})
	if err != nil || len(list.Parts) != 2 || !*list.IsTruncated {
		t.Errorf("%+v %v", list, err)
	}
	complete := func(parts ...types.CompletedPart) (*s3.CompleteMultipartUploadOutput, error) {
		return c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	}
	for want, parts := range map[string][]types.CompletedPart{
		"InvalidPartOrder": {done[1], done[0]}, "InvalidPart": {done[0], {ETag: done[0].ETag, PartNumber: aws.Int32(2)}}, "EntityTooSmall": {done[0], done[2], {ETag: done[1].ETag, PartNumber: aws.Int32(9)}},
	} {
		if _, err := complete(parts...); code(err) != want {
			t.Errorf("%s: %v", want, err)
		}
	}
	out, err := complete(done...)
	if err != nil || !strings.HasSuffix(*out.ETag, `-3"`) {
		t.Fatalf("%+v %v", out, err)
	}
	got, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil || !bytes.Equal(read(t, got.Body), whole) {
		t.Fatal("another object came back", err)
	}
	if got, err = c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String("bytes=5242870-10485770")}); err != nil || !bytes.Equal(read(t, got.Body), whole[5242870:10485771]) {
		t.Fatal("another range came back", err)
	}
	if _, err := complete(done...); code(err) != "NoSuchUpload" {
		t.Error(err)
	}
	if _, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("lab-bucket/dir/big")}); err != nil {
		t.Fatal(err)
	}
	if got, err = c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("copy")}); err != nil || !bytes.Equal(read(t, got.Body), whole) {
		t.Fatal("another copy came back", err)
	}
}

// TestListing: prefix and delimiter make folders, pages and both versions of
// the call agree.
func TestListing(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c, ctx, bucket := p.bucket("lab-bucket"), t.Context(), aws.String("lab-bucket")
	for _, k := range []string{"a", "a/1", "a/2", "a/b/3", "a0", "b/4", "c"} {
		if _, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &k, Body: strings.NewReader(k)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range []struct{ prefix, delimiter, after, want string }{
		{"", "", "", "a a/1 a/2 a/b/3 a0 b/4 c"}, {"", "/", "", "a a/* a0 b/* c"}, {"a/", "/", "", "a/1 a/2 a/b/*"}, {"a", "", "", "a a/1 a/2 a/b/3 a0"},
		{"", "", "a/2", "a/b/3 a0 b/4 c"}, {"b", "", "a", "b/4"}, {"a", "", "b", ""}, {"x", "/", "", ""},
	} {
		for size := int32(1); size < 4; size++ {
			var got []string
			for pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: &v.prefix, Delimiter: &v.delimiter, StartAfter: &v.after, MaxKeys: &size}); pages.HasMorePages(); {
				page, err := pages.NextPage(ctx)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range page.Contents {
					got = append(got, *o.Key)
				}
				for _, o := range page.CommonPrefixes {
					got = append(got, *o.Prefix+"*")
				}
			}
			slices.Sort(got)
			if strings.Join(got, " ") != v.want {
				t.Errorf("%+v by %d: %q", v, size, got)
			}
		}
	}
	var got []string
	for in := (&s3.ListObjectsInput{Bucket: bucket, Delimiter: aws.String("/"), MaxKeys: aws.Int32(1)}); ; {
		page, err := c.ListObjects(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			got = append(got, *o.Key)
		}
		for _, o := range page.CommonPrefixes {
			got = append(got, *o.Prefix+"*")
		}
		if !*page.IsTruncated {
			break
		}
		in.Marker = page.NextMarker
	}
	if fmt.Sprint(got) != "[a a/* a0 b/* c]" {
		t.Errorf("%q", got)
	}
}

// TestStorageRights: nodes may read and write objects, not list buckets,
// delete or make any; strangers may nothing; regions count.
func TestStorageRights(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.register(&ssm.CreateActivationInput{})
	c, ctx, bucket := p.bucket("lab-bucket"), t.Context(), aws.String("lab-bucket")
	as := func(creds aws.Credentials, region string) *s3.Client {
		return s3.New(s3.Options{BaseEndpoint: &p.url, UsePathStyle: true, Region: region, RetryMaxAttempts: 1,
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return creds, nil })})
	}
	nc := as(n.Credentials, "eu-west-1")
	if _, err := nc.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("k"), Body: strings.NewReader("x")}); err != nil {
		t.Error(err)
	}
	if _, err := nc.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("k")}); err != nil {
		t.Error(err)
	}
	if out, err := nc.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: bucket}); err != nil || len(out.ServerSideEncryptionConfiguration.Rules) != 1 {
		t.Error(err)
	}
	_, err1 := nc.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("k")})
	_, err2 := nc.ListBuckets(ctx, &s3.ListBucketsInput{})
	_, err3 := nc.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("other")})
	_, err4 := as(aws.Credentials{AccessKeyID: "AKIAX", SecretAccessKey: "x"}, "eu-west-1").ListBuckets(ctx, &s3.ListBucketsInput{})
	wrong := p.operator()
	wrong.SecretAccessKey += "x"
	_, err5 := as(wrong, "eu-west-1").ListBuckets(ctx, &s3.ListBucketsInput{})
	_, err6 := as(p.operator(), "us-west-2").GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("k")})
	_, err7 := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("none")})
	_, err8 := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("no-such-bucket")})
	_, err9 := c.PutBucketAcl(ctx, &s3.PutBucketAclInput{Bucket: bucket, ACL: types.BucketCannedACLPublicRead})
	_, err10 := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	for i, v := range []struct {
		err  error
		want string
	}{
		{err1, "AccessDenied"}, {err2, "AccessDenied"}, {err3, "AccessDenied"}, {err4, "InvalidAccessKeyId"}, {err5, "SignatureDoesNotMatch"}, {err6, "AuthorizationHeaderMalformed"},
		{err7, "NoSuchKey"}, {err8, "NoSuchBucket"}, {err9, "NotImplemented"}, {err10, "BucketAlreadyOwnedByYou"},
	} {
		if code(v.err) != v.want {
			t.Errorf("%d: %v, want %s", i+1, v.err, v.want)
		}
	}
	if out, err := c.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: bucket}); err != nil || out.LocationConstraint != "eu-west-1" {
		t.Errorf("%+v %v", out, err)
	}
}

// TestVirtualHosts: bucket.localhost is a bucket.
func TestVirtualHosts(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.bucket("lab-bucket")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, p.url+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "lab-bucket.localhost"
	if a := p.send(r); a.status != http.StatusForbidden || a.header.Get("X-Amz-Bucket-Region") != "eu-west-1" {
		t.Errorf("%d %v", a.status, a.header)
	}
}
