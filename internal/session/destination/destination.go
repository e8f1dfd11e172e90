// Package destination decides where sessions may connect to. It resolves a
// host once, checks every address that comes of it, however it was spelled, and
// connects to the checked addresses with no second look-up: what was checked is
// what is dialled.
package destination

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// maxAddresses bounds what a name may resolve to.
const maxAddresses = 64

var errNowhere = errors.New("there is no address")

// dialWithin bounds one attempt: a filtered port does not answer at all.
const dialWithin = 15 * time.Second

// ForbiddenError says that a host is, or may be, one that sessions must not
// reach. Its text is that of stock agents.
type ForbiddenError struct {
	Host string // as the document names it
}

// Error implements error.
func (e *ForbiddenError) Error() string {
	return "Forwarding to IP address " + printable(e.Host) + " is forbidden."
}

// Lookup finds a host's addresses.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// Dial connects to an address.
type Dial func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)

// Target is where a session may connect to: addresses that were checked.
type Target struct {
	host  string
	addrs []netip.AddrPort
}

// Node is the target of a document without a host: the node's own port.
func Node(port uint16) Target {
	return Target{host: "localhost", addrs: []netip.AddrPort{
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port),
		netip.AddrPortFrom(netip.IPv6Loopback(), port),
	}}
}

// Resolve makes a target of a host that a document names. One address that is
// denied denies the host.
func (r Rules) Resolve(ctx context.Context, host string, port uint16, lookup Lookup) (Target, error) {
	addrs, err := addresses(ctx, host, lookup)
	if err != nil {
		return Target{}, err
	}
	t := Target{host: host}
	for _, a := range addrs {
		if r.Denied(a) {
			return Target{}, &ForbiddenError{host}
		}
		t.addrs = append(t.addrs, netip.AddrPortFrom(plain(a), port))
	}
	return t, nil
}

// addresses are the host's own, if it is one, or those that its name has.
func addresses(ctx context.Context, host string, lookup Lookup) ([]netip.Addr, error) {
	if a, ok := literal(host); ok {
		return []netip.Addr{a}, nil
	}
	addrs, err := lookup(ctx, host)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the host %s cannot be resolved on the node: %w", printable(host), err)
	case len(addrs) == 0:
		return nil, fmt.Errorf("the host %s has no address", printable(host))
	case len(addrs) > maxAddresses:
		return nil, fmt.Errorf("the host %s has %d addresses, more than %d are not taken", printable(host), len(addrs), maxAddresses)
	}
	return addrs, nil
}

// Dial connects to the first address that answers.
func (t Target) Dial(ctx context.Context, dial Dial) (net.Conn, error) {
	err := errNowhere
	for _, a := range t.addrs {
		var c net.Conn
		if c, err = dialOne(ctx, a, dial); err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
			break
		}
	}
	return nil, fmt.Errorf("connect to %s: %w", t, err)
}

func dialOne(ctx context.Context, a netip.AddrPort, dial Dial) (net.Conn, error) {
	ctx, done := context.WithTimeout(ctx, dialWithin)
	defer done()
	return dial(ctx, a)
}

// String is the target for people and records.
func (t Target) String() string {
	if len(t.addrs) == 0 {
		return ""
	}
	if a, ok := literal(t.host); ok {
		return netip.AddrPortFrom(plain(a), t.addrs[0].Port()).String()
	}
	return fmt.Sprintf("%s:%d", printable(t.host), t.addrs[0].Port())
}

// printable is a host without what a terminal would act upon.
func printable(host string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(host[:min(len(host), 300)], "?"))
}
