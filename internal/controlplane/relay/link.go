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
	writeBuffer = 256 << 10 // and what is read at once while much comes
)

// writePatience is how long a write may take. A peer that takes nothing for so
// long is gone, or nobody will come back to it.
const writePatience = 10 * time.Minute

// link is the connection below a websocket. Once corked it gathers what is
// written until it is flushed, so that many frames cost one system call; and
// before it waits for bytes it calls idle, where the other side is flushed.
type link struct {
	net.Conn
	ahead []byte  // received and not yet read, at first with the request
	room  *[]byte // where ahead lies; nil when that is not lent
	much  bool    // a whole readBuffer came last
	idle  func()  // called by the reading goroutine; may be nil
	hurry atomic.Bool

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
	u.link = &link{Conn: conn, ahead: append([]byte{}, early...), buffers: u.buffers}
	// The library's own writer holds no more than a websocket header.
	return u.link, bufio.NewReadWriter(bufio.NewReaderSize(u.link, readBuffer), bufio.NewWriterSize(u.link, 16)), nil
}

// Read implements net.Conn.
func (l *link) Read(p []byte) (int, error) {
	if len(l.ahead) == 0 {
		if l.idle != nil {
			l.idle()
		}
		if !l.much {
			n, err := l.Conn.Read(p)
			l.much = n >= readBuffer
			return n, err
		}
		if err := l.readAhead(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.ahead)
	if l.ahead = l.ahead[n:]; len(l.ahead) == 0 && l.room != nil {
		l.buffers.Put(l.room)
		l.room = nil
	}
	return n, nil
}

// readAhead takes all that has come, so that many frames are one system call
// here and one where they go.
func (l *link) readAhead() error {
	room := l.buffers.Get().(*[]byte)
	n, err := l.Conn.Read(*room)
	l.much = n >= readBuffer
	if n == 0 { // an error that came with bytes will come again
		l.buffers.Put(room)
		return err
	}
	l.room, l.ahead = room, (*room)[:n]
	return nil
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
