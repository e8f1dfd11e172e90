package stream

import (
	"slices"
	"time"

	"ssmagent/internal/wire/frame"
)

// maxSpans bounds the memory of a Repair. Acknowledgements come nearly in
// order, so that a few spans hold all of a session.
const maxSpans = 4096

// span is a run of acknowledged sequence numbers, both ends included.
type span struct{ first, last int64 }

// Repair is the memory of a relay for one direction: it knows which frames the
// receiver has acknowledged, and makes up the acknowledgement that got lost
// when such a frame passes again (session-protocol 14.9). The zero value is
// ready.
type Repair struct {
	spans []span // ascending, apart from each other
	ids   *ids
}

// Saw notes that the acknowledgement of seq passes.
func (p *Repair) Saw(seq int64) {
	if seq < 0 {
		return
	}
	i, found := p.find(seq)
	if found {
		return
	}
	joinsLeft := i > 0 && p.spans[i-1].last == seq-1
	joinsRight := i < len(p.spans) && p.spans[i].first == seq+1
	switch {
	case joinsLeft && joinsRight:
		p.spans[i-1].last = p.spans[i].last
		p.spans = slices.Delete(p.spans, i, i+1)
	case joinsLeft:
		p.spans[i-1].last = seq
	case joinsRight:
		p.spans[i].first = seq
	default:
		p.spans = slices.Insert(p.spans, i, span{seq, seq})
		if len(p.spans) > maxSpans {
			p.spans = slices.Delete(p.spans, 0, 1)
		}
	}
}

// find returns the index of the first span that ends at seq or later, and
// whether seq is in it.
func (p *Repair) find(seq int64) (int, bool) {
	i, _ := slices.BinarySearchFunc(p.spans, seq, func(s span, seq int64) int {
		if s.last < seq {
			return -1
		}
		return 1
	})
	return i, i < len(p.spans) && p.spans[i].first <= seq
}

// Passing looks at a stream message on its way to the receiver. When it has
// been acknowledged already it returns the acknowledgement to send back instead
// of relaying m.
func (p *Repair) Passing(now time.Time, m frame.Message) ([]byte, bool) {
	if _, acked := p.find(m.Sequence); !acked {
		return nil, false
	}
	if p.ids == nil {
		g := newIDs(nil)
		p.ids = &g
	}
	b, err := AcknowledgeFrame(nil, now, p.ids.id(), m)
	return b, err == nil
}

// Spans returns what has been acknowledged as pairs of first and last sequence
// number, to be kept over a restart and given to Restore.
func (p *Repair) Spans() [][2]int64 {
	out := make([][2]int64, len(p.spans))
	for i, s := range p.spans {
		out[i] = [2]int64{s.first, s.last}
	}
	return out
}

// Restore takes the place of what is known with what Spans gave. What makes no
// sense is left out.
func (p *Repair) Restore(spans [][2]int64) {
	p.spans = nil
	for _, s := range spans {
		ordered := len(p.spans) == 0 || s[0] > p.spans[len(p.spans)-1].last+1
		if s[0] >= 0 && s[1] >= s[0] && ordered && len(p.spans) < maxSpans {
			p.spans = append(p.spans, span{s[0], s[1]})
		}
	}
}
