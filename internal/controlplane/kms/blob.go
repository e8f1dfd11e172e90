package kms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
)

// A sealed blob is its header, the version and the key's id, then nonce,
// ciphertext and tag. Header and encryption context are sealed with it.
const (
	blobVersion = 1
	headerSize  = 1 + 16
	nonceSize   = 12
	tagSize     = 16
)

// errBlob marks what was not sealed here, or not for this.
var errBlob = errors.New("the ciphertext is not one that was sealed here with this encryption context, or it was changed")

func sealBlob(keyID string, secret, plain []byte, context map[string]string) ([]byte, error) {
	id, err := uuid.Parse(keyID)
	if err != nil {
		return nil, fmt.Errorf("key id: %w", err)
	}
	aead, err := newAEAD(secret)
	if err != nil {
		return nil, err
	}
	blob := append([]byte{blobVersion}, id[:]...)
	nonce := make([]byte, nonceSize)
	_, _ = rand.Read(nonce) // never fails
	blob = append(blob, nonce...)
	return aead.Seal(blob, nonce, plain, associated(blob[:headerSize], context)), nil
}

// blobKey is the id of the key that a blob says it was sealed with.
func blobKey(blob []byte) (string, error) {
	if len(blob) < headerSize+nonceSize+tagSize || blob[0] != blobVersion {
		return "", errBlob
	}
	return uuid.UUID(blob[1:headerSize]).String(), nil
}

func openBlob(secret, blob []byte, context map[string]string) ([]byte, error) {
	if _, err := blobKey(blob); err != nil {
		return nil, err
	}
	aead, err := newAEAD(secret)
	if err != nil {
		return nil, err
	}
	nonce, sealed := blob[headerSize:headerSize+nonceSize], blob[headerSize+nonceSize:]
	plain, err := aead.Open([]byte{}, nonce, sealed, associated(blob[:headerSize], context))
	if err != nil {
		return nil, errBlob
	}
	return plain, nil
}

func newAEAD(secret []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("key material: %w", err)
	}
	return cipher.NewGCM(block)
}

// associated is header and context in one way only: the context's members in
// the order of their names, each text behind its length.
func associated(header []byte, context map[string]string) []byte {
	b := slices.Clone(header)
	for _, name := range slices.Sorted(maps.Keys(context)) {
		for _, text := range []string{name, context[name]} {
			b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
			b = append(b, text...)
		}
	}
	return b
}
