// Package frame is the binary message that agent, gateway and session client
// exchange on every websocket after its first text message: 120 bytes of
// header at fixed offsets, then the payload. Integers are big-endian.
package frame

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// HeaderSize is the number of bytes before the payload.
const HeaderSize = 120

// headerLength is what the HeaderLength field says: the offset of the
// PayloadLength field, not of the payload (which starts four bytes later).
const headerLength = 116

// MaxSize bounds a whole frame, header included. The stock agent writes at
// most 142,000 bytes; a session peer that announced large frames writes less.
const MaxSize = 1 << 20

// maxMillis is the end of the year 9999, up to which times have a text form.
const maxMillis = 253402300799999

// SchemaVersion is the only version of the layout.
const SchemaVersion = 1

// Flags of stream messages. No receiver evaluates them; senders set them as
// the stock programs do.
const (
	FlagSYN = 1
	FlagFIN = 2
)

// ErrInvalid is wrapped by every error that Unmarshal returns.
var ErrInvalid = errors.New("invalid frame")

// Message is one frame. Created has millisecond resolution on the wire.
type Message struct {
	Type        string // at most 32 bytes, no surrounding blanks
	Created     time.Time
	Sequence    int64
	Flags       uint64
	ID          uuid.UUID
	PayloadType uint32
	Payload     []byte
	// DigestOK says whether the received digest was that of the payload. The
	// stock agent does not check it and some clients send another one, so a
	// wrong digest is for the receiver to judge. Marshal ignores it.
	DigestOK bool
}

// New returns a message of type t with a fresh random id, created now.
func New(t string, now time.Time, payload []byte) Message {
	return Message{Type: t, Created: now, ID: uuid.New(), Payload: payload, DigestOK: true}
}

// Marshal returns m's bytes, or an error that names the field at fault.
func (m Message) Marshal() ([]byte, error) { return m.Append(nil) }

// Append appends m's bytes to b.
func (m Message) Append(b []byte) ([]byte, error) {
	if err := checkType(m.Type); err != nil {
		return nil, fmt.Errorf("frame: %w", err)
	}
	switch {
	case m.Created.UnixMilli() <= 0 || m.Created.UnixMilli() > maxMillis:
		return nil, fmt.Errorf("frame: CreatedDate %v is not between 1970 and 9999", m.Created)
	case len(m.Payload) > MaxSize-HeaderSize:
		return nil, fmt.Errorf("frame: payload of %d bytes is over %d", len(m.Payload), MaxSize-HeaderSize)
	}
	var h [HeaderSize]byte
	be := binary.BigEndian
	be.PutUint32(h[0:], headerLength)
	copy(h[4:36], "                                ")
	copy(h[4:36], m.Type)
	be.PutUint32(h[36:], SchemaVersion)
	be.PutUint64(h[40:], uint64(m.Created.UnixMilli()))
	be.PutUint64(h[48:], uint64(m.Sequence))
	be.PutUint64(h[56:], m.Flags)
	copy(h[64:72], m.ID[8:]) // the halves are swapped on the wire
	copy(h[72:80], m.ID[:8])
	sum := sha256.Sum256(m.Payload)
	copy(h[80:112], sum[:])
	be.PutUint32(h[112:], m.PayloadType)
	be.PutUint32(h[116:], uint32(len(m.Payload)))
	return append(append(b, h[:]...), m.Payload...), nil
}

// Unmarshal decodes one whole frame. The payload aliases b. It is stricter
// than the stock reader where that one would crash: the header must be whole
// and both lengths must agree with the bytes that are there.
func Unmarshal(b []byte) (Message, error) {
	m, err := Trust(b)
	if err != nil {
		return Message{}, err
	}
	sum := sha256.Sum256(m.Payload)
	m.DigestOK = bytes.Equal(sum[:], b[80:112])
	return m, nil
}

// Trust is Unmarshal for frames of a peer that is known to make digests of what
// it sends: none is made here, which is a quarter of the work, and DigestOK is
// taken for granted.
func Trust(b []byte) (Message, error) {
	be := binary.BigEndian
	switch {
	case len(b) < HeaderSize:
		return Message{}, fmt.Errorf("%w: %d bytes, a header has %d", ErrInvalid, len(b), HeaderSize)
	case len(b) > MaxSize:
		return Message{}, fmt.Errorf("%w: %d bytes, at most %d are taken", ErrInvalid, len(b), MaxSize)
	case be.Uint32(b) != headerLength:
		return Message{}, fmt.Errorf("%w: HeaderLength %d, must be %d", ErrInvalid, be.Uint32(b), headerLength)
	case uint64(be.Uint32(b[116:])) != uint64(len(b)-HeaderSize):
		return Message{}, fmt.Errorf("%w: PayloadLength says %d, %d bytes are there", ErrInvalid, be.Uint32(b[116:]), len(b)-HeaderSize)
	}
	m := Message{
		Type:        trim(string(b[4:36])),
		Sequence:    int64(be.Uint64(b[48:])),
		Flags:       be.Uint64(b[56:]),
		PayloadType: be.Uint32(b[112:]),
		Payload:     b[HeaderSize:],
	}
	ms := be.Uint64(b[40:])
	if err := checkType(m.Type); err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if ms == 0 || ms > maxMillis {
		return Message{}, fmt.Errorf("%w: CreatedDate %d ms is out of range", ErrInvalid, ms)
	}
	m.Created = time.UnixMilli(int64(ms)).UTC()
	copy(m.ID[8:], b[64:72])
	copy(m.ID[:8], b[72:80])
	m.DigestOK = true
	return m, nil
}

// checkType wants a name that comes back as it went and can be shown.
func checkType(t string) error {
	switch {
	case t == "" || len(t) > 32:
		return fmt.Errorf("MessageType has %d bytes, need 1 to 32", len(t))
	case trim(t) != t:
		return fmt.Errorf("MessageType %q has blanks at an end", t)
	case !utf8.ValidString(t) || strings.ContainsFunc(t, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("MessageType %q is not printable", t)
	}
	return nil
}

// trim strips what the stock reader strips: NULs at both ends, then blanks.
func trim(s string) string {
	return strings.TrimFunc(strings.Trim(s, "\x00"), unicode.IsSpace)
}
