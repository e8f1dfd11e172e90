// Package stream makes one direction of a session's data channel reliable:
// sequence numbers, acknowledgements, retransmission by measured round trip,
// reordering and duplicates, all in bounded memory. It is logic of bytes and
// times only: its owner holds the sockets, the timers and the lock. Nothing in
// it is safe for concurrent use.
package stream

import (
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"

	"github.com/google/uuid"
)

// Sizes that hold when a Config leaves them 0.
const (
	// DefaultPayloadSize is what stock programs write at most in one frame.
	DefaultPayloadSize = 1024
	// DefaultWindowBytes bounds the payload a Sender keeps unacknowledged.
	DefaultWindowBytes = 1 << 20
	// DefaultWindowFrames stays below the 10,000 messages that the stock
	// plugin buffers out of order.
	DefaultWindowFrames = 4096
	// DefaultQueueBytes bounds the payload a Receiver holds for its reader. It
	// is over DefaultWindowBytes, so that what one of our senders may send
	// always fits.
	DefaultQueueBytes = 2 << 20
	// DefaultQueueFrames bounds the same by number.
	DefaultQueueFrames = 8192
	// DefaultAckAhead is the payload acknowledged before it was read: all that
	// a person types, little of what a program pastes.
	DefaultAckAhead = 64 << 10
)

// MaxPayloadSize is the largest payload that a frame can carry.
const MaxPayloadSize = frame.MaxSize - frame.HeaderSize

// Reasons for which a Receiver refuses a frame. A refused frame is not
// acknowledged: its sender will send it again.
var (
	// ErrNotStream says that the frame belongs to another direction or is no
	// stream message at all.
	ErrNotStream = errors.New("not a message of this stream")
	// ErrOutOfWindow says that the sequence number is negative or too far
	// ahead of the one expected.
	ErrOutOfWindow = errors.New("sequence number out of window")
	// ErrQueueFull says that the reader has not yet taken what came before.
	ErrQueueFull = errors.New("receive queue is full")
)

// ErrTooLarge says that a payload can never fit into one frame or one window.
var ErrTooLarge = errors.New("payload too large")

// ids makes version 4 message ids, or takes them from a test's function. Ids
// have to differ, not to be secret, so one seed from the system serves all.
type ids struct {
	next func() uuid.UUID
	rnd  *rand.ChaCha8
}

func newIDs(next func() uuid.UUID) ids {
	if next != nil {
		return ids{next: next}
	}
	var seed [32]byte
	crand.Read(seed[:]) // never fails: the runtime ends the program instead
	return ids{rnd: rand.NewChaCha8(seed)}
}

func (g *ids) id() uuid.UUID {
	if g.next != nil {
		return g.next()
	}
	var u uuid.UUID
	_, _ = g.rnd.Read(u[:]) // ChaCha8 never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

func checkType(t string) error {
	if t != mgs.TypeInputStreamData && t != mgs.TypeOutputStreamData {
		return fmt.Errorf("stream: message type %q is neither %s nor %s", t, mgs.TypeInputStreamData, mgs.TypeOutputStreamData)
	}
	return nil
}

func orDefault(v *int, def, limit int) {
	if *v <= 0 {
		*v = def
	}
	*v = min(*v, limit)
}

// earliest returns the earlier of two times of which zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
