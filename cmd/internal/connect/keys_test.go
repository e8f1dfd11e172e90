package connect

import "testing"

func TestKeysEndpoint(t *testing.T) {
	t.Parallel()
	const aws = "https://kms.eu-west-1.amazonaws.com"
	for _, tc := range []struct {
		name, named string
		env         map[string]string
		want        string
	}{
		{"AWS", "", nil, aws},
		{"a control plane", "http://127.0.0.1:8080/", nil, "http://127.0.0.1:8080"},
		{"an endpoint of AWS for another service", "https://vpce-1.ssm.eu-west-1.vpce.amazonaws.com", nil, aws},
		{"dual stack", "https://ssm.eu-west-1.api.aws", nil, aws},
		{"a name that looks like AWS's", "https://amazonaws.com.example", nil, "https://amazonaws.com.example"},
		{"the environment", "http://127.0.0.1:8080", map[string]string{"AWS_ENDPOINT_URL_KMS": "http://k/", "AWS_ENDPOINT_URL": "http://all"}, "http://k"},
		{"the environment for all", "", map[string]string{"AWS_ENDPOINT_URL": "http://all"}, "http://all"},
		{"the environment is ignored", "", map[string]string{"AWS_ENDPOINT_URL": "http://all", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, aws},
	} {
		got, err := keysEndpoint(tc.named, "eu-west-1", func(name string) string { return tc.env[name] })
		if err != nil || got != tc.want {
			t.Errorf("%s: %s %v, want %s", tc.name, got, err, tc.want)
		}
	}
	if _, err := keysEndpoint("", "no region", func(string) string { return "" }); err == nil {
		t.Error("a region that is none")
	}
}
