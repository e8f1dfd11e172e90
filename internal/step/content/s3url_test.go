package content

import (
	"net/url"
	"testing"
)

func TestParseS3(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ address, bucket, key, region, url string }{
		{"https://s3.amazonaws.com/b/k", "b", "k", "us-east-1", "https://s3.amazonaws.com/b/k"},
		{"https://s3.eu-west-1.amazonaws.com/b/dir/k", "b", "dir/k", "eu-west-1", "https://s3.eu-west-1.amazonaws.com/b/dir/k"},
		{"https://s3-us-west-2.amazonaws.com/b/k", "b", "k", "us-west-2", "https://s3-us-west-2.amazonaws.com/b/k"},
		{"https://s3-external-1.amazonaws.com/b/k", "b", "k", "us-east-1", "https://s3-external-1.amazonaws.com/b/k"},
		{"https://b.s3.amazonaws.com/k", "b", "k", "us-east-1", "https://b.s3.amazonaws.com/k"},
		{"http://b.c.s3.eu-west-1.amazonaws.com/k", "b.c", "k", "eu-west-1", "https://b.c.s3.eu-west-1.amazonaws.com/k"},
		{"https://s3.s3.eu-west-1.amazonaws.com/k", "s3", "k", "eu-west-1", "https://s3.s3.eu-west-1.amazonaws.com/k"},
		{"https://b.s3.dualstack.eu-west-1.amazonaws.com/k", "b", "k", "eu-west-1", "https://b.s3.dualstack.eu-west-1.amazonaws.com/k"},
		{"https://b.s3-accelerate.amazonaws.com/k", "b", "k", "us-east-1", "https://b.s3-accelerate.amazonaws.com/k"},
		{"https://b.s3-accelerate.dualstack.amazonaws.com/k", "b", "k", "us-east-1", "https://b.s3-accelerate.dualstack.amazonaws.com/k"},
		{"http://b.s3-website-eu-west-1.amazonaws.com/k", "b", "k", "eu-west-1", "https://b.s3.eu-west-1.amazonaws.com/k"},
		{"http://b.s3-website.eu-central-1.amazonaws.com/k", "b", "k", "eu-central-1", "https://b.s3.eu-central-1.amazonaws.com/k"},
		{"https://s3.cn-north-1.amazonaws.com.cn/b/k", "b", "k", "cn-north-1", "https://s3.cn-north-1.amazonaws.com.cn/b/k"},
		{"https://s3.us-iso-east-1.c2s.ic.gov/b/k", "b", "k", "us-iso-east-1", "https://s3.us-iso-east-1.c2s.ic.gov/b/k"},
		{"https://bucket.vpce-1a2b-3c4d.s3.us-east-1.vpce.amazonaws.com/b/k", "b", "k", "us-east-1", "https://bucket.vpce-1a2b-3c4d.s3.us-east-1.vpce.amazonaws.com/b/k"},
		{"https://b.bucket.vpce-1a2b-3c4d.s3.us-east-1.vpce.amazonaws.com/k", "b", "k", "us-east-1", "https://b.bucket.vpce-1a2b-3c4d.s3.us-east-1.vpce.amazonaws.com/k"},
		{" https://s3.amazonaws.com/b/one+two%2Bthree%20four ", "b", "one two+three four", "us-east-1", "https://s3.amazonaws.com/b/one%20two%2Bthree%20four"},
		{"https://s3.amazonaws.com/b/", "b", "", "us-east-1", "https://s3.amazonaws.com/b"},
		{"https://s3.amazonaws.com/b/d%2Fe//f/", "b", "d/e//f/", "us-east-1", "https://s3.amazonaws.com/b/d/e//f/"},
		{"http://127.0.0.1:9/b/k", "b", "k", "eu-north-1", "http://127.0.0.1:9/b/k"},
	} {
		ours := &url.URL{Scheme: "http", Host: "127.0.0.1:9"}
		stand := ours
		if tc.region != "eu-north-1" {
			stand = nil
		}
		o, err := parseS3(tc.address, stand, "eu-north-1")
		if err != nil || o.bucket != tc.bucket || o.key != tc.key || o.region != tc.region || o.url(o.key, nil).String() != tc.url {
			t.Errorf("%s: %+v %v, %v", tc.address, o, o.url(o.key, nil), err)
		}
		// Where an endpoint stands in for S3 everything goes there.
		o, err = parseS3(tc.address, ours, "eu-north-1")
		if err != nil || o.bucket != tc.bucket || o.key != tc.key || o.url("", nil).String() != "http://127.0.0.1:9/"+tc.bucket {
			t.Errorf("%s: %+v, %v", tc.address, o.url("", nil), err)
		}
	}
	for _, address := range []string{
		"", "s3://b/k", "https://example.com/b/k", "https://s3.example.com/b/k", "https://amazonaws.com/b/k", "https://s3.amazonaws.com", "https://s3.amazonaws.com/",
		"https://ec2.us-east-1.amazonaws.com/b/k", "https://evilamazonaws.com/b/k", "https://s3.us-east-1.amazonaws.com.evil.example/b/k", "https://u:p@s3.amazonaws.com/b/k",
		"https://x.vpce-1.s3.us-east-1.vpce.amazonaws.com/b/k", "https://s3.amazonaws.com/b%00/k", "https://s3.amazonaws.com/../k", "https://s3.amazonaws.com/b/%zz", "file:///etc/passwd",
	} {
		if o, err := parseS3(address, nil, "us-east-1"); err == nil {
			t.Errorf("%s is %+v", address, o)
		}
	}
}

func FuzzParseS3(f *testing.F) {
	f.Add("https://b.s3.dualstack.eu-west-1.amazonaws.com/k?x")
	f.Add("https://bucket.vpce-1.s3.us-east-1.vpce.amazonaws.com/b/k+%2B")
	f.Fuzz(func(t *testing.T, address string) {
		o, err := parseS3(address, nil, "us-east-1")
		if err != nil {
			return
		}
		u := o.url(o.key, url.Values{"prefix": {o.key}})
		back, err := url.Parse(u.String())
		if err != nil || back.Host != o.endpoint.Host || o.bucket == "" || back.Path != u.Path {
			t.Errorf("%q became %s, %v", address, u, err)
		}
	})
}
