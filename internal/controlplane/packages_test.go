package controlplane

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"ssmagent/internal/wire/manifest"
)

// packageOf is the content of a package with one file for all systems.
func packageOf(version, arn, file, sum string) *string {
	m := manifest.Manifest{SchemaVersion: "2.0", Version: version, PackageARN: arn,
		Packages: map[string]map[string]map[string]manifest.Target{"_any": {"_any": {"_any": {File: file}}}},
		Files:    map[string]manifest.File{file: {Checksums: map[string]string{"sha256": sum}}}}
	b, _ := json.Marshal(m) //nolint:errchkjson // plain data
	return aws.String(string(b))
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func source(key types.AttachmentsSourceKey, value, name string) []types.AttachmentsSource {
	s := types.AttachmentsSource{Key: key, Values: []string{value}}
	if name != "" {
		s.Name = &name
	}
	return []types.AttachmentsSource{s}
}

// TestPackages: documents of type Package keep copies of what is attached, and
// nodes get them by addresses that are good for a while.
func TestPackages(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	objects, c, ctx := p.bucket("lab"), p.sdk(), t.Context()
	put := func(key, text string) {
		if _, err := objects.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("lab"), Key: &key, Body: strings.NewReader(text)}); err != nil {
			t.Fatal(err)
		}
	}
	fetch := func(address string) (int, string) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(read(t, resp.Body))
	}
	content := func(name, version string) types.AttachmentContent {
		t.Helper()
		out, err := p.sdk().GetDocument(ctx, &ssm.GetDocumentInput{Name: &name, VersionName: &version})
		if err != nil || out.DocumentType != types.DocumentTypePackage || len(out.AttachmentsContent) != 1 {
			t.Fatalf("%+v %v", out, err)
		}
		return out.AttachmentsContent[0]
	}
	put("tool/1/tool.zip", "first")
	made, err := c.CreateDocument(ctx, &ssm.CreateDocumentInput{Name: aws.String("Tool"), DocumentType: types.DocumentTypePackage, VersionName: aws.String("1"),
		Content: packageOf("1", "", "tool.zip", sumOf("first")), Attachments: source(types.AttachmentsSourceKeySourceUrl, "s3://lab/tool/1", "")})
	if err != nil {
		t.Fatal(err)
	}
	if d := made.DocumentDescription; len(d.AttachmentsInformation) != 1 || *d.AttachmentsInformation[0].Name != "tool.zip" || len(d.PlatformTypes) != 3 {
		t.Errorf("%+v", d)
	}
	put("tool/1/tool.zip", "changed later")
	first := content("Tool", "1")
	if status, text := fetch(*first.Url); status != 200 || text != "first" || *first.Hash != sumOf("first") || first.Size != 5 || !strings.HasPrefix(*first.Url, p.url+"/ssm-local-attachments/") {
		t.Errorf("%d %q %+v", status, text, first)
	}
	put("x/y", "second")
	update := func(version, sum string, a []types.AttachmentsSource) error {
		_, err := c.UpdateDocument(ctx, &ssm.UpdateDocumentInput{Name: aws.String("Tool"), VersionName: &version, Content: packageOf(version, "", "tool.zip", sum), DocumentVersion: aws.String("$LATEST"), Attachments: a})
		return err
	}
	if err := update("2", sumOf("second"), source(types.AttachmentsSourceKeyS3FileUrl, p.url+"/lab/x/y", "tool.zip")); err != nil {
		t.Fatal(err)
	}
	if err := update("3", "", source(types.AttachmentsSourceKeyAttachmentReference, "Tool/1/tool.zip", "")); err != nil {
		t.Fatal(err)
	}
	if status, text := fetch(*content("Tool", "2").Url); status != 200 || text != "second" {
		t.Errorf("%d %q", status, text)
	}
	if status, text := fetch(*content("Tool", "3").Url); status != 200 || text != "first" {
		t.Errorf("%d %q", status, text)
	}
	for want, a := range map[string][]types.AttachmentsSource{
		"which is not attached":     nil,
		"the manifest says":         source(types.AttachmentsSourceKeyS3FileUrl, "s3://lab/tool/1/tool.zip", ""),
		"specified key does not":    source(types.AttachmentsSourceKeySourceUrl, "s3://lab/nothing", ""),
		"specified bucket does not": source(types.AttachmentsSourceKeySourceUrl, "https://other.s3.eu-west-1.amazonaws.com/a", ""),
		"names no bucket":           source(types.AttachmentsSourceKeySourceUrl, "https://s3.amazonaws.com/", ""),
		"is no place in S3":         source(types.AttachmentsSourceKeySourceUrl, "ftp://x/y", ""),
		"nothing of that name":      source(types.AttachmentsSourceKeyAttachmentReference, "Tool/1/other.zip", ""),
		"not of the form":           source(types.AttachmentsSourceKeyAttachmentReference, "Tool/1", ""),
		"there is no document":      source(types.AttachmentsSourceKeyAttachmentReference, "None/1/tool.zip", ""),
		"have the name tool.zip":    append(source(types.AttachmentsSourceKeyS3FileUrl, "s3://lab/x/y", "tool.zip"), source(types.AttachmentsSourceKeyS3FileUrl, "s3://lab/x/y", "tool.zip")...),
		"attachment name":           source(types.AttachmentsSourceKeyS3FileUrl, "s3://lab/x/y", ""),
	} {
		if err := update("4", sumOf("second"), a); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := c.CreateDocument(ctx, &ssm.CreateDocumentInput{Name: aws.String("NoPackage"), Content: script("x"), Attachments: source(types.AttachmentsSourceKeySourceUrl, "s3://lab/x", "")}); code(err) != "ValidationException" {
		t.Error(err)
	}
	if _, err := c.CreateDocument(ctx, &ssm.CreateDocumentInput{Name: aws.String("Tool"), DocumentType: types.DocumentTypePackage, Content: packageOf("1", "", "tool.zip", ""),
		Attachments: source(types.AttachmentsSourceKeyS3FileUrl, "s3://lab/x/y", "tool.zip")}); code(err) != "DocumentAlreadyExists" {
		t.Error(err)
	}
	if n := p.blobs(); n != 2+3 {
		t.Errorf("%d files of objects, of 2 objects and 3 attachments", n)
	}
	if _, err := objects.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("ssm-local-attachments"), Key: aws.String("k"), Body: bytes.NewReader(nil)}); code(err) != "AccessDenied" {
		t.Errorf("a write to the attachments: %v", err)
	}
	p.restart()
	if status, text := fetch(*content("Tool", "2").Url); status != 200 || text != "second" {
		t.Errorf("after a restart: %d %q", status, text)
	}
	c = p.sdk()
	gone := *content("Tool", "3").Url
	if _, err := c.DeleteDocument(ctx, &ssm.DeleteDocumentInput{Name: aws.String("Tool"), VersionName: aws.String("3")}); err != nil {
		t.Fatal(err)
	}
	if status, _ := fetch(gone); status != 404 || p.blobs() != 4 {
		t.Errorf("%d, %d files", status, p.blobs())
	}
	if _, err := c.DeleteDocument(ctx, &ssm.DeleteDocumentInput{Name: aws.String("Tool")}); err != nil || p.blobs() != 2 {
		t.Errorf("%v, %d files", err, p.blobs())
	}
}

// blobs counts the files of the object store.
func (p *plane) blobs() int {
	p.t.Helper()
	dir, n := filepath.Join(p.opt.Dir, objectsDir), 0
	shards, err := p.opt.FS.ReadDir(dir)
	for _, s := range shards {
		files, ferr := p.opt.FS.ReadDir(filepath.Join(dir, s.Name()))
		n, err = n+len(files), errors.Join(err, ferr)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// TestManifests: a package with an ARN is one of the package service.
func TestManifests(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	objects, c, ctx := p.bucket("lab"), p.sdk(), t.Context()
	if _, err := objects.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("lab"), Key: aws.String("tool.zip"), Body: strings.NewReader("zip")}); err != nil {
		t.Fatal(err)
	}
	const arn = "arn:aws:ssm:eu-west-1:111122223333:package/LabTool"
	for name, of := range map[string]string{"LabTool": arn, "Plain": ""} {
		if _, err := c.CreateDocument(ctx, &ssm.CreateDocumentInput{Name: &name, DocumentType: types.DocumentTypePackage, VersionName: aws.String("one"),
			Content: packageOf("1.2.0", of, "tool.zip", ""), Attachments: source(types.AttachmentsSourceKeySourceUrl, "s3://lab", "")}); err != nil {
			t.Fatal(err)
		}
	}
	n := p.register(&ssm.CreateActivationInput{IamRole: aws.String("lab")})
	n.Credentials = p.token(n)
	for _, tc := range []struct{ name, version, want string }{
		{"LabTool", "latest", ""}, {arn, "latest", ""}, {"LabTool", "1.2.0", ""}, {"LabTool", "one", ""},
		{"LabTool", "2", "ResourceNotFoundException"}, {"Plain", "latest", "ResourceNotFoundException"}, {arn + "2", "latest", "ResourceNotFoundException"},
		{"arn:aws:ssm:::package/LabTool", "latest", "ResourceNotFoundException"}, {"AWS-RunShellScript", "latest", "ResourceNotFoundException"},
	} {
		a := p.call(n.Credentials, "AmazonSSM.GetManifest", `{"PackageName":"`+tc.name+`","PackageVersion":"`+tc.version+`"}`)
		if tc.want != "" {
			if a.Type != tc.want {
				t.Errorf("%+v: %d %s", tc, a.status, a.body)
			}
			continue
		}
		var out struct{ Manifest string }
		if err := json.Unmarshal([]byte(a.body), &out); err != nil {
			t.Fatal(err, a.body)
		}
		m, err := manifest.Decode([]byte(out.Manifest))
		if err != nil || m.PackageARN != arn || m.Files["tool.zip"].Size != 3 {
			t.Fatalf("%s %v", out.Manifest, err)
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Files["tool.zip"].DownloadLocation, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil || string(read(t, resp.Body)) != "zip" {
			t.Errorf("%+v %v", resp, err)
		}
	}
}
