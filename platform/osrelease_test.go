package platform

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseOSRelease(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, name, version string }{
		{"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n", "Debian GNU/Linux", "12"},
		{"# comment\r\nNAME=Fedora\r\nVERSION_ID=41\r\n", "Fedora", "41"},
		{"NAME='Single'\nVERSION_ID='1'", "Single", "1"},
		{`NAME="a \"b\" \$c"` + "\n", `a "b" $c`, ""},
		{"NAMEX=no\nXNAME=no\nnothing\n=\n", "", ""},
		{"NAME=\"\nVERSION_ID=\\", "\"", "\\"},
	} {
		if name, version := parseOSRelease(c.text); name != c.name || version != c.version {
			t.Errorf("%q gave %q %q", c.text, name, version)
		}
	}
}

func TestParseRelease(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, name, version string }{
		{"CentOS Linux release 7.9.2009 (Core)\n", "CentOS Linux", "7.9.2009"},
		{"Red Hat Enterprise Linux Server release 6.10 (Santiago)", "Red Hat Enterprise Linux Server", "6.10"},
		{"Amazon Linux release 2 (Karoo)\nmore", "Amazon Linux", "2"},
		{"Odd release", "Odd", ""},
		{"", "", ""},
	} {
		if name, version := parseRelease(c.text); name != c.name || version != c.version {
			t.Errorf("%q gave %q %q", c.text, name, version)
		}
	}
}

func TestParseHosts(t *testing.T) {
	t.Parallel()
	const hosts = "127.0.0.1\tlocalhost\n# 10.0.0.1 no.example node7\n127.0.1.1 node7.lab.example node7 # node8\n::1 localhost ip6\n"
	for host, want := range map[string]string{"node7": "node7.lab.example", "NODE7": "node7.lab.example", "node8": "", "localhost": "localhost", "": ""} {
		if got := parseHosts(hosts, host); got != want {
			t.Errorf("%q is %q, want %q", host, got, want)
		}
	}
}

func TestFirstAddress(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"127.0.0.1/8 ::1/128":                              "",
		"127.0.0.1/8 fe80::1/64 2001:db8::1/64 10.0.0.7/8": "10.0.0.7",
		"::1/128 fe80::1/64 2001:db8::1/64":                "2001:db8::1",
		"fe80::1/64":                                       "fe80::1",
		"192.0.2.1/24 10.0.0.1/8":                          "192.0.2.1",
	} {
		var addrs []net.Addr
		for _, s := range strings.Fields(list) {
			ip, n, err := net.ParseCIDR(s)
			if err != nil {
				t.Fatal(err)
			}
			addrs = append(addrs, &net.IPNet{IP: ip, Mask: n.Mask})
		}
		if got := firstAddress(addrs); got != want {
			t.Errorf("%s gave %q, want %q", list, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("NAME=\"a\\\"\nVERSION_ID='")
	f.Fuzz(func(_ *testing.T, text string) {
		parseOSRelease(text)
		parseRelease(text)
		parseHosts(text, "host")
	})
}

func TestReadAndPaths(t *testing.T) {
	t.Parallel()
	if i := Read(); i.Type == "" || i.ComputerName == "" {
		t.Errorf("info %+v", i)
	}
	root := t.TempDir()
	below := PathsBelow(root)
	if below.Root != root || DefaultPaths().Root != "" {
		t.Errorf("roots %q %q", below.Root, DefaultPaths().Root)
	}
	for _, p := range []string{below.ConfigFile, below.Data, below.Logs, below.LocalCommands, below.Packages, below.PackageLocks, below.PackageManifests, below.IPC, below.ControlPlane} {
		if rel, err := filepath.Rel(root, p); err != nil || !filepath.IsLocal(rel) || rel == "." {
			t.Errorf("%s is not below %s", p, root)
		}
	}
	d := DefaultPaths()
	for _, p := range []string{d.ConfigFile, d.Data, d.Logs, d.LocalCommands, d.Packages, d.PackageLocks, d.PackageManifests, d.IPC, d.ControlPlane, d.DefaultWorkDir} {
		if !filepath.IsAbs(p) {
			t.Errorf("%q is not absolute", p)
		}
	}
}
