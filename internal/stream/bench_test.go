package stream

import (
	"bytes"
	"strconv"
	"testing"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// BenchmarkLink moves payload from one end to the other and acknowledges it,
// encoding and decoding included.
func BenchmarkLink(b *testing.B) {
	for _, size := range []int{1024, 32 << 10} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			src, err := NewLink(SenderConfig{Type: mgs.TypeOutputStreamData, PayloadSize: size}, ReceiverConfig{Type: mgs.TypeInputStreamData})
			if err != nil {
				b.Fatal(err)
			}
			dst, err := NewLink(SenderConfig{Type: mgs.TypeInputStreamData}, ReceiverConfig{Type: mgs.TypeOutputStreamData})
			if err != nil {
				b.Fatal(err)
			}
			chunk := bytes.Repeat([]byte("x"), 32<<10)
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			for b.Loop() {
				if n, err := src.Push(t0, 1, chunk); n != len(chunk) || err != nil {
					b.Fatal(n, err)
				}
				relay(b, src, dst)
				got := 0
				for _, p, ok := dst.Next(); ok; _, p, ok = dst.Next() {
					got += len(p)
				}
				relay(b, dst, src)
				if got != len(chunk) || !src.Drained() {
					b.Fatal("lost")
				}
			}
		})
	}
}

func relay(b *testing.B, from, to Link) {
	for f, ok := from.Write(t0); ok; f, ok = from.Write(t0) {
		m, err := frame.Unmarshal(f)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := to.Handle(t0, m); err != nil {
			b.Fatal(err)
		}
	}
}
