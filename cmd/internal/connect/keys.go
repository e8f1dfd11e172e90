package connect

import (
	"net/url"
	"strings"

	"ssmagent/internal/config"
)

// keysEndpoint is where KMS is: where the environment says, as for AWS's own
// programs, else at the endpoint that the user named, unless that is one of
// AWS's, which serve one service each, else at AWS.
func keysEndpoint(named, region string, getenv func(string) string) (string, error) {
	if getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") != "true" {
		for _, name := range []string{"AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL"} {
			if e := getenv(name); e != "" {
				return strings.TrimRight(e, "/"), nil
			}
		}
	}
	if named != "" && !ofAWS(named) {
		return strings.TrimRight(named, "/"), nil
	}
	return config.Default().Endpoint(config.ServiceKMS, region)
}

func ofAWS(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	host := strings.ToLower(u.Hostname())
	for _, domain := range []string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".amazonaws.eu", ".c2s.ic.gov", ".sc2s.sgov.gov", ".csp.hci.ic.gov", ".cloud.adc-e.uk"} {
		if strings.HasSuffix(host, domain) {
			return true
		}
	}
	return false
}
