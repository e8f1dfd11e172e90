package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Services that Endpoint knows, by their host label.
const (
	ServiceSSM  = "ssm"
	ServiceMDS  = "ec2messages"
	ServiceMGS  = "ssmmessages"
	ServiceS3   = "s3"
	ServiceKMS  = "kms"
	ServiceLogs = "logs"
)

// Endpoint is the URL of a service for a node in region: the override of the
// file, else the host computed from region and domain. It has no trailing
// slash. For ssmmessages it is http or https; the sockets use ws or wss alike.
// There, only ws:// with a loopback host means plain text: every other scheme
// means TLS, as in the stock agent, and only the host and port count.
func (c Config) Endpoint(service, region string) (string, error) {
	switch service {
	case ServiceSSM:
		if c.Ssm.Endpoint != "" {
			return override("Ssm.Endpoint", c.Ssm.Endpoint)
		}
	case ServiceMDS:
		if c.Mds.Endpoint != "" {
			return override("Mds.Endpoint", c.Mds.Endpoint)
		}
	case ServiceMGS:
		if c.Mgs.Endpoint != "" {
			return gateway(c.Mgs.Endpoint)
		}
	case ServiceS3:
		if c.S3.Endpoint != "" {
			return override("S3.Endpoint", c.S3.Endpoint)
		}
	case ServiceLogs:
		if c.SSMAgent.LogsEndpoint != "" {
			return override("ssmagent.LogsEndpoint", c.SSMAgent.LogsEndpoint)
		}
	case ServiceKMS:
		if c.Kms.Endpoint != "" {
			return override("Kms.Endpoint", c.Kms.Endpoint)
		}
	}
	if service == ServiceMGS && c.Mgs.Region != "" {
		region = c.Mgs.Region
	}
	if !validRegion(region) {
		return "", fmt.Errorf("region %q is not a region's name (letters, digits and hyphens, at most 100); "+
			"register with the right -region or correct the configuration", abbreviate([]byte(region)))
	}
	return checked("Agent.ServiceDomain", "https://"+c.host(service, region))
}

// host is the computed host of a service. A region without the host that was
// asked for has no such name: nothing falls back to another.
func (c Config) host(service, region string) string {
	fips, dual := c.SSMAgent.UseFIPSEndpoint, c.SSMAgent.UseDualStackEndpoint
	label, p := service, partitionOf(region)
	// The plain hosts of these services are the FIPS ones there.
	if fips && (dual || !strings.HasPrefix(region, "us-gov-") || service != ServiceSSM && service != ServiceLogs && service != ServiceMDS && service != ServiceMGS) {
		label += "-fips"
	}
	domain := p.domain
	switch {
	case c.Agent.ServiceDomain != "":
		domain = c.Agent.ServiceDomain
	case dual && service == ServiceS3:
		label += ".dualstack"
	case dual:
		domain = p.dual
	}
	return label + "." + region + "." + domain
}

// BucketEndpoint is the endpoint of S3 with {region} in place of the region,
// which is the bucket's, where the file does not override it.
func (c Config) BucketEndpoint(region string) (string, error) {
	e, err := c.Endpoint(ServiceS3, region)
	if err != nil || c.S3.Endpoint != "" {
		return e, err
	}
	return strings.Replace(e, "."+region+".", ".{region}.", 1), nil
}

// SigningRegion is the region in signatures for a service, for a node in
// region: Mgs.Region and Agent.Region replace it for their services.
func (c Config) SigningRegion(service, region string) string {
	switch {
	case service == ServiceMGS && c.Mgs.Region != "":
		return c.Mgs.Region
	case (service == ServiceSSM || service == ServiceMDS) && c.Agent.Region != "":
		return c.Agent.Region
	}
	return region
}

var regionRule = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`) })

func validRegion(r string) bool { return regionRule().MatchString(r) }

// partition is a part of AWS: regions whose names begin alike.
type partition struct {
	prefix string // empty: all that no other has
	domain string
	dual   string // the domain of hosts that have IPv4 and IPv6
}

func partitions() []partition {
	return []partition{
		{"cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
		{"us-iso-", "c2s.ic.gov", "api.aws.ic.gov"},
		{"us-isob-", "sc2s.sgov.gov", "api.aws.scloud"},
		{"us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"},
		{"eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"},
		{"eusc-de-", "amazonaws.eu", "api.amazonwebservices.eu"},
		{"", "amazonaws.com", "api.aws"},
	}
}

func partitionOf(region string) partition {
	all := partitions()
	return all[slices.IndexFunc(all, func(p partition) bool { return strings.HasPrefix(region, p.prefix) })]
}

// OfAWS says whether the URL of an endpoint is one of AWS's.
func OfAWS(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return true
	}
	host := "." + strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	return slices.ContainsFunc(partitions(), func(p partition) bool {
		return strings.HasSuffix(host, "."+p.domain) || strings.HasSuffix(host, "."+p.dual)
	})
}

// override takes http and https as written, and a bare host as https.
func override(field, value string) (string, error) {
	if !strings.Contains(value, "://") {
		value = "https://" + value
	}
	return checked(field, value)
}

func checked(field, value string) (string, error) {
	u, err := url.Parse(value)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" ||
		u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%s %q is not a URL like https://host:port; correct the configuration", field, abbreviate([]byte(value)))
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// gateway reads Mgs.Endpoint. Where the stock agent ends up without a host
// ("localhost:8443") or, silently, at the public endpoint ("127.0.0.1:8443"),
// the host that stands there is meant.
func gateway(value string) (string, error) {
	scheme, rest, found := strings.Cut(value, "://")
	if !found {
		rest = strings.TrimPrefix(value, "//")
	}
	host, path, _ := strings.Cut(rest, "/")
	if found || rest != value {
		path = "" // with a scheme only the host counts
	}
	if i := strings.LastIndex(host, "@"); i >= 0 {
		host = host[i+1:]
	}
	out := "https://" + host
	if found && scheme == "ws" && loopback(host) {
		out = "http://" + host
	}
	if path != "" {
		out += "/" + path
	}
	return checked("Mgs.Endpoint", out)
}

func loopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}
