package tty

import (
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

func TestUTF16(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		units []uint16
		want  string
	}{
		{"ascii", []uint16{'l', 's', '\r', 0x1a, 0x03}, "ls\r\x1a\x03"},
		{"altgr", []uint16{'€', '@', 'ł'}, "€@ł"},
		{"cjk", utf16.Encode([]rune("漢字")), "漢字"},
		{"emoji", utf16.Encode([]rune("👍🏽")), "👍🏽"},
		{"lone high", []uint16{0xD83D, 'x'}, "\uFFFDx"},
		{"two highs", []uint16{0xD83D, 0xD83D, 0xDC4D}, "\uFFFD👍"},
		{"lone low", []uint16{0xDC4D, 'x'}, "\uFFFDx"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var d utf16Text
			var got []byte
			p := make([]byte, 2)
			for _, u := range tc.units { // at the worst, one by one
				d.add([]uint16{u})
				for n := d.read(p); n > 0; n = d.read(p) {
					got = append(got, p[:n]...)
				}
			}
			if string(got) != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzUTF16(f *testing.F) {
	f.Add([]byte("a\x00\x3d\xd8\x4d\xdc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d utf16Text
		for i := 0; i+1 < len(b); i += 2 {
			d.add([]uint16{uint16(b[i]) | uint16(b[i+1])<<8})
		}
		if !utf8.Valid(d.text) {
			t.Errorf("%q is not UTF-8", d.text)
		}
	})
}
