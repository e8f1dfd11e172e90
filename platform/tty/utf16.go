package tty

import (
	"unicode/utf16"
	"unicode/utf8"
)

// utf16Text turns what a console gives into UTF-8, across reads.
type utf16Text struct {
	high rune // the first half of a character, or 0
	text []byte
}

// add takes code units. Halves without their other half become U+FFFD.
func (t *utf16Text) add(units []uint16) {
	for _, u := range units {
		r := rune(u)
		if t.high != 0 {
			high := t.high
			t.high = 0
			if c := utf16.DecodeRune(high, r); c != utf8.RuneError {
				t.text = utf8.AppendRune(t.text, c)
				continue
			}
			t.text = utf8.AppendRune(t.text, utf8.RuneError)
		}
		if 0xD800 <= r && r < 0xDC00 {
			t.high = r
			continue
		}
		t.text = utf8.AppendRune(t.text, r) // a lone second half becomes U+FFFD
	}
}

// read takes text out.
func (t *utf16Text) read(p []byte) int {
	n := copy(p, t.text)
	t.text = append(t.text[:0], t.text[n:]...)
	return n
}
