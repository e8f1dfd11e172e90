package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// makeKey makes a key to sign packages with: the secret key in file, the public
// one, which ssm-setup-cli trusts, in file.pub.
func makeKey(file string) error {
	// RSA is what rpm of every age checks.
	e, err := openpgp.NewEntity("ssmagent packages", "", "", &packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 3072})
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	for _, k := range []struct {
		file, kind string
		mode       os.FileMode
		write      func(*bytes.Buffer) error
	}{
		{file, openpgp.PrivateKeyType, 0o600, func(b *bytes.Buffer) error { return e.SerializePrivate(b, nil) }},
		{file + ".pub", openpgp.PublicKeyType, 0o644, func(b *bytes.Buffer) error { return e.Serialize(b) }},
	} {
		var raw, text bytes.Buffer
		if err := k.write(&raw); err != nil {
			return fmt.Errorf("make a key: %w", err)
		}
		w, err := armor.Encode(&text, k.kind, nil)
		if err == nil {
			_, err = w.Write(raw.Bytes())
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			return fmt.Errorf("make a key: %w", err)
		}
		text.WriteByte('\n')
		f, err := os.OpenFile(k.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, k.mode) // an older key is not lost
		if err == nil {
			_, err = f.Write(text.Bytes())
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// signBeside writes the signature of b into a file beside the package.
func (o options) signBeside(b []byte) error {
	e, err := o.secretKey()
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	var s bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&s, e, bytes.NewReader(b), nil); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	s.WriteByte('\n')
	return os.WriteFile(o.out+".asc", s.Bytes(), 0o644)
}

// secretKey reads the key to sign with.
func (o options) secretKey() (*openpgp.Entity, error) {
	b, err := os.ReadFile(o.key)
	if err != nil {
		return nil, err
	}
	read := openpgp.ReadKeyRing
	if bytes.Contains(b, []byte("-----BEGIN PGP")) {
		read = openpgp.ReadArmoredKeyRing
	}
	ring, err := read(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.key, err)
	}
	if len(ring) != 1 || ring[0].PrivateKey == nil {
		return nil, fmt.Errorf("%s holds %d keys; one secret key is needed", o.key, len(ring))
	}
	if pass := os.Getenv("PACKAGE_KEY_PASSPHRASE"); pass != "" {
		if err := ring[0].DecryptPrivateKeys([]byte(pass)); err != nil {
			return nil, fmt.Errorf("%s: %w", o.key, err)
		}
	}
	return ring[0], nil
}
