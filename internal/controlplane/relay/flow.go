package relay

import "sync"

// maxSparse bounds the acknowledgements remembered out of order; stock clients
// acknowledge at most 10,000 messages ahead.
const maxSparse = 16384

// flow is what the relay knows of one direction of a session.
type flow struct {
	mu     sync.Mutex
	newest int64 // the highest sequence number that passed, -1 for none
	acks   acks
}

func newFlow() *flow { return &flow{newest: -1} }

// pass notes a message. fresh: it is no retransmission. acked: its receiver
// has acknowledged it before.
func (f *flow) pass(sequence int64) (fresh, acked bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if sequence > f.newest {
		f.newest = sequence
		return true, false
	}
	return false, f.acks.has(sequence)
}

// acked notes an acknowledgement by the direction's receiver.
func (f *flow) acked(sequence int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acks.add(sequence)
}

// owed says whether the receiver has not acknowledged all that passed: it may
// be busy instead of gone.
func (f *flow) owed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newest >= 0 && !f.acks.has(f.newest)
}

// acks is a set of sequence numbers: those in [from, to), and a few others.
type acks struct {
	from, to int64
	sparse   map[int64]struct{}
}

func (a *acks) has(n int64) bool {
	if n >= a.from && n < a.to {
		return true
	}
	_, ok := a.sparse[n]
	return ok
}

func (a *acks) add(n int64) {
	switch {
	case a.has(n):
	case a.from == a.to:
		a.from, a.to = n, n+1
	case n == a.to:
		a.to++
	case n == a.from-1:
		a.from--
	case len(a.sparse) < maxSparse:
		if a.sparse == nil {
			a.sparse = map[int64]struct{}{}
		}
		a.sparse[n] = struct{}{}
		return
	}
	a.absorb()
}

// absorb moves what has become adjacent into the interval.
func (a *acks) absorb() {
	for len(a.sparse) > 0 {
		if _, ok := a.sparse[a.to]; ok {
			delete(a.sparse, a.to)
			a.to++
		} else if _, ok := a.sparse[a.from-1]; ok {
			a.from--
			delete(a.sparse, a.from)
		} else {
			return
		}
	}
}
