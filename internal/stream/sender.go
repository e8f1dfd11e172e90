package stream

import (
	"fmt"
	"math"
	"time"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"

	"github.com/google/uuid"
)

// SenderConfig says what a Sender sends. Sizes of 0 take their defaults.
type SenderConfig struct {
	// Type is mgs.TypeOutputStreamData or mgs.TypeInputStreamData.
	Type         string
	PayloadSize  int // bytes per frame of what Push cuts up
	WindowBytes  int
	WindowFrames int
	// NewID makes message ids; nil for random ones.
	NewID func() uuid.UUID
}

const (
	maxBackoff = 6              // doublings of the timeout, in any case below its limit
	noWrite    = math.MaxUint64 // the number of no transmission
)

// Sender is the sending half. Its owner pushes payload while Room says so,
// and writes what Due hands out, at the latest when NextDue says so. Frames are
// kept, unchanged, until they are acknowledged.
type Sender struct {
	cfg SenderConfig
	ids ids
	rto Estimator
	q   queue

	nextSeq  int64
	unsent   *entry // from here to the tail nothing was sent on this connection
	lent     *entry // what Due handed out last
	lentGone bool   // it has been acknowledged meanwhile
	acked    int64  // highest sequence acknowledged, -1 for none

	// What counts against the window, doubtful frames left out.
	bytes, frames int

	paused    bool
	resumed   time.Time // of the last Resume: older times tell nothing of the path
	progress  time.Time // of the last acknowledgement, Resume or first Push
	writes    uint64    // transmissions in all
	unproved  uint64    // the first resend that no acknowledgement has judged; see doubt
	trial     trial
	forgetful bool
	probed    bool // the window was exceeded, and nothing has happened since

	cipher     Cipher // nil: payloads go as they are
	sealedOnly bool   // without a cipher, secrets do not go
	sealed     []byte // the last one sealed
}

// NewSender returns a Sender at sequence 0, or an error when c.Type is wrong.
func NewSender(c SenderConfig) (*Sender, error) {
	if err := checkType(c.Type); err != nil {
		return nil, err
	}
	orDefault(&c.PayloadSize, DefaultPayloadSize, MaxPayloadSize)
	orDefault(&c.WindowBytes, max(DefaultWindowBytes, c.PayloadSize), 1<<30)
	orDefault(&c.WindowFrames, DefaultWindowFrames, 1<<20)
	c.WindowBytes = max(c.WindowBytes, c.PayloadSize)
	s := &Sender{cfg: c, ids: newIDs(c.NewID), rto: NewEstimator(), acked: -1, unproved: noWrite}
	s.q.bySeq, s.q.spare = map[int64]*entry{}, keepBytes
	return s, nil
}

// SetPayloadSize changes the size in bytes of frames pushed from now on, for a
// peer that announced that it takes larger ones. The window must hold one.
func (s *Sender) SetPayloadSize(n int) error {
	if n <= 0 || n > min(MaxPayloadSize, s.cfg.WindowBytes) {
		return fmt.Errorf("stream: payload size %d is not between 1 and %d: %w", n, min(MaxPayloadSize, s.cfg.WindowBytes), ErrTooLarge)
	}
	s.cfg.PayloadSize = n
	return nil
}

// PayloadSize is the size in bytes at which Push cuts.
func (s *Sender) PayloadSize() int { return s.cfg.PayloadSize }

// RTO is the estimator, to look at.
func (s *Sender) RTO() Estimator { return s.rto }

// Room is how many bytes Push would take now.
func (s *Sender) Room(now time.Time) int {
	room := s.cfg.WindowBytes - s.bytes
	frames := s.cfg.WindowFrames - s.frames
	if room <= 0 || frames <= 0 {
		if s.mayProbe(now) {
			return s.cfg.PayloadSize
		}
		return 0
	}
	if room/s.cfg.PayloadSize < frames {
		return room
	}
	return frames * s.cfg.PayloadSize
}

// Push takes as much of b as the window has room for, cut into frames of
// payloadType, and returns how many bytes that was. The caller keeps the rest
// and pushes it again when Room allows; b may be re-used at once.
func (s *Sender) Push(now time.Time, payloadType uint32, b []byte) (int, error) {
	taken := 0
	for taken < len(b) {
		n := min(len(b)-taken, s.cfg.PayloadSize, s.Room(now))
		if n == 0 {
			break
		}
		if err := s.add(now, payloadType, b[taken:taken+n]); err != nil {
			return taken, err
		}
		taken += n
	}
	return taken, nil
}

// PushWhole takes b as the payload of one frame, whatever the payload size (a
// handshake, a size, a sealed blob), or nothing of it. Empty payloads are
// refused: no stock program can write one.
func (s *Sender) PushWhole(now time.Time, payloadType uint32, b []byte) (bool, error) {
	switch {
	case len(b) == 0:
		return false, fmt.Errorf("stream: empty payload of type %d", payloadType)
	case len(b) > MaxPayloadSize:
		return false, fmt.Errorf("stream: payload of %d bytes does not fit into a frame, at most %d do: %w", len(b), MaxPayloadSize, ErrTooLarge)
	case s.frames == 0: // alone it may be larger than the window
	case s.cfg.WindowBytes-s.bytes < len(b) || s.cfg.WindowFrames <= s.frames:
		if !s.mayProbe(now) {
			return false, nil
		}
	}
	if err := s.add(now, payloadType, b); err != nil {
		return false, err
	}
	return true, nil
}

func (s *Sender) add(now time.Time, payloadType uint32, b []byte) error {
	switch {
	case !secret(payloadType):
	case s.cipher != nil:
		s.sealed = s.cipher.Seal(s.sealed[:0], b)
		b = s.sealed
	case s.sealedOnly:
		return fmt.Errorf("stream: payload of type %d: %w", payloadType, ErrUnsealed)
	}
	m := frame.Message{Type: s.cfg.Type, Created: now, Sequence: s.nextSeq, ID: s.ids.id(), PayloadType: payloadType, Payload: b}
	if s.nextSeq == 0 && s.cfg.Type == mgs.TypeOutputStreamData {
		m.Flags = frame.FlagSYN // as the stock agent does; nobody looks
	}
	e := s.q.take(frame.HeaderSize + len(b))
	buf, err := m.Append(e.buf)
	if err != nil {
		s.q.give(e)
		return fmt.Errorf("stream: frame %d: %w", s.nextSeq, err)
	}
	e.seq, e.buf, e.size = s.nextSeq, buf, len(b)
	s.nextSeq++
	if s.frames == 0 {
		s.progress = now
	}
	s.bytes += e.size
	s.frames++
	s.probed = s.bytes > s.cfg.WindowBytes || s.frames > s.cfg.WindowFrames
	s.q.append(e)
	if s.unsent == nil {
		s.unsent = e
	}
	return nil
}

// Due hands out the next frame to write: what was not yet sent on this
// connection in order, else what is overdue for an acknowledgement. The bytes
// are valid, and the frame counts as being written, until Due is called again:
// one writer at a time. Call until it says false.
func (s *Sender) Due(now time.Time) ([]byte, bool) {
	if s.lent != nil && s.lentGone {
		s.q.give(s.lent)
	}
	s.lent, s.lentGone = nil, false
	if s.paused {
		return nil, false
	}
	e := s.unsent
	if e != nil {
		if s.onTrial() && now.Before(s.trialEnds()) {
			return nil, false
		}
		s.trial.left -= e.size
		s.unsent = e.next
	} else if e = s.overdue(now); e == nil {
		return nil, false
	} else {
		e.backoff = min(e.backoff+1, maxBackoff)
	}
	s.writes++
	if e.sends > 0 && e.again == 0 {
		e.again = s.writes
		s.unproved = min(s.unproved, e.again)
	}
	if e.sends == 0 {
		e.firstWrite, e.firstSent = s.writes, now
	}
	e.sends++
	e.lastSent = now
	s.lent = e
	return e.buf, true
}

// overdue returns the first frame whose time to be sent again has come.
func (s *Sender) overdue(now time.Time) *entry {
	for e := s.q.head; e != nil; e = s.nextSuspect(e) {
		if !s.due(e).After(now) {
			return e
		}
	}
	return nil
}

// nextSuspect returns the entry after e if it may be lost, not only late. The
// oldest one may (doubtful ones do not count as such), and all that were
// overtaken by an acknowledged one: the others wait behind those.
func (s *Sender) nextSuspect(e *entry) *entry {
	if e.next == nil || e.doubts == 0 && e.next.seq > s.acked {
		return nil
	}
	return e.next
}

// due is when e, already sent on this connection, is to be sent again.
func (s *Sender) due(e *entry) time.Time {
	wait := max(s.rto.Timeout(), minResend)
	limit := maxRTO
	if e.doubts > 0 {
		limit *= 4
	}
	return e.lastSent.Add(min(wait<<e.backoff, limit))
}

// NextDue is when Due has something next: zero for never (as things stand), a
// time in the past for at once. Every other method changes it. While anything
// awaits acknowledgement it comes within a few seconds; ask Room again then,
// for it may have grown by time alone (SetForgetful).
func (s *Sender) NextDue() time.Time {
	if s.paused || s.q.head == nil {
		return time.Time{}
	}
	switch {
	case s.unsent != nil && s.onTrial():
		return s.trialEnds()
	case s.unsent != nil:
		return time.Unix(0, 1)
	}
	next := time.Time{}
	for e := s.q.head; e != nil; e = s.nextSuspect(e) {
		next = earliest(next, s.due(e))
	}
	return next
}

// IsDue says that Due has something now. After an acknowledgement it may: behind
// a frame that was lost lie others that are overdue, and a trial may be over.
func (s *Sender) IsDue(now time.Time) bool {
	due := s.NextDue()
	return !due.IsZero() && !due.After(now)
}

// Resume starts over on a new connection: all that is unacknowledged becomes
// due, the oldest first, before anything pushed later; a little at once, the
// rest with the first acknowledgement or without it after a time (see trial).
// The writer of the old connection must have ended. It ends a pause.
func (s *Sender) Resume(now time.Time) {
	s.paused, s.probed = false, false
	s.resumed, s.progress = now, now
	s.trial.begin(s.writes == 0)
	s.unsent = s.q.head
	for e := s.q.head; e != nil; e = e.next {
		e.backoff = 0
	}
}

// Pause stops Due until Start, Resume or an acknowledgement (7.6); Push goes
// on until the window is full.
func (s *Sender) Pause() { s.paused = true }

// Start ends a pause. Any stream message of the peer does as well.
func (s *Sender) Start(now time.Time) {
	if s.paused {
		s.paused = false
		s.progress = now
		s.resumed = now // what lay still meanwhile is no measure of the path
	}
}

// Paused says whether Due is stopped.
func (s *Sender) Paused() bool { return s.paused }

// Drained says that nothing awaits acknowledgement.
func (s *Sender) Drained() bool { return s.frames == 0 }

// Pending is the payload in bytes, and the number of the frames, that await
// acknowledgement.
func (s *Sender) Pending() (bytes, frames int) { return s.bytes, s.frames }

// Acknowledge takes the acknowledgement of sequence seq. It says whether a
// frame that was sent awaited it: an acknowledgement of anything else, whoever
// made it up, has no effect but to end a pause.
func (s *Sender) Acknowledge(now time.Time, seq int64) bool {
	s.Start(now)
	e := s.q.bySeq[seq]
	if e == nil || e.sends == 0 {
		return false
	}
	// A frame sent before the path changed, or held back by a pause, would
	// measure the interruption. One sent twice is measured from its first
	// transmission: better too long than for ever too short.
	if e.firstSent.After(s.resumed) {
		s.rto.Sample(now.Sub(e.firstSent))
	}
	s.acked = max(s.acked, seq)
	s.trial.on = false
	s.progress, s.probed = now, false
	if s.forgetful {
		s.doubt(e)
	}
	s.drop(e)
	return true
}

// drop forgets an entry.
func (s *Sender) drop(e *entry) {
	if s.unsent == e {
		s.unsent = e.next
	}
	if e.doubts == 0 {
		s.bytes -= e.size
		s.frames--
	}
	s.q.remove(e)
	if e == s.lent {
		s.lentGone = true // its buffer may still be on its way out
		return
	}
	s.q.give(e)
}
