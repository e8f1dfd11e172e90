package proxy

import (
	"strings"
	"testing"
)

const settings = `<dictionary> {
  ExceptionsList : <array> {
    0 : *.local
    1 : 169.254/16
    2 : db.example
    3 : fd00::/8
  }
  FTPPassive : 1
  HTTPEnable : 1
  HTTPPort : 3128
  HTTPProxy : proxy.example
  HTTPSEnable : 1
  HTTPSPort : 8443
  HTTPSProxy : fd00::17
  SOCKSEnable : 0
}
`

func TestScutil(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, out string
		want      Settings
	}{
		{"both", settings, Settings{"http://proxy.example:3128", "http://[fd00::17]:8443", "*.local,169.254.0.0/16,db.example,fd00::/8"}},
		{"disabled", strings.Replace(settings, "HTTPEnable : 1", "HTTPEnable : 0", 1), Settings{"", "http://[fd00::17]:8443", "*.local,169.254.0.0/16,db.example,fd00::/8"}},
		{"no port", "<dictionary> {\n  HTTPEnable : 1\n  HTTPProxy : p.example\n}\n", Settings{HTTP: "http://p.example"}},
		{"a strange host", "  HTTPEnable : 1\n  HTTPProxy : http://p.example/x\n", Settings{}},
		{"automatic only", "<dictionary> {\n  ProxyAutoConfigEnable : 1\n  ProxyAutoConfigURLString : http://p.example/p.pac\n}\n", Settings{}},
		{"none", "<dictionary> {\n}\n", Settings{}},
		{"nothing", "", Settings{}},
	} {
		if got, err := parseScutil(tc.out); err != nil || got != tc.want {
			t.Errorf("%s: %+v, %v", tc.name, got, err)
		}
	}
	if _, err := parseScutil(strings.Repeat("x", maxText+1)); err == nil {
		t.Error("a text without end is read")
	}
}

func FuzzScutil(f *testing.F) {
	f.Add(settings)
	f.Fuzz(func(t *testing.T, out string) {
		s, err := parseScutil(out)
		if err != nil {
			return
		}
		for _, proxy := range []string{s.HTTP, s.HTTPS} {
			if proxy != "" && (!strings.HasPrefix(proxy, "http://") || strings.ContainsAny(proxy[len("http://"):], "/@, \t")) {
				t.Errorf("proxy %q", proxy)
			}
		}
	})
}
