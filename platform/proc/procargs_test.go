package proc

import (
	"strings"
	"testing"
)

func TestArgsEnvironment(t *testing.T) {
	t.Parallel()
	const head = "\x02\x00\x00\x00/bin/sh\x00\x00\x00sh\x00-c\x00"
	for text, want := range map[string]string{
		head + "A=1\x00B=\x00\x00\x00ptr_munge=\x00": "A=1\x00B=\x00",
		head + "A=1\x00": "A=1\x00",
		head + "\x00\x00executable_path=/bin/sh\x00": "",
		head: "",
		"\x03\x00\x00\x00/bin/sh\x00sh\x00-c\x00": "",
		"\xff\xff\xff\xff/bin/sh\x00sh\x00":       "",
		"\x00\x00\x00\x00/bin/sh\x00\x00A=1\x00":  "A=1\x00",
		"\x01":                                    "",
		"":                                        "",
	} {
		if got := argsEnvironment([]byte(text)); got != want {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
	}
}

func FuzzArgsEnvironment(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00/bin/sh\x00sh\x00A=1\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if env := argsEnvironment(b); strings.Contains(env, "\x00\x00") || strings.HasPrefix(env, "\x00") || !strings.Contains(string(b), env) {
			t.Errorf("%q of %q", env, b)
		}
	})
}
