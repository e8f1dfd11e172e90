// Package signature checks the OpenPGP signatures of packages: the one inside a
// deb or an rpm, or one that lies beside any other file.
package signature

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

var (
	// ErrUnsigned says that there is no signature to check.
	ErrUnsigned = errors.New("it is not signed")
	// ErrUntrusted says that another key has signed.
	ErrUntrusted = errors.New("it is signed by a key that is not trusted")
	// ErrAltered says that the signature is not of this content.
	ErrAltered = errors.New("it was changed after it was signed")
	// ErrFormat says that a file is not what its name says.
	ErrFormat = errors.New("it is damaged or no package")
)

// maxKeys bounds a file of keys in bytes, maxSignature a signature.
const (
	maxKeys      = 1 << 20
	maxSignature = 64 << 10
)

// Keys are the keys that are trusted.
type Keys struct{ ring openpgp.EntityList }

// ReadKeys reads public keys, in armour or not.
func ReadKeys(b []byte) (Keys, error) {
	if len(b) > maxKeys {
		return Keys{}, fmt.Errorf("the keys have %d bytes, at most %d are read", len(b), maxKeys)
	}
	read := openpgp.ReadKeyRing
	if bytes.Contains(b, []byte("-----BEGIN PGP")) {
		read = openpgp.ReadArmoredKeyRing
	}
	ring, err := read(bytes.NewReader(b))
	if err != nil {
		return Keys{}, fmt.Errorf("read the public key (gpg --armor --export prints one): %w", err)
	}
	if len(ring) == 0 {
		return Keys{}, errors.New("read the public key (gpg --armor --export prints one): there is none in it")
	}
	return Keys{ring}, nil
}

// String names the keys by their fingerprints.
func (k Keys) String() string {
	var all []string
	for _, e := range k.ring {
		all = append(all, fmt.Sprintf("%X", e.PrimaryKey.Fingerprint))
	}
	return strings.Join(all, ", ")
}

// Inside says whether packages with such a name have their signature inside.
// Of all others it lies beside them.
func Inside(name string) bool {
	ext := path.Ext(name)
	return ext == ".deb" || ext == ".rpm"
}

// Check checks the package called name and returns who signed it. beside is the
// detached signature, for names that Inside says no to.
func (k Keys) Check(name string, content, beside []byte, now time.Time) (signer string, err error) {
	var signed, signature []byte
	switch path.Ext(name) {
	case ".deb":
		signed, signature, err = debian(content)
	case ".rpm":
		signed, signature, err = rpm(content)
	default:
		signed, signature = content, beside
	}
	if err != nil {
		return "", err
	}
	return k.verify(signed, signature, now)
}

// verify checks a detached signature, in armour or not.
func (k Keys) verify(signed, signature []byte, now time.Time) (string, error) {
	if len(signature) == 0 {
		return "", ErrUnsigned
	}
	if len(signature) > maxSignature {
		return "", fmt.Errorf("%w: its signature has %d bytes", ErrFormat, len(signature))
	}
	check := openpgp.CheckDetachedSignature
	if bytes.HasPrefix(bytes.TrimSpace(signature), []byte("-----BEGIN PGP")) {
		check = openpgp.CheckArmoredDetachedSignature
	}
	by, err := check(k.ring, bytes.NewReader(signed), bytes.NewReader(signature), &packet.Config{Time: func() time.Time { return now }})
	var bad pgperrors.SignatureError
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return "", fmt.Errorf("%w; trusted is %s", ErrUntrusted, k)
	case errors.As(err, &bad):
		return "", fmt.Errorf("%w: %w", ErrAltered, err)
	case err != nil:
		return "", fmt.Errorf("check its signature: %w", err)
	}
	return fmt.Sprintf("%X", by.PrimaryKey.Fingerprint), nil
}
