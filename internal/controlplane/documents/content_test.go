package documents

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"ssmagent/internal/controlplane/api"
)

// FuzzContent: whatever is accepted as a document can be given to agents, and
// whatever is not is refused with an AWS error.
func FuzzContent(f *testing.F) {
	f.Add("Command", "JSON", `{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"a","inputs":{"runCommand":["true"],"n":1e3}}]}`)
	f.Add("Command", "YAML", "schemaVersion: '2.2'\nmainSteps:\n- {action: 'aws:runShellScript', name: a, inputs: {n: .5, 1: x}}\n")
	f.Add("Session", "JSON", `{"schemaVersion":"1.0","sessionType":"Port"}`)
	f.Add("Session", "YAML", "schemaVersion: '1.0'\nsessionType: Port\n")
	f.Add("Package", "JSON", `{"schemaVersion":"2.0","version":"1","packages":{"_any":{"_any":{"_any":{"file":"a.zip"}}}},"files":{"a.zip":{}}}`)
	f.Add("Session", "YAML", "a: &a [*a]")
	f.Fuzz(func(t *testing.T, kind, format, content string) {
		if kind != "Session" && kind != "Package" {
			kind = "Command"
		}
		if format != "YAML" && format != "TEXT" {
			format = "JSON"
		}
		v, err := newVersion(kind, format, content)
		var e *api.Error
		if err != nil {
			if !errors.As(err, &e) {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		if len(v.Hash) != 64 || v.SchemaVersion == "" && kind != "Package" {
			t.Fatalf("%+v", v)
		}
		for _, to := range []string{"JSON", "YAML", "TEXT"} {
			text, err := convert(kind, format, to, content)
			if err != nil || to == "JSON" && !json.Valid([]byte(text)) {
				t.Fatalf("as %s: %q %v", to, text, err)
			}
		}
	})
}

// FuzzPlaces: whatever is taken for a place in S3 has a bucket.
func FuzzPlaces(f *testing.F) {
	for _, s := range []string{"s3://b/k/x", "https://b.s3.eu-west-1.amazonaws.com/k", "https://s3.amazonaws.com/b/k", "http://127.0.0.1:1/b/k", "s3:///k", "%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, where string) {
		if bucket, key, err := parseObject(where); err == nil && (bucket == "" || strings.ContainsRune(bucket+key, 0)) {
			t.Fatalf("%q: bucket %q, key %q", where, bucket, key)
		}
	})
}

func TestOwnedAreWhole(t *testing.T) {
	t.Parallel()
	all, err := ownedDocuments()
	if err != nil || len(all) < 2 {
		t.Fatal(len(all), err)
	}
	for name, o := range all {
		if !reserved(name) || o.Owner != Amazon || len(o.version.PlatformTypes) == 0 {
			t.Errorf("%s: %+v", name, o)
		}
	}
}
