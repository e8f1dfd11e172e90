package stream

import "time"

// entry is one frame that has been pushed and not yet been acknowledged.
type entry struct {
	prev, next *entry
	seq        int64
	buf        []byte // the whole frame, the same at every transmission
	size       int    // of its payload

	sends     int // transmissions in all
	firstSent time.Time
	lastSent  time.Time
	backoff   uint8 // resends in a row by timeout
	// Numbers of transmissions, 0 for none: the first one, and the first resend
	// not yet used as a proof by doubt.
	firstWrite, again uint64

	doubts int // how often the path proved that the peer has it
}

// queue keeps the entries in order of sequence, and finds them by it. Entries
// with their buffers are used again.
type queue struct {
	head, tail *entry
	bySeq      map[int64]*entry
	free       *entry // linked by next
	freeBytes  int
	spare      int // bytes of buffers kept for re-use
}

// keepBytes bounds the buffers kept for re-use unless SetKeep says more, so that
// a burst does not hold its memory until the session ends.
const keepBytes = 128 << 10

// take returns a blank entry with room for a frame of n bytes.
func (q *queue) take(n int) *entry {
	e := q.free
	if e == nil {
		return &entry{buf: make([]byte, 0, n)}
	}
	q.free = e.next
	q.freeBytes -= cap(e.buf)
	buf := e.buf[:0]
	if cap(buf) < n {
		buf = make([]byte, 0, n)
	}
	*e = entry{buf: buf}
	return e
}

// give returns an entry that nobody looks at any more.
func (q *queue) give(e *entry) {
	if q.freeBytes+cap(e.buf) > q.spare {
		return
	}
	q.freeBytes += cap(e.buf)
	e.prev, e.next = nil, q.free
	q.free = e
}

func (q *queue) append(e *entry) {
	e.prev = q.tail
	if q.tail == nil {
		q.head = e
	} else {
		q.tail.next = e
	}
	q.tail = e
	q.bySeq[e.seq] = e
}

func (q *queue) remove(e *entry) {
	if e.prev == nil {
		q.head = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		q.tail = e.prev
	} else {
		e.next.prev = e.prev
	}
	delete(q.bySeq, e.seq)
}
