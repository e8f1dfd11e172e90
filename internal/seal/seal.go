// Package seal encrypts the payloads of a session with a data key that the two
// ends share: AES-256-GCM, one half of the key for each direction, the nonce in
// front of what it was used for. It knows nothing of messages nor of KMS.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// KeySize is the size of a data key in bytes.
	KeySize = 64
	// Overhead is by how many bytes a sealed payload is longer.
	Overhead = nonceSize + tagSize
	// ChallengeSize is how many random bytes prove that both ends have the key.
	ChallengeSize = 64

	half      = KeySize / 2
	nonceSize = 12
	tagSize   = 16
)

// ErrForged says that a payload was not sealed with the session's key, or was
// changed since.
var ErrForged = errors.New("it was not sealed with the session's key")

// Cipher seals for one direction and opens the other. There is one caller of
// Seal at a time; Open may be called at any time.
type Cipher struct {
	out, in cipher.AEAD
	nonce   [nonceSize]byte
}

// ForAgent returns the agent's end: it seals with the first half of the key.
func ForAgent(key []byte) (*Cipher, error) { return newCipher(key, 0) }

// ForClient returns the client's end: it seals with the second half.
func ForClient(key []byte) (*Cipher, error) { return newCipher(key, half) }

func newCipher(key []byte, own int) (*Cipher, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("the data key has %d bytes, it must have %d", len(key), KeySize)
	}
	c := &Cipher{}
	var err error
	if c.out, err = gcm(key[own : own+half]); err != nil {
		return nil, err
	}
	if c.in, err = gcm(key[half-own : KeySize-own]); err != nil {
		return nil, err
	}
	// Counted from a random value: never the same twice under one key, however
	// many there are.
	_, _ = rand.Read(c.nonce[:]) // never fails
	return c, nil
}

func gcm(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("data key: %w", err)
	}
	a, err := cipher.NewGCM(b)
	if err != nil {
		return nil, fmt.Errorf("data key: %w", err)
	}
	return a, nil
}

// Seal appends plain, sealed, to dst, which must not overlap it.
func (c *Cipher) Seal(dst, plain []byte) []byte {
	dst = append(dst, c.nonce[:]...)
	dst = c.out.Seal(dst, c.nonce[:], plain, nil)
	c.step()
	return dst
}

// step counts the nonce up: three words, the first the lowest, each with its
// low byte first, as stock agents do.
func (c *Cipher) step() {
	for i := 0; i < nonceSize; i += 4 {
		word := binary.LittleEndian.Uint32(c.nonce[i:]) + 1
		binary.LittleEndian.PutUint32(c.nonce[i:], word)
		if word != 0 {
			return
		}
	}
}

// Open returns what sealed holds, in its place. The error wraps ErrForged.
func (c *Cipher) Open(sealed []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, fmt.Errorf("%d bytes are no sealed payload: %w", len(sealed), ErrForged)
	}
	plain, err := c.in.Open(sealed[nonceSize:nonceSize], sealed[:nonceSize], sealed[nonceSize:], nil)
	if err != nil {
		return nil, ErrForged
	}
	return plain, nil
}

// NewChallenge returns random bytes for the other end to give back.
func NewChallenge() []byte {
	b := make([]byte, ChallengeSize)
	_, _ = rand.Read(b) // never fails
	return b
}
