package client

import (
	"slices"
	"testing"
	"time"

	"ssmagent/internal/client/clienttest"
	"ssmagent/internal/wire/mgs"
)

// BenchmarkEcho types a key and waits for its echo, over a websocket on the
// loopback: client, gateway and agent in one process, no relay between.
func BenchmarkEcho(b *testing.B) {
	d := clienttest.NewDouble(b, clienttest.Options{})
	s := start(b, options(d))
	<-s.Ready()
	go func() {
		for {
			typ, p, ok := d.Recv()
			if !ok || !d.Send(typ, p) {
				return
			}
		}
	}()
	key := []byte("x")
	var all []time.Duration
	for b.Loop() {
		t := time.Now()
		if _, err := s.TryWrite(mgs.PayloadOutput, key); err != nil {
			b.Fatal(err)
		}
		if len(collect(b, s, 1)) != 1 {
			b.Fatal("no echo")
		}
		all = append(all, time.Since(t))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-us")
}

// BenchmarkThroughput prints and types as fast as goes.
func BenchmarkThroughput(b *testing.B) {
	const chunk = 256 << 10
	for _, tc := range []struct {
		name  string
		style clienttest.Style
	}{{"large", clienttest.Ours}, {"stock", clienttest.Stock}} {
		b.Run("output/"+tc.name, func(b *testing.B) {
			d := clienttest.NewDouble(b, clienttest.Options{Style: tc.style})
			s := start(b, options(d))
			<-s.Ready()
			text := make([]byte, chunk)
			go func() {
				for d.Send(mgs.PayloadOutput, text) {
				}
			}()
			b.SetBytes(chunk)
			b.ReportAllocs()
			over := 0
			for b.Loop() {
				n := over
				for n < chunk {
					m, err := s.Next(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					n += len(m.Payload)
				}
				over = n - chunk
			}
		})
		b.Run("input/"+tc.name, func(b *testing.B) {
			d := clienttest.NewDouble(b, clienttest.Options{Style: tc.style})
			s := start(b, options(d))
			<-s.Ready()
			go func() {
				for {
					if _, _, ok := d.Recv(); !ok {
						return
					}
				}
			}()
			text := make([]byte, chunk)
			b.SetBytes(chunk)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Write(b.Context(), mgs.PayloadOutput, text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
