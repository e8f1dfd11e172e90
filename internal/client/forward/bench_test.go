package forward

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// timeout is long enough for what is under way to come to rest.
func timeout() <-chan time.Time { return time.After(300 * time.Millisecond) }

// BenchmarkDown and BenchmarkUp carry one connection: destination, agent's end,
// gateway and client in one process.
func BenchmarkDown(b *testing.B) {
	const chunk = 1 << 20
	l := newLab(b, labOptions{dial: server(b, func(c *net.TCPConn) {
		text := make([]byte, chunk)
		for {
			if _, err := c.Write(text); err != nil {
				return
			}
		}
	})})
	c := l.dial()
	_ = c.SetDeadline(time.Time{})
	b.SetBytes(chunk)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.CopyN(io.Discard, c, chunk); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUp(b *testing.B) {
	const chunk = 1 << 20
	l := newLab(b, labOptions{dial: server(b, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })})
	c := l.dial()
	_ = c.SetDeadline(time.Time{})
	text := make([]byte, chunk)
	b.SetBytes(chunk)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(text); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkConnect measures from the connection to the destination's first byte.
func BenchmarkConnect(b *testing.B) {
	l := newLab(b, labOptions{dial: server(b, func(c *net.TCPConn) {
		_, _ = c.Write([]byte("x"))
		_, _ = c.Read(make([]byte, 1))
	})})
	l.await(Opened)
	var all []time.Duration
	for b.Loop() {
		began := time.Now()
		c, err := net.Dial("tcp", l.addr.String())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		all = append(all, time.Since(began))
		c.Close()
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-us")
}
