package diagnostics

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Endpoint is a service's.
type Endpoint struct {
	Service string
	URL     *url.URL // nil: not tried
	Why     error    // it is not, made by Skip; nil: it is not known
}

// Time limits of the network's checks; connecting has the stock agent's.
const (
	directWithin = time.Second
	proxyWithin  = 3 * time.Second
	allWithin    = 10 * time.Second
)

// noRegion is the stock agent's word for a node that knows no endpoints.
func noRegion() error { return Skip("Unable to fetch AWS region details") }

// Connectivity is a check for each service; an endpoint without a URL is not
// known.
func (n Network) Connectivity(endpoints []Endpoint) []Check {
	checks := make([]Check, 0, len(endpoints))
	for _, e := range endpoints {
		limit := directWithin
		if e.URL != nil {
			if proxy, err := n.Proxy(&http.Request{URL: e.URL}); err != nil || proxy != nil {
				limit = proxyWithin
			}
		}
		checks = append(checks, Check{"Connectivity to " + e.Service + " endpoint", limit, func(ctx context.Context) (string, error) {
			if e.URL == nil {
				return "", cmp.Or(e.Why, noRegion())
			}
			w, err := n.open(ctx, e.URL)
			switch {
			case ctx.Err() != nil:
				return "", fmt.Errorf("connection timed out for %s", e.URL.Hostname())
			case err != nil:
				return "", fmt.Errorf("%s is not reachable: %w", e.URL.Hostname(), err)
			}
			return e.URL.Hostname() + " is reachable", w.Close()
		}})
	}
	return checks
}

// Names checks that the endpoints' names have addresses.
func (n Network) Names(endpoints []Endpoint) Check {
	return Check{"DNS", allWithin, func(ctx context.Context) (string, error) {
		return eachHost(endpoints, func(u *url.URL) (string, error) {
			if _, err := netip.ParseAddr(u.Hostname()); err == nil {
				return u.Hostname() + " is an address", nil
			}
			if proxy, err := n.Proxy(&http.Request{URL: u}); err == nil && proxy != nil {
				return u.Hostname() + " is looked up by the proxy", nil
			}
			addresses, err := n.Lookup(ctx, u.Hostname())
			if err != nil {
				return "", reason(u, err)
			}
			return u.Hostname() + " is " + join(addresses), nil
		})
	}}
}

// Proxies checks each hop of the way through a proxy.
func (n Network) Proxies(endpoints []Endpoint) Check {
	return Check{"Proxy hops", allWithin, func(ctx context.Context) (string, error) {
		used := false
		note, err := eachHost(endpoints, func(u *url.URL) (string, error) {
			proxy, err := n.Proxy(&http.Request{URL: u})
			if err != nil || proxy == nil {
				return "", err
			}
			used = true
			w, err := n.open(ctx, u)
			if err != nil {
				return "", err
			}
			return strings.Join(w.hops, ", "), w.Close()
		})
		if err == nil && !used {
			return "", Skip("No proxy is used for the endpoints")
		}
		return note, err
	}}
}

// soon is when an end of a certificate is worth a word.
const soon = 14 * 24 * time.Hour

// Certificates checks that the endpoints' certificates are good for this node.
func (n Network) Certificates(endpoints []Endpoint) Check {
	return Check{"TLS certificates", allWithin, func(ctx context.Context) (string, error) {
		known := slices.DeleteFunc(slices.Clone(endpoints), func(e Endpoint) bool { return e.URL == nil })
		encrypted := slices.DeleteFunc(slices.Clone(known), func(e Endpoint) bool { return e.URL.Scheme != "https" })
		if len(known) > 0 && len(encrypted) == 0 {
			return "", Skip("The endpoints are reached without TLS")
		}
		return eachHost(encrypted, func(u *url.URL) (string, error) {
			w, err := n.open(ctx, u)
			if err != nil {
				return "", err
			}
			defer w.Close()
			state, err := n.greet(ctx, w, u)
			if err != nil {
				return "", err
			}
			return n.chain(u, state), nil
		})
	}}
}

// chain tells of the certificates that were good.
func (n Network) chain(u *url.URL, state tls.ConnectionState) string {
	var names []string
	end := state.PeerCertificates[0].NotAfter
	for _, c := range state.VerifiedChains[0] {
		names = append(names, fmt.Sprintf("%q", c.Subject.CommonName))
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	text := fmt.Sprintf("%s: %s, %s until %s", u.Hostname(), tls.VersionName(state.Version), strings.Join(names, " by "), end.UTC().Format(time.DateOnly))
	if left := end.Sub(n.Clock.Now()); left < soon {
		text += fmt.Sprintf(" (only %d days left)", int(left/(24*time.Hour)))
	}
	return text
}

// skewAllowed is what services take.
const skewAllowed = 5 * time.Minute

// ClockSkew compares this machine's clock with that of the endpoint; h is what
// asks it.
func (n Network) ClockSkew(h *http.Client, endpoint *url.URL) Check {
	return Check{"Clock skew", allWithin, func(ctx context.Context) (string, error) {
		if endpoint == nil {
			return "", noRegion()
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodHead, endpoint.String(), nil)
		if err != nil {
			return "", err
		}
		before := n.Clock.Now()
		resp, err := h.Do(r)
		if err != nil {
			return "", reason(endpoint, err)
		}
		_ = resp.Body.Close() // HEAD has none
		after := n.Clock.Now()
		date, err := http.ParseTime(resp.Header.Get("Date"))
		if err != nil {
			return "", Skip(endpoint.Hostname() + " does not tell the time")
		}
		behind := date.Add(500 * time.Millisecond).Sub(before.Add(after.Sub(before) / 2)).Round(time.Second)
		switch {
		case behind > skewAllowed:
			return "", fmt.Errorf("this machine's clock is %v behind the service's; set it (chronyc makestep, w32tm /resync)", behind)
		case behind < -skewAllowed:
			return "", fmt.Errorf("this machine's clock is %v ahead of the service's; set it (chronyc makestep, w32tm /resync)", -behind)
		}
		return fmt.Sprintf("This machine's clock is within %v of the service's", max(behind.Abs(), time.Second)), nil
	}}
}

// eachHost makes one note of those of all hosts, or one error.
func eachHost(endpoints []Endpoint, do func(*url.URL) (string, error)) (string, error) {
	var notes []string
	var errs []error
	seen := map[string]bool{}
	for _, e := range endpoints {
		if e.URL == nil || seen[e.URL.Host] {
			continue
		}
		seen[e.URL.Host] = true
		note, err := do(e.URL)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.Service, err))
		} else if note != "" {
			notes = append(notes, note)
		}
	}
	if len(seen) == 0 {
		return "", noRegion()
	}
	return strings.Join(notes, "; "), errors.Join(errs...)
}
