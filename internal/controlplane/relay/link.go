package relay

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Sizes of a socket's buffers.
const (
	readBuffer  = 16 << 10
	writeBuffer = 32 << 10
)

// writePatience is how long a write may take. A peer that takes nothing for so
// long is gone, or nobody will come back to it.
const writePatience = 10 * time.Minute

// link is the connection below a websocket. Once corked it gathers what is
// written until it is flushed, so that many frames cost one system call; and
// before it waits for bytes it calls idle, where the other side is flushed.
type link struct {
	net.Conn
	prefix []byte // received with the request
	idle   func() // called by the reading goroutine; may be nil
	hurry  atomic.Bool

	mu      sync.Mutex
	corked  bool
	buf     []byte // nil while nothing is gathered
	buffers *sync.Pool
}

// upgrade lends a websocket library the connection of a request as a link.
type upgrade struct {
	http.ResponseWriter
	link    *link
	buffers *sync.Pool
}

// Hijack implements http.Hijacker.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take over the connection: %w", err)
	}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered()) // what is there is no error
	u.link = &link{Conn: conn, prefix: append([]byte{}, early...), buffers: u.buffers}
	// The library's own writer holds no more than a websocket header.
	return u.link, bufio.NewReadWriter(bufio.NewReaderSize(u.link, readBuffer), bufio.NewWriterSize(u.link, 16)), nil
}

// Read implements net.Conn.
func (l *link) Read(p []byte) (int, error) {
	if len(l.prefix) > 0 {
		n := copy(p, l.prefix)
		l.prefix = l.prefix[n:]
		return n, nil
	}
	if l.idle != nil {
		l.idle()
	}
	return l.Conn.Read(p)
}

// Write implements net.Conn.
func (l *link) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.corked {
		return l.Conn.Write(p)
	}
	if len(l.buf)+len(p) > writeBuffer {
		if err := l.flushLocked(); err != nil {
			return 0, err
		}
		if len(p) >= writeBuffer {
			l.patience()
			return l.Conn.Write(p)
		}
	}
	if l.buf == nil {
		l.buf = (*l.buffers.Get().(*[]byte))[:0]
	}
	l.buf = append(l.buf, p...)
	return len(p), nil
}

func (l *link) cork() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.corked = true
}

func (l *link) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flushLocked()
}

func (l *link) flushLocked() error {
	if l.buf == nil {
		return nil
	}
	var err error
	if len(l.buf) > 0 {
		l.patience()
		_, err = l.Conn.Write(l.buf)
	}
	full := l.buf[:writeBuffer]
	l.buf = nil
	l.buffers.Put(&full)
	return err
}

// patience gives the next write its time. It is real time: the kernel counts
// it.
func (l *link) patience() {
	if l.hurry.Load() {
		return
	}
	_ = l.Conn.SetWriteDeadline(time.Now().Add(writePatience)) // fails when closed, as the write will
	if l.hurry.Load() {                                        // since then: ours overwrote the shorter one
		_ = l.Conn.SetWriteDeadline(time.Now().Add(farewell))
	}
}

// hasten gives all writes together, also one under way, at most d.
func (l *link) hasten(d time.Duration) {
	l.hurry.Store(true)
	_ = l.Conn.SetWriteDeadline(time.Now().Add(d))
}
