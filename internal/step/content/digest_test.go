package content

import (
	"strings"
	"testing"
)

// TestDigest holds the answers to the examples of RFC 2617 and RFC 7616.
func TestDigest(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, challenge, uri, user, password, cnonce, want string }{
		{"RFC 2617 3.5", `Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`,
			"/dir/index.html", "Mufasa", "Circle Of Life", "0a4f113b", `response="6629fae49393a05397450978507c4ef1"`},
		{"RFC 7616 3.9.1, MD5", `Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`,
			"/dir/index.html", "Mufasa", "Circle of Life", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", `response="8ca523f5e9506fed4657c9700eebdbec"`},
		{"RFC 7616 3.9.1, SHA-256", `digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`,
			"/dir/index.html", "Mufasa", "Circle of Life", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", `response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"`},
	} {
		c, err := parseChallenge([]string{`Basic realm="x"`, tc.challenge})
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if got := c.answer("GET", tc.uri, tc.user, tc.password, tc.cnonce); !strings.Contains(got, tc.want) {
			t.Errorf("%s: %s", tc.name, got)
		}
	}
	for _, bad := range []string{"", "Basic realm=x", "Digest", `Digest realm="x"`, `Digest nonce="x`, `Digest nonce=x, algorithm=SHA-512`, `Digest nonce=x, qop=other`, "Digest nonce=" + strings.Repeat("x", maxChallenge)} {
		if c, err := parseChallenge([]string{bad}); err == nil {
			t.Errorf("%.60q is %+v", bad, c)
		}
	}
}

func FuzzChallenge(f *testing.F) {
	f.Add(`Digest realm="a\"b", nonce=x, qop="auth-int, auth", algorithm=MD5-sess, userhash=true`)
	f.Fuzz(func(t *testing.T, header string) {
		c, err := parseChallenge([]string{header})
		if err != nil {
			return
		}
		if a := c.answer("GET", "/", "user", "secret", "0123456789abcdef"); strings.ContainsAny(a, "\r\n") || strings.Contains(a, "secret") && !strings.Contains(header, "secret") {
			t.Errorf("%q", a)
		}
	})
}
