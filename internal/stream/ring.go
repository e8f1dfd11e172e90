package stream

// ring is a first-in-first-out queue of packets that grows.
type ring struct {
	buf  []packet
	head int
	n    int
}

func (r *ring) len() int { return r.n }

// at returns the i-th from the front.
func (r *ring) at(i int) *packet { return &r.buf[(r.head+i)%len(r.buf)] }

func (r *ring) push(p packet) {
	if r.n == len(r.buf) {
		grown := make([]packet, max(8, 2*r.n))
		for i := range r.n {
			grown[i] = *r.at(i)
		}
		r.buf, r.head = grown, 0
	}
	r.n++
	*r.at(r.n - 1) = p
}

func (r *ring) pop() packet {
	p := *r.at(0)
	*r.at(0) = packet{} // lets go of the payload
	r.head = (r.head + 1) % len(r.buf)
	r.n--
	if r.n == 0 && len(r.buf) > 64 {
		*r = ring{} // a burst is over
	}
	return p
}
