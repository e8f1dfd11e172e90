package stream

import (
	"errors"

	"ssmagent/internal/wire/mgs"
)

// ErrUnsealed says that a payload would have gone as it is where it must be
// sealed.
var ErrUnsealed = errors.New("there is no key yet to seal it with")

// Cipher seals the payloads of one end and opens those of the other;
// *seal.Cipher is one.
type Cipher interface {
	// Seal appends plain, sealed, to dst.
	Seal(dst, plain []byte) []byte
	// Open returns what sealed holds; it may do so in its place.
	Open(sealed []byte) ([]byte, error)
}

// secret says which payloads a Cipher is for: what programs and people write.
// The handshake, sizes and flags stay as they are, as stock programs have it.
func secret(payloadType uint32) bool {
	switch payloadType {
	case mgs.PayloadOutput, mgs.PayloadStdErr, mgs.PayloadExitCode:
		return true
	}
	return false
}

// SetCipher has payloads that are pushed from now on sealed, and those opened
// that Next takes from now on. Frames get longer than the payload size by what
// sealing adds, as those of stock programs do.
func (l Link) SetCipher(c Cipher) { l.Sender.cipher, l.Receiver.cipher = c, c }

// RequireCipher refuses to send what a Cipher is for until there is one, and
// throws away what comes of it, as stock agents do before there is a key.
func (l Link) RequireCipher() { l.Sender.sealedOnly, l.Receiver.sealedOnly = true, true }

// Forged says why a payload could not be opened, once that has happened: Next
// has given nothing since, and will not.
func (r *Receiver) Forged() error { return r.forged }
