package stream

import (
	"fmt"
	"slices"
	"time"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"

	"github.com/google/uuid"
)

// ReceiverConfig says what a Receiver takes. Sizes of 0 take their defaults.
type ReceiverConfig struct {
	// Type is mgs.TypeOutputStreamData or mgs.TypeInputStreamData.
	Type string
	// QueueBytes and QueueFrames bound what waits in order for Next; what waits
	// out of order is bounded by the same again. (At the worst, when all of
	// the latter comes into order at once, it is three times as much.)
	QueueBytes  int
	QueueFrames int
	// AckAhead is how many bytes of payload are acknowledged before Next takes
	// them; negative for none. What is beyond is acknowledged when taken, which
	// slows the peer down to the reader's pace.
	AckAhead int
	// NewID makes message ids; nil for random ones.
	NewID func() uuid.UUID
}

// Kind is what became of an accepted frame.
type Kind int

// The kinds of outcome.
const (
	InOrder    Kind = iota // Next has it, and perhaps more that waited for it
	OutOfOrder             // kept until the ones before it come
	Duplicate              // had it before
)

// Outcome tells of an accepted frame.
type Outcome struct {
	Kind Kind
	// BadDigest: the payload is not what its sender made the digest of. Stock
	// agents do not look; neither is the frame refused here.
	BadDigest bool
}

// packet is a received payload.
type packet struct {
	payloadType uint32
	payload     []byte
	id          uuid.UUID
	acked       bool
}

// remembered is of how many frames the Receiver knows which they were.
const remembered = 16

// numbered is what a sequence number was given to.
type numbered struct {
	seq         int64
	id          uuid.UUID
	payloadType uint32
}

// Receiver is the receiving half. Its owner gives it frames by Accept, takes
// payloads in order by Next, and writes what Ack hands out.
type Receiver struct {
	cfg ReceiverConfig
	ids ids

	expected int64 // sequence of the next frame in order
	ready    ring  // the frames before expected, not yet taken
	bytes    int   // payload in ready

	early      map[int64]packet // frames after expected, all acknowledged
	earlyBytes int

	acks      []pendingAck
	ackHead   int
	owed      int  // payload in bytes that acks are for
	pressing  bool // one of acks must not wait
	ackBuf    []byte
	ackJSON   []byte
	taken     []byte   // the payload that Next handed out last
	free      [][]byte // payload buffers to use again
	freeBytes int
	spare     int // bytes of buffers kept for re-use

	numbered [remembered]numbered // the frames before expected, by sequence

	cipher     Cipher // nil: payloads come as they are
	sealedOnly bool   // without a cipher, secrets are thrown away
	forged     error  // why a payload could not be opened
}

// NewReceiver returns a Receiver that expects sequence 0, or an error when
// c.Type is wrong.
func NewReceiver(c ReceiverConfig) (*Receiver, error) {
	if err := checkType(c.Type); err != nil {
		return nil, err
	}
	orDefault(&c.QueueBytes, DefaultQueueBytes, 1<<30)
	orDefault(&c.QueueFrames, DefaultQueueFrames, 1<<20)
	if c.AckAhead == 0 {
		c.AckAhead = DefaultAckAhead
	}
	return &Receiver{cfg: c, ids: newIDs(c.NewID), early: map[int64]packet{}, spare: keepBytes}, nil
}

// Accept takes a frame, copying its payload, or refuses it with an error that
// wraps one of the package's reasons.
func (r *Receiver) Accept(m frame.Message) (Outcome, error) {
	o := Outcome{BadDigest: !m.DigestOK}
	switch {
	case m.Type != r.cfg.Type:
		return o, fmt.Errorf("stream: message of type %q, not %s: %w", m.Type, r.cfg.Type, ErrNotStream)
	case m.Sequence < 0 || m.Sequence-r.expected >= int64(r.cfg.QueueFrames):
		return o, fmt.Errorf("stream: sequence number %d, %d is expected: %w", m.Sequence, r.expected, ErrOutOfWindow)
	case m.Sequence < r.expected && !r.sharesNumber(m):
		o.Kind = Duplicate
		r.again(m)
		return o, nil
	case m.Sequence > r.expected:
		return r.keep(m, o)
	case r.full():
		return o, fmt.Errorf("stream: frame %d waits for its reader: %w", m.Sequence, ErrQueueFull)
	}
	p := r.packet(m)
	if r.bytes+len(p.payload) <= r.cfg.AckAhead {
		p.acked = true
		r.acknowledge(m.Sequence, m.ID)
		r.owed += len(p.payload)
		r.pressing = r.pressing || m.PayloadType != mgs.PayloadOutput
	}
	r.push(p)
	r.promote()
	return o, nil
}

// sharesNumber says whether m is no repetition, but another message than the
// one that had its number. The stock plugin numbers without a lock, so two that
// it sends at the same time (what is typed, a new size, the word on leaving) can
// get one number, and the next number is then left out: m takes that one.
// Repetitions keep their id, and the plugin sends data from one place only.
func (r *Receiver) sharesNumber(m frame.Message) bool {
	was := r.numbered[m.Sequence%remembered]
	if r.cfg.Type != mgs.TypeInputStreamData || was.seq != m.Sequence || was.payloadType == m.PayloadType {
		return false
	}
	_, given := r.early[r.expected]
	return !given && !slices.ContainsFunc(r.numbered[:], func(n numbered) bool { return n.id == m.ID })
}

// full says whether the queue in order takes no more. A single frame fits
// always.
func (r *Receiver) full() bool {
	return r.ready.len() > 0 && (r.bytes >= r.cfg.QueueBytes || r.ready.len() >= r.cfg.QueueFrames)
}

// again acknowledges a duplicate again, unless it has not been acknowledged
// yet because nobody has taken it.
func (r *Receiver) again(m frame.Message) {
	i := m.Sequence - (r.expected - int64(r.ready.len()))
	if i >= 0 && !r.ready.at(int(i)).acked {
		return
	}
	r.acknowledge(m.Sequence, m.ID)
	r.pressing = true
}

// keep stores a frame that came too early and acknowledges it at once, so that
// its sender sees which ones are missing.
func (r *Receiver) keep(m frame.Message, o Outcome) (Outcome, error) {
	r.pressing = true
	if _, ok := r.early[m.Sequence]; ok {
		o.Kind = Duplicate
		r.acknowledge(m.Sequence, m.ID)
		return o, nil
	}
	if r.earlyBytes > 0 && r.earlyBytes+len(m.Payload) > r.cfg.QueueBytes {
		return o, fmt.Errorf("stream: frame %d came before %d: %w", m.Sequence, r.expected, ErrQueueFull)
	}
	p := r.packet(m)
	p.acked = true
	r.early[m.Sequence] = p
	r.earlyBytes += len(p.payload)
	r.acknowledge(m.Sequence, m.ID)
	o.Kind = OutOfOrder
	return o, nil
}

// promote moves what has come into order behind the rest.
func (r *Receiver) promote() {
	for len(r.early) > 0 {
		p, ok := r.early[r.expected]
		if !ok {
			return
		}
		delete(r.early, r.expected)
		r.earlyBytes -= len(p.payload)
		r.push(p)
	}
}

func (r *Receiver) push(p packet) {
	r.numbered[r.expected%remembered] = numbered{r.expected, p.id, p.payloadType}
	r.ready.push(p)
	r.bytes += len(p.payload)
	r.expected++
}

func (r *Receiver) packet(m frame.Message) packet {
	var buf []byte
	if n := len(r.free); n > 0 && cap(r.free[n-1]) >= len(m.Payload) {
		buf, r.free = r.free[n-1][:0], r.free[:n-1]
		r.freeBytes -= cap(buf)
	}
	return packet{payloadType: m.PayloadType, payload: append(buf, m.Payload...), id: m.ID}
}

// Next takes the next payload in order, which makes room for another and may
// make an acknowledgement due. The bytes are valid until Next is called again.
func (r *Receiver) Next() (payloadType uint32, payload []byte, ok bool) {
	for r.forged == nil {
		p, seq, ok := r.next()
		switch {
		case !ok:
			return 0, nil, false
		case !secret(p.payloadType):
			return p.payloadType, p.payload, true
		case r.cipher != nil:
			if p.payload, r.forged = r.cipher.Open(p.payload); r.forged == nil {
				return p.payloadType, p.payload, true
			}
			r.forged = fmt.Errorf("stream: payload of type %d in frame %d: %w", p.payloadType, seq, r.forged)
		case !r.sealedOnly:
			return p.payloadType, p.payload, true
		}
	}
	return 0, nil, false
}

// next takes the next packet as it came.
func (r *Receiver) next() (p packet, seq int64, ok bool) {
	r.recycle()
	if r.ready.len() == 0 {
		return packet{}, 0, false
	}
	seq = r.expected - int64(r.ready.len())
	p = r.ready.pop()
	r.bytes -= len(p.payload)
	if !p.acked {
		r.acknowledge(seq, p.id)
		r.owed += len(p.payload)
	}
	r.taken = p.payload
	return p, seq, true
}

// recycle keeps the buffer of the payload taken last, up to a few.
func (r *Receiver) recycle() {
	if c := cap(r.taken); c > 0 && r.freeBytes+c <= r.spare {
		r.freeBytes += c
		r.free = append(r.free, r.taken)
	}
	r.taken = nil
}

// Waiting is the payload in bytes that Next has yet to take.
func (r *Receiver) Waiting() int { return r.bytes }

// Ack hands out the next acknowledgement to write, a whole frame that is valid
// until Ack is called again. Call until it says false.
func (r *Receiver) Ack(now time.Time) ([]byte, bool) {
	if r.ackHead == len(r.acks) {
		return nil, false
	}
	a := r.acks[r.ackHead]
	r.ackHead++
	if r.ackHead == len(r.acks) {
		r.acks, r.ackHead = r.acks[:0], 0
		r.owed, r.pressing = 0, false
	}
	r.ackJSON = appendAck(r.ackJSON[:0], r.cfg.Type, a.id, a.seq)
	buf, err := ackFrame(r.ackBuf[:0], now, r.ids.id(), r.ackJSON)
	if err != nil { // only a clock before 1970 can do that
		return nil, false
	}
	r.ackBuf = buf
	return buf, true
}
