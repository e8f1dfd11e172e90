package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"ssmagent/internal/wire/frame"
)

// Opcodes that the library writes for whoever names them as a message type.
// Its own Ping and automatic pong wait for locks and peers; ours must not.
const (
	messagePing = websocket.MessageType(0x9)
	messagePong = websocket.MessageType(0xA)
)

// Sizes of the buffer that a socket reads frames into. It grows with what
// comes and is given back when it has grown beyond keepBuffer.
const (
	firstBuffer = 2 << 10
	keepBuffer  = 128 << 10
	maxExtra    = 256 // frames of ours, of a few hundred bytes each
)

// socket is one side's websocket.
type socket struct {
	agent bool
	conn  *websocket.Conn
	link  *link
	log   *slog.Logger

	heard atomic.Int64  // when the peer last gave a sign, in Unix nanoseconds
	held  atomic.Bool   // its reader waits for the other side
	pongs chan []byte   // pings to be answered; the last one counts
	extra chan []byte   // frames of ours for the keeper to send
	done  chan struct{} // closed when the socket is closed
	gone  chan struct{} // closed when its reader has ended
	once  sync.Once

	mu  sync.Mutex // one writer at a time; held while a peer takes its time
	buf []byte     // of the reader
}

// read returns the next message. It is good until the next call.
func (s *socket) read() ([]byte, error) {
	_, r, err := s.conn.Reader(context.Background())
	if err != nil {
		return nil, err
	}
	if s.buf == nil || len(s.buf) > keepBuffer {
		s.buf = make([]byte, firstBuffer)
	}
	n := 0
	for {
		k, err := r.Read(s.buf[n:])
		n += k
		if errors.Is(err, io.EOF) {
			return s.buf[:n], nil
		}
		if err != nil {
			return nil, err
		}
		if n == len(s.buf) {
			bigger := make([]byte, min(4*len(s.buf), frame.MaxSize+1))
			copy(bigger, s.buf)
			s.buf = bigger
		}
	}
}

// gather writes a frame that goes out with the next flush, or before when
// there is no room. It may wait for the peer.
func (s *socket) gather(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn.Write(context.Background(), websocket.MessageBinary, b)
}

func (s *socket) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link.flush()
}

// send writes a frame out.
func (s *socket) send(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.conn.Write(context.Background(), websocket.MessageBinary, b), s.link.flush())
}

// control writes a ping or pong, unless the socket is busy with other writes:
// a peer that is being written to needs no ping.
func (s *socket) control(kind websocket.MessageType, payload []byte) error {
	if !s.mu.TryLock() {
		return nil
	}
	defer s.mu.Unlock()
	return errors.Join(s.conn.Write(context.Background(), kind, payload), s.link.flush())
}

// pong answers a ping, and waits for other writes.
func (s *socket) pong(payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.conn.Write(context.Background(), messagePong, payload), s.link.flush())
}

// pinged has a ping answered by the keeper. It is called by the reader.
func (s *socket) pinged(payload []byte) {
	for {
		select {
		case s.pongs <- payload:
			return
		default:
		}
		select {
		case <-s.pongs:
		default:
		}
	}
}

func (s *socket) sign(now time.Time) { s.heard.Store(now.UnixNano()) }

// close ends the socket; it waits for nobody. The library's own close waits
// for the reader, which calls it when it has ended.
func (s *socket) close() {
	s.once.Do(func() {
		close(s.done)
		_ = s.link.Conn.Close()
	})
}
