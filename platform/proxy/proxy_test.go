package proxy

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		proxies, bypass string
		want            Settings
	}{
		{"", "", Settings{}},
		{"p:8080", "", Settings{"http://p:8080", "http://p:8080", ""}},
		{"http://p:8080", "", Settings{"http://p:8080", "http://p:8080", ""}},
		{"https://p:8443", "", Settings{"https://p:8443", "https://p:8443", ""}},
		{"http=a:80;https=b:81", "", Settings{"http://a:80", "http://b:81", ""}},
		{"http=a:80 https=http://b:81", "", Settings{"http://a:80", "http://b:81", ""}},
		{"HTTPS=b:81", "", Settings{"", "http://b:81", ""}},
		{"https=b:81;a:80", "", Settings{"http://a:80", "http://b:81", ""}},
		{"http=a:80;c:1", "", Settings{"http://a:80", "http://c:1", ""}},
		{"ftp=f:21;socks=s:1080", "", Settings{}},
		{"a:1;b:2", "", Settings{"http://a:1", "http://a:1", ""}},
		{"p:1", "<local>;<-loopback>;*.corp.example host", Settings{"http://p:1", "http://p:1", "*.corp.example,host"}},
		{"p:1", "http://one:80;two:443/x;[fd00::1]:80;fd00::2", Settings{"http://p:1", "http://p:1", "one,two,fd00::1,fd00::2"}},
		{"p:1", "169.254.169.254;10.*;192.168.*;172.16.1.*;172.*.1;300.*;1.2.3.4.*", Settings{"http://p:1", "http://p:1", "169.254.169.254,10.0.0.0/8,192.168.0.0/16,172.16.1.0/24,172.*.1,300.*,1.2.3.4.*"}},
		{"p:1", "10.*.*.*;a,b", Settings{"http://p:1", "http://p:1", "10.0.0.0/8"}},
	} {
		if got, err := parse(c.proxies, c.bypass); err != nil || got != c.want {
			t.Errorf("%q, %q: %+v %v, want %+v", c.proxies, c.bypass, got, err, c.want)
		}
	}
	if _, err := parse(strings.Repeat("p", maxText+1), ""); err == nil {
		t.Error("a text without bounds is read")
	}
}

func TestFirst(t *testing.T) {
	t.Parallel()
	place := func(s Settings, err error) source {
		return source{"it", func() (Settings, error) { return s, err }}
	}
	got, err := first([]source{place(Settings{}, nil), place(Settings{}, errors.New("no")), place(Settings{HTTPS: "a"}, nil), place(Settings{HTTP: "b", No: "n"}, nil)})
	if want := (Settings{HTTPS: "a", No: "n"}); got != want || err == nil || !strings.Contains(err.Error(), "read the proxies of it: no") {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := first(nil); got != (Settings{}) || err != nil {
		t.Errorf("%+v %v", got, err)
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	s := Settings{"http://a", "http://b", "c"}
	for _, c := range []struct{ env, want map[string]string }{
		{nil, map[string]string{"http_proxy": "http://a", "https_proxy": "http://b", "no_proxy": "c"}},
		{map[string]string{"https_proxy": "x"}, map[string]string{"no_proxy": "c"}},
		{map[string]string{"HTTP_PROXY": "x", "NO_PROXY": "y"}, map[string]string{}},
		{map[string]string{"no_proxy": "y"}, map[string]string{"http_proxy": "http://a", "https_proxy": "http://b"}},
	} {
		if got := s.Missing(func(name string) string { return c.env[name] }); !maps.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.env, got, c.want)
		}
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	got := variables([]string{"HTTP_Proxy=http://p:1/?a=b", "no_proxy=x,y", "other=1", "https_proxy"})
	if want := (Settings{HTTP: "http://p:1/?a=b", No: "x,y"}); got != want {
		t.Errorf("%+v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("http=a:80;https=b", "<local>;10.*;[::1]:2")
	f.Add("x", "http://a/b,c")
	f.Fuzz(func(t *testing.T, proxies, bypass string) {
		s, err := parse(proxies, bypass)
		if err != nil {
			return
		}
		for _, v := range []string{s.HTTP, s.HTTPS} {
			if v != "" && !strings.Contains(v, "://") || strings.ContainsAny(v, " ;\x00\n") {
				t.Errorf("%q: %+v", proxies, s)
			}
		}
		if strings.ContainsAny(s.No, " ;\x00\n<") && !strings.Contains(bypass, "<") || strings.Contains(s.No, ",,") {
			t.Errorf("%q: %q", bypass, s.No)
		}
	})
}
