package controlplane

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
)

// EndpointFile tells clients on the same machine where the control plane is.
const EndpointFile = "endpoint.json"

// Endpoint is the content of EndpointFile.
type Endpoint struct {
	URL         string `json:"url"`               // plain HTTP on a loopback address
	TLSURL      string `json:"tls_url,omitempty"` // for nodes elsewhere
	Region      string `json:"region"`
	Account     string `json:"account"`
	Credentials string `json:"credentials"`  // the shared credentials file
	Config      string `json:"config"`       // the shared configuration file
	CA          string `json:"ca,omitempty"` // the certificate to trust
}

// listen opens a listener or says why not and what to do.
func listen(address, option string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err == nil {
		return l, nil
	}
	if taken(err) {
		_, port, _ := net.SplitHostPort(address)
		return nil, fmt.Errorf("port %s of %s is taken by another program: end it (perhaps another ssm-local), or choose another address with %s: %w", port, address, option, err)
	}
	return nil, fmt.Errorf("listen on %s: %w: check the address given with %s", address, err, option)
}

// taken says whether err is the system's "address in use". Windows has its
// own number for it (WSAEADDRINUSE).
func taken(err error) bool {
	const windows = 10048
	var n syscall.Errno
	return errors.As(err, &n) && (n == syscall.EADDRINUSE || uint64(n) == windows)
}

// checkPlain refuses an address for plain HTTP that others can reach.
func checkPlain(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("listen address %q: write it as host:port, such as 127.0.0.1:8080: %w", address, err)
	}
	if strings.EqualFold(host, "localhost") {
		return nil
	}
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil || !ip.Unmap().IsLoopback() {
		return fmt.Errorf("listen address %q: plain HTTP is for loopback addresses only, since credentials and commands pass in the clear: use 127.0.0.1, and TLS for others", address)
	}
	return nil
}

// announce writes EndpointFile, whole.
func (s *Server) announce() error {
	e := s.Endpoint()
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	if err := s.opt.WriteSecret(filepath.Join(s.opt.Dir, EndpointFile), append(b, '\n')); err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	return nil
}
