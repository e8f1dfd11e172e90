// Package mux has what our agent and our client add to smux, the protocol that
// carries many connections through one session: how one says that a connection
// broke off. In smux a FIN is the end of one direction, and nothing says that
// nobody listens any more; a second FIN of the same connection says it between
// the two of us. Other programs send no second one, and ignore ours.
package mux

import "encoding/binary"

// Sizes of frames.
const (
	headerSize = 8
	// Segment is how much goes into one frame between our own two ends, and
	// StockSegment otherwise: with its header it fills a payload of the session,
	// of 64 and 32 KiB.
	Segment      = 64<<10 - headerSize
	StockSegment = 32<<10 - headerSize
)

const (
	commandFIN = 1
	commandNOP = 3
)

// Sign is a sign of life, a frame of its own between others, in the first
// version of the protocol.
func Sign() []byte { return []byte{1, commandNOP, 0, 0, 0, 0, 0, 0} }

// maxEnds bounds the connections of which an end is remembered.
const maxEnds = 8 << 10

// Stream is one connection.
type Stream interface {
	CloseWrite() error
	Close() error
}

// Abort ends a connection so that the other end knows that something is
// missing.
func Abort(s Stream) {
	_ = s.CloseWrite() // the first FIN, unless it was sent
	_ = s.Close()      // the second
}

// Watcher looks at the frames that come from the other end, and calls Aborted
// with the id of each connection that broke off there. It is for one goroutine.
type Watcher struct {
	Aborted func(id uint32)

	header [headerSize]byte
	have   int
	skip   int
	ends   map[uint32]struct{}
}

// Saw takes what was read next.
func (w *Watcher) Saw(b []byte) {
	for len(b) > 0 {
		if w.skip > 0 {
			n := min(w.skip, len(b))
			w.skip -= n
			b = b[n:]
			continue
		}
		n := copy(w.header[w.have:], b)
		b = b[n:]
		if w.have += n; w.have == headerSize {
			w.have = 0
			w.frame()
		}
	}
}

// frame deals with a whole header.
func (w *Watcher) frame() {
	w.skip = int(binary.LittleEndian.Uint16(w.header[2:]))
	id := binary.LittleEndian.Uint32(w.header[4:])
	if w.header[1] != commandFIN {
		return
	}
	if _, again := w.ends[id]; again {
		delete(w.ends, id)
		w.Aborted(id)
		return
	}
	if w.ends == nil || len(w.ends) >= maxEnds {
		w.ends = map[uint32]struct{}{} // those of long ago
	}
	w.ends[id] = struct{}{}
}
