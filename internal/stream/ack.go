package stream

import (
	"bytes"
	"strconv"
	"time"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"

	"github.com/google/uuid"
)

// maxPendingAcks bounds the acknowledgements that wait for a writer. One more
// is dropped: the peer sends its frame again, and that is acknowledged anew.
const maxPendingAcks = 16384

type pendingAck struct {
	seq int64
	id  uuid.UUID
}

// AckDelay is how long an acknowledgement that may wait does so, for a frame to
// travel with: what comes back to a key is mostly there before. Peers that know
// no delay send nothing again before a multiple of it has passed.
const AckDelay = 5 * time.Millisecond

// Bounds of what an acknowledgement may wait beside.
const (
	maxPatientAcks  = 8
	maxPatientBytes = DefaultWindowBytes / 4
)

// AckWaits says whether Ack has something, and patient whether that may wait
// for AckDelay: a few frames of output or input in order. What is out of order
// or comes twice, much at a time, and what says how things stand, does not.
func (r *Receiver) AckWaits() (waits, patient bool) {
	n := len(r.acks) - r.ackHead
	return n > 0, !r.pressing && n < maxPatientAcks && r.owed < maxPatientBytes
}

func (r *Receiver) acknowledge(seq int64, id uuid.UUID) {
	if len(r.acks)-r.ackHead >= maxPendingAcks {
		return
	}
	if r.ackHead > 64 && r.ackHead*2 >= len(r.acks) {
		n := copy(r.acks, r.acks[r.ackHead:])
		r.acks, r.ackHead = r.acks[:n], 0
	}
	r.acks = append(r.acks, pendingAck{seq, id})
}

// AcknowledgeFrame is the whole frame that acknowledges m, appended to b.
func AcknowledgeFrame(b []byte, now time.Time, id uuid.UUID, m frame.Message) ([]byte, error) {
	return ackFrame(b, now, id, appendAck(nil, m.Type, m.ID, m.Sequence))
}

func ackFrame(b []byte, now time.Time, id uuid.UUID, payload []byte) ([]byte, error) {
	m := frame.Message{Type: mgs.TypeAcknowledge, Created: now, Flags: frame.FlagSYN | frame.FlagFIN, ID: id, Payload: payload}
	return m.Append(b)
}

// appendAck appends an mgs.Acknowledge as JSON: there is one for every frame.
func appendAck(b []byte, messageType string, id uuid.UUID, seq int64) []byte {
	var text [36]byte
	encodeUUID(&text, id)
	b = append(b, `{"AcknowledgedMessageType":"`...)
	b = append(b, messageType...)
	b = append(b, `","AcknowledgedMessageId":"`...)
	b = append(b, text[:]...)
	b = append(b, `","AcknowledgedMessageSequenceNumber":`...)
	b = strconv.AppendInt(b, seq, 10)
	return append(b, `,"IsSequentialMessage":true}`...)
}

// ackedSequence reads the sequence number of an mgs.Acknowledge. What both
// stock programs and we write is read at sight, all else by the decoder.
func ackedSequence(payload []byte) (int64, error) {
	if seq, ok := canonicalAck(payload); ok {
		return seq, nil
	}
	a, err := mgs.Decode[mgs.Acknowledge](payload)
	return a.AcknowledgedMessageSequenceNumber, err
}

func canonicalAck(b []byte) (seq int64, ok bool) {
	word := func(text string) bool {
		rest, found := bytes.CutPrefix(b, []byte(text))
		b = rest
		return found
	}
	run := func(in func(c byte) bool) []byte {
		i := 0
		for i < len(b) && in(b[i]) {
			i++
		}
		head := b[:i]
		b = b[i:]
		return head
	}
	if !word(`{"AcknowledgedMessageType":"`) {
		return 0, false
	}
	run(func(c byte) bool { return 'a' <= c && c <= 'z' || c == '_' })
	if !word(`","AcknowledgedMessageId":"`) {
		return 0, false
	}
	run(func(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || c == '-' })
	if !word(`","AcknowledgedMessageSequenceNumber":`) {
		return 0, false
	}
	digits := run(func(c byte) bool { return '0' <= c && c <= '9' })
	if len(digits) == 0 || len(digits) > 18 || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	for _, c := range digits {
		seq = seq*10 + int64(c-'0')
	}
	return seq, string(b) == `,"IsSequentialMessage":true}`
}

func encodeUUID(dst *[36]byte, id uuid.UUID) {
	const digits = "0123456789abcdef"
	j := 0
	for i, c := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst[j] = '-'
			j++
		}
		dst[j], dst[j+1] = digits[c>>4], digits[c&15]
		j += 2
	}
}
