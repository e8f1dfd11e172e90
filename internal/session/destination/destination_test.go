package destination

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// names is a resolver; asked counts.
type names struct {
	all   map[string][]string
	asked int
}

func (n *names) lookup(_ context.Context, host string) ([]netip.Addr, error) {
	n.asked++
	texts, ok := n.all[host]
	if !ok {
		return nil, errors.New("no such host")
	}
	var as []netip.Addr
	for _, s := range texts {
		as = append(as, netip.MustParseAddr(s))
	}
	return as, nil
}

func TestDenied(t *testing.T) {
	t.Parallel()
	r, err := New([]string{"10.1.2.3", "192.0.2.0/24", "2001:db8:1::/48", "::ffff:198.51.100.7"})
	if err != nil {
		t.Fatal(err)
	}
	n := &names{all: map[string][]string{
		"mixed.example":  {"203.0.113.1", "169.254.169.254"},
		"mixed6.example": {"203.0.113.1", "fd00:ec2::254"},
		"inner.example":  {"::ffff:169.254.169.254"},
		"zoned.example":  {"fe80::1%eth0"},
		"localhost":      {"127.0.0.1"},
		"metadata.":      {"169.254.169.254"},
		"configured":     {"192.0.2.77"},
		"ok.example":     {"203.0.113.1", "2001:db8:2::1"},
		"ok.example.":    {"203.0.113.1"},
	}}
	for _, host := range []string{
		// One address of the metadata service, in all its spellings.
		"169.254.169.254", "2852039166", "0xa9fea9fe", "0XA9FEA9FE", "0251.0376.0251.0376", "169.254.43518", "169.16689662", "0xa9.0xfe.0xa9.0xfe",
		"0xa9.254.0251.0xfe", "025177524776", "169.254.169.254.", "[169.254.169.254]", " 169.254.169.254 ", "169.254.0xa9fe", "00251.254.169.254",
		"::ffff:169.254.169.254", "[::ffff:169.254.169.254]", "::ffff:a9fe:a9fe", "0:0:0:0:0:ffff:a9fe:a9fe", "::169.254.169.254", "::ffff:0:a9fe:a9fe",
		"64:ff9b::169.254.169.254", "64:ff9b:1:a9fe:a9:fe00::", "2002:a9fe:a9fe::1", "2001:0:1::5601:5601", "fe81::200:5efe:a9fe:a9fe", "2001:db8:2::5efe:a9fe:a9fe",
		"::ffff:169.254.169.254%1", "fe80::1", "[fe80::1%eth0]", "fe80::1%eth0", "febf::1", "fec0::1",
		"fd00:ec2::254", "fd00:0ec2::253", "[fd00:ec2::123]", "fd00:ec2:1::", "FD00:EC2::240",
		"169.254.169.253", "169.254.169.123", "169.254.170.2", "169.254.0.1",
		// This node, nobody, everybody.
		"127.0.0.1", "127.1", "2130706433", "127.255.255.255", "::1", "[::1]", "localhost", "0.0.0.0", "0", "0x", "0.1.2.3", "::", "::ffff:127.0.0.1", "2002:7f00:1::",
		"224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "ff02::1",
		// What the configuration adds.
		"10.1.2.3", "0x0a010203", "167838211", "192.0.2.9", "::ffff:192.0.2.9", "2001:db8:1::5", "198.51.100.7",
		// Names.
		"mixed.example", "mixed6.example", "inner.example", "zoned.example", "metadata.", "configured",
	} {
		_, err := r.Resolve(t.Context(), host, 80, n.lookup)
		var f *ForbiddenError
		if !errors.As(err, &f) || err.Error() != "Forwarding to IP address "+host+" is forbidden." {
			t.Errorf("%s: %v", host, err)
		}
	}
	for host, want := range map[string]string{
		"203.0.113.1": "203.0.113.1:80", "ok.example": "ok.example:80", "ok.example.": "ok.example.:80", "10.1.2.4": "10.1.2.4:80", "0x0a010204": "10.1.2.4:80",
		"2001:db8:2::1": "[2001:db8:2::1]:80", "[2001:db8:2::1]": "[2001:db8:2::1]:80", "168.254.1.1": "168.254.1.1:80", "64:ff9b::203.0.113.1": "[64:ff9b::cb00:7101]:80",
	} {
		got, err := r.Resolve(t.Context(), host, 80, n.lookup)
		if err != nil || got.String() != want {
			t.Errorf("%s: %s, %v", host, got, err)
		}
	}
	for _, host := range []string{"", "nowhere.example", "256.1.1.1", "1.2.3.4.5", "0x100000000", "08", "a.b\x1b[2J", "[::1", "::1]", strings.Repeat("x", 400)} {
		_, err := r.Resolve(t.Context(), host, 80, n.lookup)
		if err == nil || strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("%q: %v", host, err)
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "10.0.0.0/33", "169.254.169.254 ", "example.com", "10.0.0"} {
		if _, err := New([]string{bad}); err == nil || !strings.Contains(err.Error(), "DeniedPortForwardingRemoteIPs") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	r, err := New([]string{"::ffff:10.0.0.0/104", "2001:db8::7%eth0"})
	if err != nil || !r.Denied(netip.MustParseAddr("10.9.9.9")) || !r.Denied(netip.MustParseAddr("2001:db8::7")) || !r.Denied(netip.Addr{}) {
		t.Errorf("%+v %v", r, err)
	}
}

// TestRebinding: a name that becomes another one is asked for once, and only
// what was checked is dialled, for as many connections as there are.
func TestRebinding(t *testing.T) {
	t.Parallel()
	n := &names{all: map[string][]string{"evil.example": {"203.0.113.1", "203.0.113.2"}}}
	target, err := Rules{}.Resolve(t.Context(), "evil.example", 443, n.lookup)
	if err != nil {
		t.Fatal(err)
	}
	n.all["evil.example"] = []string{"169.254.169.254"}
	var dialled []string
	for range 3 {
		c, err := target.Dial(t.Context(), func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("an attempt without an end")
			}
			dialled = append(dialled, a.String())
			if a.Addr().String() == "203.0.113.1" {
				return nil, errors.New("refused")
			}
			c, _ := net.Pipe()
			return c, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	want := []string{"203.0.113.1:443", "203.0.113.2:443"}
	if n.asked != 1 || !slices.Equal(dialled, slices.Concat(want, want, want)) {
		t.Errorf("asked %d times, dialled %q", n.asked, dialled)
	}
}

func TestDialFails(t *testing.T) {
	t.Parallel()
	refuse := func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, errors.New("connection refused") }
	if _, err := Node(81).Dial(t.Context(), refuse); err == nil || err.Error() != "connect to localhost:81: connection refused" {
		t.Error(err)
	}
	if _, err := (Target{}).Dial(t.Context(), refuse); err == nil {
		t.Error("connected to nowhere")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("over")
	cancel(over)
	tried := 0
	_, err := Node(81).Dial(ctx, func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) { tried++; return nil, ctx.Err() })
	if !errors.Is(err, over) || tried != 1 {
		t.Errorf("%v after %d", err, tried)
	}
}

// FuzzDenied: no spelling of a host leads to an address that is denied.
func FuzzDenied(f *testing.F) {
	for _, s := range []string{"169.254.169.254", "0xa9fea9fe", "[fe80::1%eth0]", "::ffff:1.2.3.4", "1.2.3", "x.example."} {
		f.Add(s, []byte{169, 254, 1, 1})
	}
	r, err := New([]string{"10.0.0.0/8"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, host string, raw []byte) {
		target, err := r.Resolve(t.Context(), host, 80, func(context.Context, string) ([]netip.Addr, error) {
			a, ok := netip.AddrFromSlice(raw)
			if !ok {
				return nil, errors.New("no such host")
			}
			return []netip.Addr{a}, nil
		})
		if err != nil {
			return
		}
		_, _ = target.Dial(t.Context(), func(_ context.Context, a netip.AddrPort) (net.Conn, error) {
			if ip := net.IP(a.Addr().AsSlice()); r.Denied(a.Addr()) || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
				t.Fatalf("%q leads to %v", host, a)
			}
			return nil, errors.New("refused")
		})
	})
}
