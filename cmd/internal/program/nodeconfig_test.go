package program

import (
	"bytes"
	"testing"

	"ssmagent/internal/config"
)

func TestNodeConfig(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ url, ca, gateway string }{
		{"http://127.0.0.1:8180", "", "ws://127.0.0.1:8180"},
		{"https://ssm.lab.example:8443", "/etc/amazon/ssm/ssm-local-ca.pem", "https://ssm.lab.example:8443"},
	} {
		b, err := nodeConfig(tc.url, tc.ca)
		if err != nil {
			t.Fatal(err)
		}
		cfg, warnings, err := config.Load(bytes.NewReader(b))
		if err != nil || len(warnings) != 0 {
			t.Fatalf("%v %v\n%s", warnings, err, b)
		}
		if cfg.SSMAgent.CABundle != tc.ca || cfg.Mgs.Endpoint != tc.gateway {
			t.Errorf("%+v", cfg)
		}
		for _, service := range []string{config.ServiceSSM, config.ServiceMDS, config.ServiceKMS, config.ServiceS3, config.ServiceLogs} {
			if e, err := cfg.Endpoint(service, "us-east-1"); e != tc.url || err != nil {
				t.Errorf("%s: %s, %v", service, e, err)
			}
		}
	}
}
