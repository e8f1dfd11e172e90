//go:build unix

package platform

import (
	"io"
	"os"
	"strings"
)

// computerName is the host name, made whole by the hosts file: what
// `hostname --fqdn` finds before it would ask the network.
func computerName(hosts string) string {
	host, err := os.Hostname()
	if err != nil || strings.Contains(host, ".") {
		return host
	}
	text, err := readSmall(hosts)
	if err != nil {
		return host
	}
	if name := parseHosts(text, host); strings.Contains(name, ".") {
		return name
	}
	return host
}

func readSmall(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	return string(b), err
}

func systemLibraries() error { return nil }
