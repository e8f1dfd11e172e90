package platform

import (
	"net"
	"net/netip"
	"strings"
)

// parseOSRelease reads NAME and VERSION_ID of an os-release file
// (freedesktop.org os-release).
func parseOSRelease(text string) (name, version string) {
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			continue
		}
		switch key {
		case "NAME":
			name = unquote(value)
		case "VERSION_ID":
			version = unquote(value)
		}
	}
	return name, version
}

// unquote undoes shell quoting as far as os-release uses it.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return s[1 : len(s)-1]
	}
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseRelease reads the one line of a redhat-release kind of file:
// "CentOS Linux release 7.9.2009 (Core)".
func parseRelease(text string) (name, version string) {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	name, rest, ok := strings.Cut(line, "release")
	name = strings.TrimSpace(name)
	if f := strings.Fields(rest); ok && len(f) > 0 {
		version = f[0]
	}
	return name, version
}

// parseHosts returns the canonical name (the first one) of the line of a hosts
// file that knows host, empty if none does.
func parseHosts(text, host string) string {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		for i := 1; i < len(f); i++ {
			if strings.EqualFold(f[i], host) {
				return f[1]
			}
		}
	}
	return ""
}

// firstAddress picks the first IPv4 address that is no loopback, else the
// first such IPv6 address, a link-local one last.
func firstAddress(addrs []net.Addr) string {
	var global, local string
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().IsLoopback() {
			continue
		}
		ip := p.Addr().Unmap()
		switch {
		case ip.Is4():
			return ip.String()
		case ip.IsLinkLocalUnicast():
			local = first(local, ip.String())
		default:
			global = first(global, ip.String())
		}
	}
	return first(global, local)
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func interfaceAddress() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	return firstAddress(addrs)
}
