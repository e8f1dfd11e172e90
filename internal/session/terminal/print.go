package terminal

import (
	"io"
	"sync"
	"time"
)

const (
	// readSize is what a terminal gives at once, on Linux 4 KiB at most.
	readSize = 8 << 10
	// bulkSize is how much must come within bulkWithin to be called bulk.
	bulkSize   = 2 << 10
	bulkWithin = 2 * time.Millisecond
	// enough of bulk is worth a frame, and linger bounds the wait for it.
	enough = outputSize / 2
	linger = time.Millisecond
)

// printer hands on what a terminal prints: at once what a person waits for,
// and in large frames what comes flat out, since everybody on the way to the
// person works by the frame.
type printer struct {
	c    *child
	kind kind
	lost func() // called when nobody is left to print for

	mu     sync.Mutex
	more   sync.Cond // on mu: there is something to do for flush
	room   sync.Cond // on mu: there may be room in buf
	buf    []byte    // frame under construction, its header reserved
	spare  []byte
	bulk   bool
	due    bool // what there is must not wait any longer
	flying bool // flush is writing
	end    bool
	failed bool
	last   time.Time // of the last frame
	timer  *time.Timer
}

func newPrinter(c *child, k kind, lost func()) *printer {
	p := &printer{c: c, kind: k, lost: lost, buf: make([]byte, headerSize, headerSize+outputSize)}
	p.more.L, p.room.L = &p.mu, &p.mu
	p.timer = time.AfterFunc(time.Hour, func() {
		p.mu.Lock()
		p.due = true
		p.more.Signal()
		p.mu.Unlock()
	})
	return p
}

// run prints until the terminal's end.
func (p *printer) run(r io.Reader) {
	var wg sync.WaitGroup
	wg.Go(p.flush)
	b := make([]byte, headerSize+readSize)
	for {
		n, err := r.Read(b[headerSize:])
		if n > 0 && !p.direct(b[:headerSize+n]) {
			p.add(b[headerSize : headerSize+n])
		}
		if err != nil {
			break
		}
	}
	p.mu.Lock()
	p.end = true
	p.more.Signal()
	p.mu.Unlock()
	wg.Wait()
	p.timer.Stop()
}

// direct writes b, with room for its header, when it is not part of a mass and
// nothing goes before it.
func (p *printer) direct(b []byte) bool {
	p.mu.Lock()
	now := time.Now()
	n := len(b) - headerSize
	p.bulk = n+len(p.buf)-headerSize >= bulkSize && now.Sub(p.last) < bulkWithin
	if p.bulk || p.flying || p.failed || len(p.buf) > headerSize {
		p.mu.Unlock()
		return false
	}
	p.last = now
	p.mu.Unlock()
	p.write(b)
	return true
}

// add puts b behind what waits.
func (p *printer) add(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(b) > 0 && !p.failed {
		n := min(len(b), headerSize+outputSize-len(p.buf))
		if n == 0 {
			p.room.Wait()
			continue
		}
		if len(p.buf) == headerSize {
			p.timer.Reset(linger)
		}
		p.buf = append(p.buf, b[:n]...)
		b = b[n:]
		if !p.bulk || len(p.buf) >= enough {
			p.more.Signal()
		}
	}
}

// flush writes what waits, as soon as it is worth it.
func (p *printer) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for !p.end && (len(p.buf) == headerSize || p.bulk && !p.due && len(p.buf) < enough) {
			p.due = p.due && len(p.buf) > headerSize
			p.more.Wait()
		}
		if len(p.buf) == headerSize {
			return
		}
		if p.spare == nil {
			p.spare = make([]byte, headerSize, headerSize+outputSize)
		}
		b := p.buf
		p.buf, p.spare = p.spare[:headerSize], b
		p.due, p.flying, p.last = false, true, time.Now()
		p.room.Signal()
		p.mu.Unlock()
		p.write(b)
		p.mu.Lock()
		p.flying = false
	}
}

// write writes a frame whose payload begins behind its header.
func (p *printer) write(b []byte) {
	header(b[:0], p.kind, len(b)-headerSize)
	p.c.outMu.Lock()
	_, err := p.c.out.Write(b)
	p.c.outMu.Unlock()
	if err == nil {
		return
	}
	p.mu.Lock()
	first := !p.failed
	p.failed = true
	p.room.Signal()
	p.mu.Unlock()
	if first {
		p.lost()
	}
}
