package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// parseScutil reads what `scutil --proxy` prints: a dictionary, one "name : value"
// a line, in which a list is lines of its own up to a brace. A proxy counts when
// it is enabled.
func parseScutil(out string) (Settings, error) {
	if len(out) > maxText {
		return Settings{}, fmt.Errorf("they have more than %d characters", maxText)
	}
	values := map[string]string{}
	var no []string
	list := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		name, value, ok := strings.Cut(line, " : ")
		switch {
		case line == "}":
			list = ""
		case !ok:
		case strings.HasPrefix(value, "<array>"), strings.HasPrefix(value, "<dictionary>"):
			list = name
		case list == "ExceptionsList":
			if host := exception(value); host != "" {
				no = append(no, host)
			}
		case list == "":
			values[name] = value
		}
	}
	return Settings{HTTP: enabled(values, "HTTP"), HTTPS: enabled(values, "HTTPS"), No: strings.Join(no, ",")}, nil
}

// enabled is the proxy of a scheme, which the system has as a host and a port.
func enabled(values map[string]string, scheme string) string {
	host := values[scheme+"Proxy"]
	if values[scheme+"Enable"] != "1" || host == "" || strings.ContainsAny(host, "/@, \t") {
		return ""
	}
	if port, err := strconv.ParseUint(values[scheme+"Port"], 10, 16); err == nil && port > 0 {
		return "http://" + net.JoinHostPort(host, strconv.FormatUint(port, 10))
	}
	return "http://" + host
}

// exception is an entry of the list of exceptions in the words of no_proxy:
// prefixes may be short here, as in 169.254/16.
func exception(entry string) string {
	if address, bits, ok := strings.Cut(entry, "/"); ok {
		if !strings.Contains(address, ":") {
			address += strings.Repeat(".0", max(0, 3-strings.Count(address, ".")))
		}
		if p, err := netip.ParsePrefix(address + "/" + bits); err == nil {
			return p.String()
		}
	}
	return direct(entry)
}
