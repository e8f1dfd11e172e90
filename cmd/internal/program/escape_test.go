package program

import "testing"

func TestEscapes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, typed, sent, actions string }{
		{"plain", "ls -l\r", "ls -l\r", ""},
		{"leave at once", "~.", "", "."},
		{"leave", "ls\r~.rest", "ls\rrest", "."},
		{"after LF", "ls\n~.", "ls\n", "."},
		{"help", "\r~?", "\r", "?"},
		{"help, then leave", "\r~?~.", "\r", "?."},
		{"tilde", "\r~~.", "\r~.", ""},
		{"tilde in a line", "cd ~.", "cd ~.", ""},
		{"home", "\r~/bin\r", "\r~/bin\r", ""},
		{"tilde and Enter", "\r~\r~.", "\r~\r", "."},
		{"held back", "\r~", "\r", ""},
		{"empty", "", "", ""},
		{"bytes", "\xff~.\x00\x1b[A", "\xff~.\x00\x1b[A", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, whole := range []bool{true, false} { // in one piece and key by key
				e := newEscapes()
				var sent []byte
				actions := ""
				give := func(in []byte) {
					for len(in) > 0 {
						var n int
						var a escapeAction
						sent, n, a = e.feed(sent, in)
						in = in[n:]
						actions += map[escapeAction]string{escapeNone: "", escapeLeave: ".", escapeHelpWanted: "?"}[a]
					}
				}
				if whole {
					give([]byte(tc.typed))
				} else {
					for i := range len(tc.typed) {
						give([]byte(tc.typed[i : i+1]))
					}
				}
				if string(sent) != tc.sent || actions != tc.actions {
					t.Errorf("whole %v: sent %q, actions %q", whole, sent, actions)
				}
			}
		})
	}
}

// FuzzEscapes: nothing but the escapes themselves gets lost.
func FuzzEscapes(f *testing.F) {
	f.Add([]byte("ls\r~?~~\r~x~."))
	f.Fuzz(func(t *testing.T, in []byte) {
		e := newEscapes()
		lost := 0
		n := 0
		for rest := in; len(rest) > 0; {
			sent, used, action := e.feed(nil, rest)
			if used <= 0 || used > len(rest) {
				t.Fatalf("used %d of %d", used, len(rest))
			}
			rest = rest[used:]
			n += len(sent)
			if action != escapeNone {
				lost += 2
			}
		}
		if n+lost > len(in) || len(in) > 0 && n == 0 && lost == 0 && len(in) > 2 {
			t.Errorf("%d bytes sent and %d used of %d", n, lost, len(in))
		}
	})
}
