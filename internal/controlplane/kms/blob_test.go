package kms

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

const (
	testKey = "01234567-89ab-4cde-8f01-23456789abcd"
	// golden is "secret" for a=b: what was sealed once must open for ever.
	golden = "010123456789ab4cde8f0123456789abcdec404775bd9319709eeaa070ed55ae20acfa104ac8249bba627630c4c3c5ac95a9d8"
)

// TestAssociated: different contexts are never the same bytes.
func TestAssociated(t *testing.T) {
	t.Parallel()
	seen := map[string]map[string]string{}
	for _, c := range []map[string]string{nil, {"": ""}, {"a": ""}, {"": "a"}, {"a": "b"}, {"ab": ""}, {"a": "b", "c": "d"}, {"a": "bc", "": "d"}, {"a": "b\x00\x00\x00\x01c"}} {
		b := string(associated([]byte("h"), c))
		if other, there := seen[b]; there {
			t.Errorf("%v and %v are the same", c, other)
		}
		seen[b] = c
	}
}

// FuzzOpenBlob: only what was sealed opens, and only for its context.
func FuzzOpenBlob(f *testing.F) {
	secret := bytes.Repeat([]byte{9}, keyBytes)
	good, err := hex.DecodeString(golden)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, "a", "b", []byte("secret"))
	f.Add(good[:30], "", "", []byte{})
	f.Add([]byte{}, "a", "", []byte("x"))
	f.Fuzz(func(t *testing.T, blob []byte, name, value string, plain []byte) {
		context := map[string]string{name: value}
		if got, err := openBlob(secret, blob, context); err == nil {
			if !bytes.Equal(blob, good) || name != "a" || value != "b" || string(got) != "secret" {
				t.Errorf("%x opens for %v as %q", blob, context, got)
			}
		} else if bytes.Equal(blob, good) && name == "a" && value == "b" {
			t.Errorf("what was sealed once does not open: %v", err)
		} else if !errors.Is(err, errBlob) {
			t.Errorf("%v", err)
		}
		made, err := sealBlob(testKey, secret, plain, context)
		if err != nil {
			t.Fatal(err)
		}
		if id, err := blobKey(made); err != nil || id != testKey {
			t.Errorf("key %s, %v", id, err)
		}
		if got, err := openBlob(secret, made, context); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%q became %q, %v", plain, got, err)
		}
		if _, err := openBlob(secret, made, map[string]string{name: value + "."}); !errors.Is(err, errBlob) {
			t.Errorf("another context opens it: %v", err)
		}
		for i := range min(len(made), headerSize+nonceSize) {
			made[i] ^= 0x40
			if _, err := openBlob(secret, made, context); !errors.Is(err, errBlob) {
				t.Errorf("byte %d changed: %v", i, err)
			}
			made[i] ^= 0x40
		}
	})
}
