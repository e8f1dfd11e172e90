package auth

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/wire/ssm"
)

// Guard refuses what a web page in somebody's browser could send: requests
// with an Origin, and requests for a host name that is not ours (a name that
// an attacker's DNS points at a loopback address).
func Guard(names []string, next http.Handler) http.Handler {
	own := map[string]bool{"localhost": true}
	for _, n := range names {
		own[normal(n)] = true
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Origin") != "" || browser(r):
			deny(w, "requests from web pages are not taken")
		case !ours(r.Host, own):
			deny(w, "the host "+api.Clip(r.Host, 64)+" is not a name of this control plane: use the address it printed, or add the name to its names")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// browser says whether a browser says that another site's page sent r.
func browser(r *http.Request) bool {
	s := r.Header.Get("Sec-Fetch-Site")
	return s != "" && s != "none"
}

func ours(host string, own map[string]bool) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = normal(host)
	if own[host] {
		return true
	}
	for name := range own {
		if strings.HasSuffix(host, "."+name) { // a bucket of the object store
			return true
		}
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func normal(host string) string {
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

func deny(w http.ResponseWriter, message string) {
	b, _ := json.Marshal(ssm.Error{Type: "AccessDeniedException", Message: message})
	w.Header().Set("Content-Type", ssm.ContentType)
	w.WriteHeader(http.StatusForbidden)
	_, _ = w.Write(b)
}
