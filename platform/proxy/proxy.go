// Package proxy is the seam for the proxies that the system's own settings name,
// for a process whose environment names none.
package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxText bounds the text of a setting.
const maxText = 32 << 10

// Settings are proxies as the environment names them; empty: none.
type Settings struct{ HTTP, HTTPS, No string }

// source is one place of the system's where proxies may be set.
type source struct {
	name string
	read func() (Settings, error)
}

// System returns what the system says, the first place that names a proxy before
// the others, and likewise for what is not to go through one. Where that is said
// only in the environment, as on Linux, it is nothing. The error names the places
// that could not be read; what the others said counts.
func System() (Settings, error) { return first(sources()) }

func first(all []source) (Settings, error) {
	var found Settings
	var errs []error
	for _, s := range all {
		said, err := s.read()
		if err != nil {
			errs = append(errs, fmt.Errorf("read the proxies of %s: %w", s.name, err))
			continue
		}
		found = found.orElse(said)
	}
	return found, errors.Join(errs...)
}

// orElse fills what s does not name: both proxies, or neither.
func (s Settings) orElse(other Settings) Settings {
	if s.HTTP == "" && s.HTTPS == "" {
		s.HTTP, s.HTTPS = other.HTTP, other.HTTPS
	}
	if s.No == "" {
		s.No = other.No
	}
	return s
}

// Missing are the variables that a process with this environment lacks.
func (s Settings) Missing(getenv func(string) string) map[string]string {
	value := func(name string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return getenv(strings.ToUpper(name))
	}
	has := Settings{HTTP: value("http_proxy"), HTTPS: value("https_proxy"), No: value("no_proxy")}
	all := has.orElse(s)
	missing := map[string]string{}
	for name, v := range map[string][2]string{"http_proxy": {has.HTTP, all.HTTP}, "https_proxy": {has.HTTPS, all.HTTPS}, "no_proxy": {has.No, all.No}} {
		if v[0] == "" && v[1] != "" {
			missing[name] = v[1]
		}
	}
	return missing
}

// parse reads how Windows writes proxies and what bypasses them, as in
// "http=a:80;https=b:80" or "a:80", and "<local>;*.example.com". A proxy without a
// scheme is that of every scheme that has none of its own.
func parse(proxies, bypass string) (Settings, error) {
	if len(proxies) > maxText || len(bypass) > maxText {
		return Settings{}, fmt.Errorf("they have more than %d characters", maxText)
	}
	var s Settings
	plain := ""
	for _, p := range split(proxies) {
		scheme, address, ok := strings.Cut(p, "=")
		switch {
		case !ok && plain == "":
			plain = p
		case ok && strings.EqualFold(scheme, "http") && s.HTTP == "":
			s.HTTP = withScheme(address)
		case ok && strings.EqualFold(scheme, "https") && s.HTTPS == "":
			s.HTTPS = withScheme(address)
		}
	}
	if s.HTTP == "" {
		s.HTTP = withScheme(plain)
	}
	if s.HTTPS == "" {
		s.HTTPS = withScheme(plain)
	}
	var no []string
	for _, b := range split(bypass) {
		if host := direct(b); host != "" {
			no = append(no, host)
		}
	}
	s.No = strings.Join(no, ",")
	return s, nil
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ';' || r <= ' ' })
}

func withScheme(address string) string {
	if address == "" || strings.Contains(address, "://") {
		return address
	}
	return "http://" + address
}

// direct is an entry of a bypass list in the words of no_proxy: its host, and a
// prefix for an address with a star; empty for the words of Windows' own.
func direct(entry string) string {
	if strings.HasPrefix(entry, "<") {
		return ""
	}
	if _, after, ok := strings.Cut(entry, "://"); ok {
		entry = after
	}
	entry, _, _ = strings.Cut(entry, "/")
	if inner, ok := strings.CutPrefix(entry, "["); ok { // [fd00::1]:80
		inner, _, _ = strings.Cut(inner, "]")
		return inner
	}
	if host, _, ok := strings.Cut(entry, ":"); ok && strings.Count(entry, ":") == 1 {
		entry = host
	}
	if strings.ContainsRune(entry, ',') {
		return ""
	}
	return prefix(entry)
}

// prefix makes 10.0.0.0/8 of 10.*; anything else stays.
func prefix(entry string) string {
	parts := strings.Split(entry, ".")
	known := 0
	for known < len(parts) && parts[known] != "*" {
		known++
	}
	if known == 0 || known == len(parts) || len(parts) > 4 {
		return entry
	}
	for _, p := range parts[known:] {
		if p != "*" {
			return entry
		}
	}
	address, err := netip.ParseAddr(strings.Join(append(parts[:known:known], strings.Split("0.0.0.0", ".")[known:]...), "."))
	if err != nil {
		return entry
	}
	return address.String() + "/" + strconv.Itoa(8*known)
}

// variables reads proxies from entries "name=value".
func variables(entries []string) Settings {
	var s Settings
	for _, e := range entries {
		name, value, _ := strings.Cut(e, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "http_proxy":
			s.HTTP = value
		case "https_proxy":
			s.HTTPS = value
		case "no_proxy":
			s.No = value
		}
	}
	return s
}
