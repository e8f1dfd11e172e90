package program

import "testing"

// TestShownProxy: no password is shown, however the address is written.
func TestShownProxy(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"":                               "",
		"http://proxy:3128":              "http://proxy:3128",
		"proxy:3128":                     "http://proxy:3128",
		"http://ada:s3cret@proxy:3128":   "http://ada:xxxxx@proxy:3128",
		"socks5://ada:s3cret@proxy:1080": "socks5://ada:xxxxx@proxy:1080",
		"ada:s3cret@proxy:3128":          "http://ada:xxxxx@proxy:3128",
		"http://ada:s3%cret@proxy:3128":  "(not a URL)",
	} {
		if got := shownProxy(address); got != want {
			t.Errorf("%q is shown as %q, want %q", address, got, want)
		}
	}
}
