package channel

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"ssmagent/internal/wire/mgs"
)

// Whatever a client sends, the channel goes on.
func TestGarbage(t *testing.T) {
	run(t, func(c *client) { c.answer = asOurs(80, 24) }, nil, func(l *lab) {
		_, _, _ = l.greet()
		junk := [][]byte{[]byte("{"), []byte("[]"), []byte("null"), {0}, []byte(`{"cols":"x"}`), bytes.Repeat([]byte("["), 100000)}
		go func() {
			for kind := range uint32(16) {
				for _, b := range junk {
					if kind != mgs.PayloadOutput {
						l.client.push <- payload{kind, b}
					}
				}
			}
			l.client.push <- payload{mgs.PayloadOutput, []byte("end")}
		}()
		for {
			p, err := l.ch.Next(l.ctx)
			if err != nil {
				t.Fatal(err)
			}
			if p.Type == mgs.PayloadOutput {
				break
			}
		}
		for _, b := range junk {
			l.toAgent(mgs.TypeAcknowledge, b)
			l.toAgent("no_such_type", b)
		}
		l.wire.toAgent <- []byte("no frame")
		if err := l.ch.Write(l.ctx, []byte("on")); err != nil {
			t.Fatal(err)
		}
		l.ch.Drain(l.ctx)
		if l.client.out.String() != "on" {
			t.Errorf("%q", l.client.out.String())
		}
	})
}

func FuzzPartial(f *testing.F) {
	f.Add([]byte("aé漢😀"))
	f.Add([]byte{0xe2, 0x82})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := partial(b)
		if n < 0 || n >= utf8.UTFMax || n > len(b) {
			t.Fatal(n)
		}
		if n > 0 && utf8.FullRune(b[len(b)-n:]) {
			t.Fatal("held back what is whole")
		}
	})
}
