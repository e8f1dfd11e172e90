package config

import (
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// TestHostsAreTheSDKs: for every switch and a region of every part of AWS that
// has the host, ours is the one of AWS's own SDK.
func TestHostsAreTheSDKs(t *testing.T) {
	t.Parallel()
	compared := 0
	for _, region := range []string{"us-east-1", "eu-west-1", "us-gov-west-1", "us-gov-east-1", "cn-north-1", "us-iso-east-1", "us-isob-east-1", "us-isof-south-1", "eu-isoe-west-1", "eusc-de-east-1"} {
		for n := range 4 {
			fips, dual := n&1 != 0, n&2 != 0
			c := Default()
			c.SSMAgent.UseFIPSEndpoint, c.SSMAgent.UseDualStackEndpoint = fips, dual
			for service, resolve := range map[string]func() (url.URL, error){
				ServiceSSM: func() (url.URL, error) {
					e, err := ssm.NewDefaultEndpointResolverV2().ResolveEndpoint(t.Context(), ssm.EndpointParameters{Region: &region, UseFIPS: &fips, UseDualStack: &dual})
					return e.URI, err
				},
				ServiceKMS: func() (url.URL, error) {
					e, err := kms.NewDefaultEndpointResolverV2().ResolveEndpoint(t.Context(), kms.EndpointParameters{Region: &region, UseFIPS: &fips, UseDualStack: &dual})
					return e.URI, err
				},
				ServiceS3: func() (url.URL, error) {
					e, err := s3.NewDefaultEndpointResolverV2().ResolveEndpoint(t.Context(), s3.EndpointParameters{Region: &region, UseFIPS: &fips, UseDualStack: &dual})
					return e.URI, err
				},
			} {
				want, err := resolve()
				if err != nil {
					continue // there is none
				}
				compared++
				if got, err := c.Endpoint(service, region); err != nil || got != want.String() {
					t.Errorf("%s in %s, FIPS %v, both families %v: %s, %v, want %s", service, region, fips, dual, got, err, want.String())
				}
			}
		}
	}
	if compared < 60 {
		t.Errorf("only %d hosts were compared", compared)
	}
}

func TestSwitchedHosts(t *testing.T) {
	t.Parallel()
	c := Default()
	c.SSMAgent.UseFIPSEndpoint, c.SSMAgent.UseDualStackEndpoint = true, true
	for service, want := range map[string]string{
		ServiceMGS:  "https://ssmmessages-fips.us-east-1.api.aws",
		ServiceMDS:  "https://ec2messages-fips.us-east-1.api.aws",
		ServiceLogs: "https://logs-fips.us-east-1.api.aws",
	} {
		if got, err := c.Endpoint(service, "us-east-1"); got != want || !OfAWS(got) {
			t.Errorf("%s: %s, %v", service, got, err)
		}
	}
	if got, err := c.BucketEndpoint("us-east-1"); got != "https://s3-fips.dualstack.{region}.amazonaws.com" {
		t.Errorf("buckets: %s, %v", got, err)
	}
	c.Agent.ServiceDomain = "lab.example"
	if got, err := c.Endpoint(ServiceSSM, "us-east-1"); got != "https://ssm-fips.us-east-1.lab.example" {
		t.Errorf("own domain: %s, %v", got, err)
	}
}
