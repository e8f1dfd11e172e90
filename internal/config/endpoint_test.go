package config

import (
	"strings"
	"testing"
)

func TestComputedEndpoint(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ service, region, want string }{
		{ServiceSSM, "eu-west-1", "https://ssm.eu-west-1.amazonaws.com"},
		{ServiceMDS, "us-gov-west-1", "https://ec2messages.us-gov-west-1.amazonaws.com"},
		{ServiceMGS, "cn-north-1", "https://ssmmessages.cn-north-1.amazonaws.com.cn"},
		{ServiceKMS, "us-iso-east-1", "https://kms.us-iso-east-1.c2s.ic.gov"},
		{ServiceS3, "us-isob-east-1", "https://s3.us-isob-east-1.sc2s.sgov.gov"},
		{ServiceLogs, "us-isof-south-1", "https://logs.us-isof-south-1.csp.hci.ic.gov"},
		{ServiceSSM, "eu-isoe-west-1", "https://ssm.eu-isoe-west-1.cloud.adc-e.uk"},
		{ServiceSSM, "eusc-de-east-1", "https://ssm.eusc-de-east-1.amazonaws.eu"},
		{ServiceSSM, "", ""},
		{ServiceSSM, "a.b", ""},
		{ServiceSSM, "eu-west-1/", ""},
		{ServiceSSM, "eu-west-1\n", ""},
		{ServiceSSM, strings.Repeat("a", 101), ""},
	} {
		got, err := Default().Endpoint(tc.service, tc.region)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s in %q: %q, %v, want %q", tc.service, tc.region, got, err, tc.want)
		}
	}
	c := Default()
	c.Agent.ServiceDomain, c.Mgs.Region, c.Agent.Region = "lab.example", "eu-central-1", "us-east-2"
	for service, want := range map[string]string{
		ServiceSSM: "https://ssm.eu-west-1.lab.example",
		ServiceMGS: "https://ssmmessages.eu-central-1.lab.example",
	} {
		if got, err := c.Endpoint(service, "eu-west-1"); got != want {
			t.Errorf("%s: %q, %v", service, got, err)
		}
	}
	for service, want := range map[string]string{
		ServiceSSM: "us-east-2", ServiceMDS: "us-east-2", ServiceMGS: "eu-central-1", ServiceS3: "eu-west-1",
	} {
		if got := c.SigningRegion(service, "eu-west-1"); got != want {
			t.Errorf("%s is signed for %q, want %q", service, got, want)
		}
	}
}

func TestOverriddenEndpoint(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"http://127.0.0.1:8080":      "http://127.0.0.1:8080",
		"https://ssm.example/":       "https://ssm.example",
		"https://ssm.example/prefix": "https://ssm.example/prefix",
		"ssm-fips.example":           "https://ssm-fips.example",
		"localhost:8080":             "https://localhost:8080",
		"ftp://x":                    "",
		"https://":                   "",
		"https://user:pw@x":          "",
		"https://x?y":                "",
		"http://[::1":                "",
	} {
		for service, set := range map[string]func(*Config){
			ServiceSSM: func(c *Config) { c.Ssm.Endpoint = value }, ServiceMDS: func(c *Config) { c.Mds.Endpoint = value },
			ServiceS3: func(c *Config) { c.S3.Endpoint = value }, ServiceKMS: func(c *Config) { c.Kms.Endpoint = value },
		} {
			c := Default()
			set(&c)
			got, err := c.Endpoint(service, "eu-west-1")
			if got != want || (err == nil) != (want != "") {
				t.Errorf("%s %q: %q, %v, want %q", service, value, got, err, want)
			}
		}
	}
}

func TestGatewayEndpoint(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"https://localhost:8443":        "https://localhost:8443",
		"http://localhost:8443":         "https://localhost:8443", // TLS all the same
		"wss://127.0.0.1:8443/prefix":   "https://127.0.0.1:8443",
		"ws://127.0.0.1:8443":           "http://127.0.0.1:8443",
		"ws://[::1]:8443":               "http://[::1]:8443",
		"ws://localhost:8443":           "http://localhost:8443",
		"ws://10.0.0.1:8443":            "https://10.0.0.1:8443",
		"ws://localhost.evil.test":      "https://localhost.evil.test",
		"//localhost:8443":              "https://localhost:8443",
		"https://[::1]:8443":            "https://[::1]:8443",
		"gateway.test":                  "https://gateway.test",
		"gateway.test/prefix":           "https://gateway.test/prefix",
		"https://user:pw@gateway.test/": "https://gateway.test",
		"localhost:8443":                "https://localhost:8443", // here the stock agent finds no host
		"127.0.0.1:8443":                "https://127.0.0.1:8443",
		"[::1]:8443":                    "https://[::1]:8443",
		"https://":                      "",
		"https:// x":                    "",
	} {
		c := Default()
		c.Mgs.Endpoint = value
		got, err := c.Endpoint(ServiceMGS, "eu-west-1")
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", value, got, err, want)
		}
	}
}

func TestOfAWS(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]bool{
		"https://ssmmessages.eu-west-1.amazonaws.com": true, "https://vpce-1.ssmmessages.us-east-1.vpce.AMAZONAWS.com.:443": true,
		"https://ssmmessages.cn-north-1.amazonaws.com.cn": true, "https://ssmmessages.us-isof-south-1.csp.hci.ic.gov": true, "https://amazonaws.com": true,
		"http://127.0.0.1:8080": false, "https://ssm.lab.example": false, "https://notamazonaws.com": false, "https://amazonaws.com.example": false, "::": true,
	} {
		if got := OfAWS(endpoint); got != want {
			t.Errorf("%s: %v", endpoint, got)
		}
	}
}
