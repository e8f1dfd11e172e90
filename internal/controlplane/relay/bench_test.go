package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/coder/websocket"

	"ssmagent/internal/clock"
	"ssmagent/internal/wire/mgs"
)

// benchSides are both sides of a session, read by hand.
func benchSides(b *testing.B) (a, c *websocket.Conn) {
	b.Helper()
	l := newLab(b, clock.Real{})
	out := l.start()
	agent, client := l.agent(out.SessionId), dialSide(l, out.SessionId, "").text(clientHello(string(out.TokenValue)))
	l.sides(out.SessionId, true, true, true)
	return agent.conn, client.conn
}

func encoded(b *testing.B, kind string, size int) []byte {
	b.Helper()
	raw, err := newFrame(kind, 0, mgs.PayloadOutput, make([]byte, size)).Marshal()
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

// skip reads a message without keeping it.
func skip(c *websocket.Conn, buf []byte) error {
	_, r, err := c.Reader(context.Background())
	for err == nil {
		_, err = r.Read(buf)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// BenchmarkOutput is the way from the agent to the client, flat out. The test
// programs at both ends share the processors.
func BenchmarkOutput(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			agent, client := benchSides(b)
			raw := encoded(b, mgs.TypeOutputStreamData, size)
			done := make(chan error, 1)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			go func() {
				for n := range b.N {
					putSequence(raw, int64(n))
					if err := agent.Write(context.Background(), websocket.MessageBinary, raw); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
			buf := make([]byte, 128<<10)
			for range b.N {
				if err := skip(client, buf); err != nil {
					b.Fatal(err)
				}
			}
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}

func putSequence(raw []byte, n int64) {
	for i := range 8 {
		raw[atSequence+i] = byte(n >> (56 - 8*i))
	}
}

// BenchmarkEcho is a key from the client to the agent and back: two passes of
// the relay. Compare BenchmarkDirect, which has none.
func BenchmarkEcho(b *testing.B) {
	agent, client := benchSides(b)
	echo(b, agent, client)
}

// BenchmarkDirect is the same through two connections of an empty relay: each
// side is answered by the server at once.
func BenchmarkDirect(b *testing.B) {
	l := newLab(b, clock.Real{})
	out := l.start()
	client := l.client(out.SessionId, string(out.TokenValue))
	client.read()
	took := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for range b.N {
		at := time.Now()
		client.control(messagePing, "x")
		<-client.pong
		took = append(took, time.Since(at))
	}
	report(b, took)
}

func echo(b *testing.B, agent, client *websocket.Conn) {
	b.Helper()
	in, out := encoded(b, mgs.TypeInputStreamData, 1), encoded(b, mgs.TypeOutputStreamData, 1)
	go func() {
		buf := make([]byte, 4096)
		for n := int64(0); skip(agent, buf) == nil; n++ {
			putSequence(out, n)
			if agent.Write(context.Background(), websocket.MessageBinary, out) != nil {
				return
			}
		}
	}()
	buf := make([]byte, 4096)
	took := make([]time.Duration, 0, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		at := time.Now()
		putSequence(in, int64(n))
		if err := client.Write(context.Background(), websocket.MessageBinary, in); err != nil {
			b.Fatal(err)
		}
		if err := skip(client, buf); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(at))
	}
	report(b, took)
}

func report(b *testing.B, took []time.Duration) {
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
}
