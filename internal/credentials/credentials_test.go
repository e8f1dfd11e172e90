package credentials

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
)

// TestOrder has the four sources in all 16 combinations: the first of them
// wins, and every source says why it did or did not.
func TestOrder(t *testing.T) {
	t.Parallel()
	order := []Source{Environment, SharedFile, Container, InstanceProfile}
	for n := range 1 << len(order) {
		t.Run(fmt.Sprintf("%04b", n), func(t *testing.T) {
			t.Parallel()
			f := &fake{env: map[string]string{}, files: map[string]string{}}
			site := map[string]http.HandlerFunc{}
			f.net = sites(site)
			var want Source
			for i, s := range order {
				if n&(1<<i) == 0 {
					continue
				}
				if want == "" {
					want = s
				}
				switch s {
				case Environment:
					maps.Copy(f.env, map[string]string{"AWS_ACCESS_KEY_ID": string(s), "AWS_SECRET_ACCESS_KEY": "s"})
				case SharedFile:
					f.files["/home/u/.aws/credentials"] = "[default]\n" + keys("shared-file")
				case Container:
					f.env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/v2/creds"
					site["169.254.170.2"] = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answered(string(s))) }
				default:
					site["169.254.169.254"] = instance("instance-profile")
				}
			}
			c := f.chain(t, Options{})
			says := ""
			if want == "" {
				says = "no AWS credentials anywhere (environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set; " +
					"web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set; shared file: no profile default " +
					"(/home/u/.aws/credentials is not there, /home/u/.aws/config is not there); container: "
			}
			got := expect(t, c, strings.ReplaceAll(string(want), " ", "-"), says)
			if len(got.Reports) != 5 {
				t.Fatalf("%+v", got.Reports)
			}
			for i, r := range got.Reports {
				if r.Source != Sources()[i] || r.Won != (r.Source == want) || r.Why == "" {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	file := map[string]string{"/home/u/.aws/credentials": "[default]\n" + keys("FILE") + "[other]\n" + keys("OTHER")}
	both := map[string]string{"AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
	with := func(k, v string) map[string]string {
		m := maps.Clone(both)
		m[k] = v
		return m
	}
	for name, tc := range map[string]struct {
		env       map[string]string
		o         Options
		id, says  string
		newFaults string
	}{
		"both":               {both, Options{}, "ENV", "", ""},
		"old names":          {map[string]string{"AWS_ACCESS_KEY": "OLD", "AWS_SECRET_KEY": "s"}, Options{}, "OLD", "", ""},
		"half":               {map[string]string{"AWS_ACCESS_KEY_ID": "ENV"}, Options{}, "FILE", "", ""},
		"other half":         {map[string]string{"AWS_SECRET_ACCESS_KEY": "ENV"}, Options{}, "FILE", "", ""},
		"AWS_PROFILE":        {map[string]string{"AWS_PROFILE": "other"}, Options{}, "OTHER", "", ""},
		"beats AWS_PROFILE":  {with("AWS_PROFILE", "other"), Options{}, "ENV", "", ""},
		"-profile beats it":  {both, Options{Profile: "other"}, "OTHER", "", ""},
		"unknown profile":    {with("AWS_PROFILE", "gone"), Options{}, "", "", `profile "gone" is in none of the shared files (/home/u/.aws/credentials, /home/u/.aws/config is not there)`},
		"half web identity":  {map[string]string{"AWS_WEB_IDENTITY_TOKEN_FILE": "/t"}, Options{}, "", "without AWS_ROLE_ARN", ""},
		"metadata endpoint":  {map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": "169.254.169.254"}, Options{}, "", "", "AWS_EC2_METADATA_SERVICE_ENDPOINT is not a URL"},
		"metadata mode":      {map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv5"}, Options{}, "", "", "must be IPv4 or IPv6"},
		"file instead":       {map[string]string{}, Options{File: "/plane"}, "PLANE", "", ""},
		"file instead of it": {map[string]string{"AWS_SHARED_CREDENTIALS_FILE": "/home/u/.aws/credentials"}, Options{File: "/plane"}, "PLANE", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{env: tc.env, files: maps.Clone(file)}
			f.files["/plane"] = "[default]\n" + keys("PLANE")
			c, err := New(f.machine(), tc.o)
			if tc.newFaults != "" {
				if err == nil || !strings.Contains(err.Error(), tc.newFaults) {
					t.Errorf("%v; want %s", err, tc.newFaults)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			expect(t, c, tc.id, tc.says)
		})
	}
}

func TestRegionAndBundle(t *testing.T) {
	t.Parallel()
	files := map[string]string{"/home/u/.aws/config": "[default]\nregion = eu-west-3\nca_bundle = /profile.pem\n"}
	for name, tc := range map[string]struct {
		env        map[string]string
		o          Options
		region, ca string
	}{
		"profile":     {nil, Options{}, "eu-west-3", "/profile.pem"},
		"environment": {map[string]string{"AWS_REGION": "us-east-2", "AWS_DEFAULT_REGION": "x", "AWS_CA_BUNDLE": "/env.pem"}, Options{}, "us-east-2", "/env.pem"},
		"default":     {map[string]string{"AWS_DEFAULT_REGION": "us-west-1"}, Options{}, "us-west-1", "/profile.pem"},
		"option":      {map[string]string{"AWS_REGION": "us-east-2"}, Options{Region: "ap-south-1"}, "ap-south-1", "/profile.pem"},
		"plane":       {nil, Options{File: "/none"}, "", ""},
	} {
		f := &fake{env: tc.env, files: files}
		if c := f.chain(t, tc.o); c.Region != tc.region || c.CABundle != tc.ca {
			t.Errorf("%s: %q, %q", name, c.Region, c.CABundle)
		}
	}
}

// TestUnreadable: other people's files are no reason to fail, broken ones are.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	f := &fake{files: map[string]string{"/home/u/.aws/credentials": "denied", "/home/u/.aws/config": "denied"}}
	expect(t, f.chain(t, Options{}), "", "/home/u/.aws/credentials cannot be read (open /home/u/.aws/credentials: permission denied)")
	f.files["/home/u/.aws/config"] = "[default]\nregion eu-west-1\n"
	if _, err := New(f.machine(), Options{}); err == nil || !strings.Contains(err.Error(), "shared configuration file: /home/u/.aws/config, line 2 is neither") {
		t.Error(err)
	}
}
