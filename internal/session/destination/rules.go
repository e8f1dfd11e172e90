package destination

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Rules say which addresses are denied. The zero value denies what always is.
type Rules struct{ more []netip.Prefix }

// New returns rules that deny, beside what always is, these addresses and
// prefixes.
func New(denied []string) (Rules, error) {
	var r Rules
	for _, text := range denied {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			a, aerr := netip.ParseAddr(text)
			if aerr != nil {
				return Rules{}, fmt.Errorf("%.80q among the addresses that are denied to port sessions is neither an address nor a prefix such as 10.0.0.0/8; correct it in Mgs.DeniedPortForwardingRemoteIPs of the configuration", text)
			}
			a = plain(a)
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		r.more = append(r.more, p.Masked())
	}
	return r, nil
}

// always are the prefixes that no session with a named host may reach: this
// very node, what is on no network, everybody on one, and, link-local or
// not, the services by which clouds tell machines their credentials.
func always() []netip.Prefix {
	return []netip.Prefix{
		prefix4(0, 0, 8),      // this network
		prefix4(127, 0, 8),    // loopback
		prefix4(169, 254, 16), // link-local: metadata, time, DNS of the VPC
		prefix4(224, 0, 3),    // multicast, reserved, broadcast
		netip.PrefixFrom(netip.IPv6Unspecified(), 128),
		netip.PrefixFrom(netip.IPv6Loopback(), 128),
		prefix6(0xfe80, 0, 10),      // link-local
		prefix6(0xfec0, 0, 10),      // the same of old
		prefix6(0xff00, 0, 8),       // multicast
		prefix6(0xfd00, 0x0ec2, 32), // metadata, time, DNS of the VPC
	}
}

func prefix4(a, b byte, bits int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{a, b}), bits)
}

func prefix6(a, b uint16, bits int) netip.Prefix {
	var raw [16]byte
	binary.BigEndian.PutUint16(raw[:], a)
	binary.BigEndian.PutUint16(raw[2:], b)
	return netip.PrefixFrom(netip.AddrFrom16(raw), bits)
}

// Denied says whether a session must not connect to a. An address that carries
// an IPv4 address through a gateway is as denied as that is.
func (r Rules) Denied(a netip.Addr) bool {
	a = plain(a)
	if !a.IsValid() {
		return true
	}
	inside := func(p netip.Prefix) bool { return p.Contains(a) }
	if slices.ContainsFunc(always(), inside) || slices.ContainsFunc(r.more, inside) {
		return true
	}
	return slices.ContainsFunc(carried(a), r.Denied)
}

// plain is a without the spellings that change nothing of where it leads.
func plain(a netip.Addr) netip.Addr { return a.WithZone("").Unmap() }

// carried are the IPv4 addresses that an IPv6 address may stand for: those of
// IPv4-compatible, translated, NAT64, 6to4, Teredo and ISATAP kind.
func carried(a netip.Addr) []netip.Addr {
	if !a.Is6() {
		return nil
	}
	b := a.As16()
	v4 := func(i, j, k, l int) []netip.Addr {
		return []netip.Addr{netip.AddrFrom4([4]byte{b[i], b[j], b[k], b[l]})}
	}
	zero := func(from, to int) bool { return !slices.ContainsFunc(b[from:to], func(x byte) bool { return x != 0 }) }
	head := binary.BigEndian.Uint32(b[:])
	switch {
	case zero(0, 12), zero(0, 8) && b[8] == 0xff && b[9] == 0xff && zero(10, 12):
		return v4(12, 13, 14, 15)
	case head == 0x0064ff9b && zero(11, 16): // behind a prefix of 48 bits
		return v4(6, 7, 9, 10)
	case head == 0x0064ff9b: // of 96 bits
		return v4(12, 13, 14, 15)
	case head>>16 == 0x2002:
		return v4(2, 3, 4, 5)
	case head == 0x20010000:
		return []netip.Addr{netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})}
	case binary.BigEndian.Uint32(b[8:])&^0x02000000 == 0x5efe:
		return v4(12, 13, 14, 15)
	}
	return nil
}

// literal reads a host that is an address, in any spelling that some system
// takes for one: with brackets, a zone or a trailing dot, and IPv4 addresses of
// one to four decimal, octal or hexadecimal numbers.
func literal(host string) (netip.Addr, bool) {
	text := strings.TrimSuffix(strings.TrimSpace(host), ".")
	if inner, ok := strings.CutPrefix(text, "["); ok {
		text, ok = strings.CutSuffix(inner, "]")
		if !ok {
			return netip.Addr{}, false
		}
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return plain(a), true
	}
	return numbers(text)
}

// numbers reads an IPv4 address as C programs do.
func numbers(text string) (netip.Addr, bool) {
	parts := strings.Split(text, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var all uint64
	for i, p := range parts {
		n, ok := number(p)
		last := i == len(parts)-1
		switch {
		case !ok, !last && n > 255, last && n >= 1<<(8*(5-len(parts))):
			return netip.Addr{}, false
		case last:
			all |= n
		default:
			all |= n << (8 * (3 - i))
		}
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(all))
	return netip.AddrFrom4(b), true
}

func number(s string) (n uint64, ok bool) {
	base := uint64(10)
	switch low := strings.ToLower(s); {
	case strings.HasPrefix(low, "0x"):
		base, s = 16, low[2:]
		if s == "" {
			return 0, true // as C does
		}
	case len(s) > 1 && s[0] == '0':
		base, s = 8, s[1:]
	}
	if s == "" || len(s) > 16 {
		return 0, false
	}
	for _, c := range []byte(s) {
		digit := uint64(strings.IndexByte("0123456789abcdef", c))
		if digit >= base { // also what is no digit at all
			return 0, false
		}
		n = n*base + digit
	}
	return n, n < 1<<32
}
