package relay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// kind is what the relay has to know of a frame's type.
type kind int

const (
	other kind = iota
	output
	input
	ack
	state
)

// Types as stock programs write them: 32 bytes, filled with blanks.
const (
	paddedOutput = "output_stream_data              "
	paddedInput  = "input_stream_data               "
	paddedAck    = "acknowledge                     "
	paddedState  = "agent_session_state             "
)

// Offsets in a frame's header (reference: layout of the binary frame).
const (
	atLength   = 0
	atType     = 4
	atCreated  = 40
	atSequence = 48
	atID       = 64
	atPayload  = 116
	// headerField is what the length field of every frame says.
	headerField = 116
)

// head reads what the relay needs of a frame and checks what would make a
// stock reader stop for good. The digest is left to the receiver: hashing
// would cost more than relaying.
func head(b []byte) (kind, int64, error) {
	be := binary.BigEndian
	switch {
	case len(b) < frame.HeaderSize:
		return other, 0, fmt.Errorf("%w: %d bytes, a header has %d", frame.ErrInvalid, len(b), frame.HeaderSize)
	case be.Uint32(b[atLength:]) != headerField:
		return other, 0, fmt.Errorf("%w: HeaderLength %d, must be %d", frame.ErrInvalid, be.Uint32(b[atLength:]), headerField)
	case uint64(be.Uint32(b[atPayload:])) != uint64(len(b)-frame.HeaderSize):
		return other, 0, fmt.Errorf("%w: PayloadLength says %d, %d bytes are there", frame.ErrInvalid, be.Uint32(b[atPayload:]), len(b)-frame.HeaderSize)
	case be.Uint64(b[atCreated:]) == 0:
		return other, 0, fmt.Errorf("%w: CreatedDate is missing", frame.ErrInvalid)
	}
	sequence := int64(be.Uint64(b[atSequence:]))
	k := kindOf(b[atType : atType+32])
	if (k == output || k == input) && (sequence < 0 || len(b) == frame.HeaderSize) {
		return other, 0, fmt.Errorf("%w: a stream message with sequence number %d and %d bytes of payload", frame.ErrInvalid, sequence, len(b)-frame.HeaderSize)
	}
	return k, sequence, nil
}

func kindOf(field []byte) kind {
	switch string(field) {
	case paddedOutput:
		return output
	case paddedInput:
		return input
	case paddedAck:
		return ack
	case paddedState:
		return state
	}
	switch typeOf(field) { // filled with something else than blanks
	case mgs.TypeOutputStreamData:
		return output
	case mgs.TypeInputStreamData:
		return input
	case mgs.TypeAcknowledge:
		return ack
	case mgs.TypeAgentSessionState:
		return state
	}
	return other
}

func typeOf(field []byte) string {
	return strings.TrimFunc(string(bytes.Trim(field, "\x00")), unicode.IsSpace)
}

// idOf is the frame's message id, whose halves are swapped.
func idOf(b []byte) (id uuid.UUID) {
	copy(id[8:], b[atID:atID+8])
	copy(id[:8], b[atID+8:atID+16])
	return id
}

var ackMember = []byte(`"AcknowledgedMessageSequenceNumber":`)

// ackedSequence is the one member of an acknowledgement that counts. It is
// looked for as every program writes it, and decoded only when it is not found
// like that.
func ackedSequence(payload []byte) (int64, bool) {
	if i := bytes.Index(payload, ackMember); i >= 0 {
		if n, ok := digits(payload[i+len(ackMember):]); ok {
			return n, true
		}
	}
	a, err := mgs.Decode[mgs.Acknowledge](payload)
	return a.AcknowledgedMessageSequenceNumber, err == nil && a.AcknowledgedMessageSequenceNumber >= 0
}

// digits reads a number that ends like a member of a JSON object.
func digits(b []byte) (n int64, ok bool) {
	for i, c := range b {
		switch {
		case c >= '0' && c <= '9' && i < 18:
			n = n*10 + int64(c-'0')
		case c == ',' || c == '}':
			return n, i > 0
		default:
			return 0, false
		}
	}
	return 0, false
}
