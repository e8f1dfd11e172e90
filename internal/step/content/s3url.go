package content

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

const defaultRegion = "us-east-1"

// object is where an S3 address leads: to a bucket and a key at an endpoint.
type object struct {
	endpoint    *url.URL // scheme and host that requests go to
	virtual     bool     // the bucket is part of the host
	domain      string   // amazonaws.com, …; empty for an endpoint of ours
	bucket, key string
	region      string
}

// domains are those that Amazon's S3 has, the longer first.
func domains() []string {
	return []string{"amazonaws.com.cn", "amazonaws.com", "c2s.ic.gov", "sc2s.sgov.gov", "cloud.adc-e.uk", "csp.hci.ic.gov"}
}

// parseS3 reads an address of S3: virtual-hosted or path style, also of VPC
// endpoints, and path style at our, the endpoint that stands in for S3's hosts
// (nil: none). All requests then go there.
func parseS3(address string, ours *url.URL, region string) (object, error) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return object{}, notS3(address)
	}
	// A plus sign stands for a blank, which the path does not know by itself.
	path, err := url.PathUnescape(strings.ReplaceAll(u.EscapedPath(), "+", "%20"))
	if err != nil {
		return object{}, notS3(address)
	}
	o := object{endpoint: &url.URL{Scheme: "https", Host: u.Host}}
	path = strings.TrimPrefix(path, "/")
	if ours != nil && u.Host == ours.Host {
		o.region = region
	} else if err := o.host(strings.ToLower(u.Hostname())); err != nil {
		return object{}, fmt.Errorf("%w: %w", notS3(address), err)
	}
	if o.bucket == "" {
		o.bucket, path, _ = strings.Cut(path, "/")
	}
	o.key = path
	if o.bucket == "" || !plainName(o.bucket) || strings.ContainsRune(o.key, 0) {
		return object{}, notS3(address)
	}
	if ours != nil {
		o.endpoint, o.virtual, o.domain = ours, false, ""
	}
	return o, nil
}

func notS3(address string) error {
	return fmt.Errorf("path %.200q is not an address of S3 like https://s3.us-east-1.amazonaws.com/bucket/key", redacted(address))
}

// host reads bucket, region and form out of a host name.
func (o *object) host(name string) error {
	var left string
	for _, d := range domains() {
		if rest, ok := strings.CutSuffix(name, "."+d); ok {
			o.domain, left = d, rest
			break
		}
	}
	if o.domain == "" {
		return errors.New("the host is none of S3")
	}
	left, private := strings.CutSuffix(left, ".vpce")
	labels := strings.Split(left, ".")
	at := len(labels) - 1
	for at >= 0 && labels[at] != "s3" && !strings.HasPrefix(labels[at], "s3-") {
		at--
	}
	if at < 0 {
		return errors.New("the host is none of S3")
	}
	options := append([]string{strings.TrimPrefix(strings.TrimPrefix(labels[at], "s3"), "-")}, labels[at+1:]...)
	website := o.options(options)
	if o.region == "" || o.region == "external-1" {
		o.region = defaultRegion
	}
	o.bucket = strings.Join(labels[:at], ".")
	if private {
		return o.private(labels[:at])
	}
	o.virtual = o.bucket != ""
	if website { // it answers people; programs ask beside it
		o.rebase(o.region)
	}
	return nil
}

// options takes the parts around the region: "website-us-east-1",
// "accelerate", "dualstack", "us-west-2".
func (o *object) options(parts []string) (website bool) {
	for _, p := range parts {
		if rest, ok := strings.CutPrefix(p, "website"); ok {
			website, p = true, strings.TrimPrefix(rest, "-")
		}
		for _, word := range []string{"accelerate", "dualstack"} {
			p = strings.TrimPrefix(strings.TrimPrefix(p, word), "-")
		}
		if p != "" {
			o.region = p
		}
	}
	return website
}

// private is the form of VPC endpoints: bucket.vpce-… holds the buckets in its
// paths, name.bucket.vpce-… is that of one.
func (o *object) private(labels []string) error {
	n := len(labels)
	if n < 2 || labels[n-2] != "bucket" || !strings.HasPrefix(labels[n-1], "vpce-") {
		return errors.New("the VPC endpoint's name is not of the form bucket.vpce-….s3.REGION.vpce")
	}
	o.bucket = strings.Join(labels[:n-2], ".")
	o.virtual = o.bucket != ""
	return nil
}

// rebase points the object to its region's own host.
func (o *object) rebase(region string) {
	o.region = region
	host := "s3." + region + "." + o.domain
	// A certificate for any bucket covers one label, so not a name with dots.
	if o.virtual = !strings.Contains(o.bucket, "."); o.virtual {
		host = o.bucket + "." + host
	}
	o.endpoint = &url.URL{Scheme: "https", Host: host}
}

// url addresses key in the bucket, or without one the bucket.
func (o object) url(key string, query url.Values) *url.URL {
	path := "/"
	if !o.virtual {
		path += o.bucket
		if key != "" {
			path += "/"
		}
	}
	path = strings.TrimRight(o.endpoint.Path, "/") + path + key
	return &url.URL{Scheme: o.endpoint.Scheme, Host: o.endpoint.Host, Path: path, RawPath: escapePath(path), RawQuery: strings.ReplaceAll(query.Encode(), "+", "%20")}
}

// escapePath escapes as signatures do: everything but letters, digits, -._~
// and the slashes.
func escapePath(path string) string {
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
