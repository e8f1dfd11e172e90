package distro

import "testing"

func TestNames(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		parse               func(string) (string, string)
		text, name, version string
	}{
		{parseOSRelease, "NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n", "debian", "12"},
		{parseOSRelease, "ID=\"rhel\"\nVERSION_ID=\"9.4\"\n", "redhat", "9.4"},
		{parseOSRelease, "ID=amzn\nVERSION_ID=2023", "amazon", "2023"},
		{parseOSRelease, "ID='ol'\n", "oracle", ""},
		{parseOSRelease, "ID=sles\nVERSION_ID=15.5\n", "suse", "15.5"},
		{parseOSRelease, "NAME=\"openSUSE Leap\"\nID=\"opensuse-leap\"\nVERSION_ID=\"15.6\"\n", "opensuseleap", "15.6"},
		{parseOSRelease, "NAME=\"openSUSE Tumbleweed\"\nID=\"opensuse-tumbleweed\"\n", "opensuse", ""},
		{parseOSRelease, "garbage", "", ""},
		{parseLSB, "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=22.04\n", "ubuntu", "22.04"},
		{parseRelease, "CentOS Linux release 7.9.2009 (Core)\n", "centos", "7.9.2009"},
		{parseRelease, "Red Hat Enterprise Linux Server release 6.10 (Santiago)", "redhat", "6.10"},
		{parseRelease, "Something else", "", ""},
	} {
		if name, version := tc.parse(tc.text); name != tc.name || version != tc.version {
			t.Errorf("%q: %q %q", tc.text, name, version)
		}
	}
	if s, err := known("debian", "12", "systemd"); err != nil || s != (System{"debian", "12", "debian", "apt", "systemd"}) {
		t.Errorf("%+v %v", s, err)
	}
	for _, name := range []string{"bottlerocket", "flatcar", ""} {
		if _, err := known(name, "", ""); err == nil {
			t.Errorf("%q is known", name)
		}
	}
}
