package s3

import (
	"net"
	"net/netip"
	"strings"
	"unicode/utf8"

	"ssmagent/internal/controlplane/api"
	wire "ssmagent/internal/wire/s3"
)

// validBucket says whether name is one that S3 gives to buckets: a host name's
// label or several, and no address.
func validBucket(name string) bool {
	if len(name) < 3 || len(name) > 63 || strings.Contains(name, "..") || strings.Contains(name, ".-") || strings.Contains(name, "-.") {
		return false
	}
	edge := func(b byte) bool { return b >= 'a' && b <= 'z' || b >= '0' && b <= '9' }
	if !edge(name[0]) || !edge(name[len(name)-1]) || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
		return false
	}
	for i := range len(name) {
		if !edge(name[i]) && name[i] != '.' && name[i] != '-' {
			return false
		}
	}
	_, err := netip.ParseAddr(name)
	return err != nil
}

// checkKey takes any text of at most 1,024 bytes. A key never becomes a path:
// files have names of our own.
func checkKey(key string) *api.Error {
	switch {
	case len(key) > wire.MaxKey:
		return refusal("KeyTooLongError", 400, "Your key is too long: it has %d bytes, at most %d are taken", len(key), wire.MaxKey)
	case !utf8.ValidString(key) || strings.ContainsRune(key, 0):
		return refusal("InvalidURI", 400, "the key is not UTF-8 text without NUL")
	}
	return nil
}

// hostBucket is the bucket that a host names, as in bucket.localhost, "" for
// the control plane's own names.
func (s *Service) hostBucket(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, own := range append([]string{"localhost"}, s.opt.Names...) {
		if host == strings.ToLower(own) {
			return ""
		}
	}
	for _, own := range append([]string{"localhost"}, s.opt.Names...) {
		if b, ok := strings.CutSuffix(host, "."+strings.ToLower(own)); ok && validBucket(b) {
			return b
		}
	}
	return ""
}
