package clienttest

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Proxy is a TCP proxy that breaks connections: at once by Cut, after a random
// number of bytes by CutEvery, or by swallowing all by Freeze. Either side may
// be behind it, the client as well as the agent.
type Proxy struct {
	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu       sync.Mutex
	rnd      *rand.Rand
	min, max int // bytes until a cut; 0: none
	left     int // cuts still to be made
	cuts     int
	frozen   chan struct{} // closed by Thaw; nil while not frozen
	open     map[*pair]bool
	changed  chan struct{} // closed and replaced at every cut
	closed   bool
}

// pair is a connection and its other half.
type pair struct{ from, to net.Conn }

func (p *pair) close(reset bool) {
	for _, c := range []net.Conn{p.from, p.to} {
		if t, ok := c.(*net.TCPConn); ok && reset {
			_ = t.SetLinger(0)
		}
		_ = c.Close()
	}
}

// NewProxy starts a proxy to the host and port target that lives until the
// test ends. Equal seeds draw equal numbers.
func NewProxy(tb testing.TB, target string, seed uint64) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{target: target, listener: l, rnd: rand.New(rand.NewPCG(seed, 1)), open: map[*pair]bool{}, changed: make(chan struct{})}
	p.wg.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Addr is the host and port to connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Rewrite makes a URL lead through the proxy.
func (p *Proxy) Rewrite(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	u.Host = p.Addr()
	return u.String()
}

// CutEvery cuts every connection opened from now on after minBytes to maxBytes
// in one of its directions, half of them with a reset, n times in all.
func (p *Proxy) CutEvery(minBytes, maxBytes, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.min, p.max, p.left = minBytes, maxBytes, n
}

// Cut breaks all connections now.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.close(p.rnd.IntN(2) == 0)
	}
	p.countLocked()
}

func (p *Proxy) countLocked() {
	p.cuts++
	close(p.changed)
	p.changed = make(chan struct{})
}

// Cuts is how often connections were cut.
func (p *Proxy) Cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

// AwaitCuts waits until there were n cuts, or false when done is closed first.
func (p *Proxy) AwaitCuts(n int, done <-chan struct{}) bool {
	for {
		p.mu.Lock()
		enough, changed := p.cuts >= n, p.changed
		p.mu.Unlock()
		if enough {
			return true
		}
		select {
		case <-changed:
		case <-done:
			return false
		}
	}
}

// Freeze keeps connections open but carries nothing any more, as a network
// that went away. What comes meanwhile is carried after Thaw.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen == nil {
		p.frozen = make(chan struct{})
	}
}

// Thaw ends Freeze.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}

func (p *Proxy) close() {
	p.Thaw()
	p.mu.Lock()
	p.closed = true
	_ = p.listener.Close()
	for c := range p.open {
		c.close(true)
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.carry(from) })
	}
}

func (p *Proxy) carry(from net.Conn) {
	to, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = from.Close()
		return
	}
	c := &pair{from, to}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		c.close(true)
		return
	}
	p.open[c] = true
	limit, up, reset := -1, false, false
	if p.left > 0 {
		p.left--
		limit, up, reset = p.min+p.rnd.IntN(p.max-p.min+1), p.rnd.IntN(2) == 0, p.rnd.IntN(2) == 0
	}
	p.mu.Unlock()
	limits := [2]int{-1, -1}
	if up {
		limits[0] = limit
	} else {
		limits[1] = limit
	}
	var wg sync.WaitGroup
	var once sync.Once
	end := func(cut bool) {
		once.Do(func() {
			c.close(cut && reset)
			if cut {
				p.mu.Lock()
				p.countLocked()
				p.mu.Unlock()
			}
		})
	}
	wg.Go(func() { end(errors.Is(p.copy(to, from, limits[0]), errCut)) })
	wg.Go(func() { end(errors.Is(p.copy(from, to, limits[1]), errCut)) })
	wg.Wait()
	p.mu.Lock()
	delete(p.open, c)
	p.mu.Unlock()
}

var errCut = errors.New("cut")

// copy carries bytes, at most limit of them when that is not negative.
func (p *Proxy) copy(to io.Writer, from io.Reader, limit int) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		frozen := p.frozen
		p.mu.Unlock()
		if frozen != nil {
			<-frozen
		}
		cut := limit >= 0 && n >= limit
		if cut {
			n = limit
		} else if limit >= 0 {
			limit -= n
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		if cut {
			return errCut
		}
		if err != nil {
			return err
		}
	}
}
