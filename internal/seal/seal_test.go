package seal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
)

type vector struct {
	Name, Half                                              string
	DataKeyPlaintextHex, NonceHex, PlaintextHex, PayloadHex string
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func load(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/aes.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ AESGCM []vector }
	if err := json.Unmarshal(b, &v); err != nil || len(v.AESGCM) != 4 {
		t.Fatalf("%d vectors, %v", len(v.AESGCM), err)
	}
	return v.AESGCM
}

func ends(t testing.TB, key []byte) (agent, client *Cipher) {
	t.Helper()
	agent, err := ForAgent(key)
	if err != nil {
		t.Fatal(err)
	}
	if client, err = ForClient(key); err != nil {
		t.Fatal(err)
	}
	return agent, client
}

// TestVectors: what stock programs seal.
func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range load(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			from, to := ends(t, unhex(t, v.DataKeyPlaintextHex))
			if v.Half == "second" {
				from, to = to, from
			}
			copy(from.nonce[:], unhex(t, v.NonceHex))
			blob := from.Seal(nil, unhex(t, v.PlaintextHex))
			if hex.EncodeToString(blob) != v.PayloadHex {
				t.Errorf("sealed %x, want %s", blob, v.PayloadHex)
			}
			if _, err := from.Open(bytes.Clone(blob)); !errors.Is(err, ErrForged) {
				t.Errorf("opened with the wrong half: %v", err)
			}
			plain, err := to.Open(blob)
			if err != nil || hex.EncodeToString(plain) != v.PlaintextHex {
				t.Errorf("opened %x, %v", plain, err)
			}
		})
	}
}

func TestNonce(t *testing.T) {
	t.Parallel()
	c, _ := ends(t, make([]byte, KeySize))
	for before, after := range map[string]string{
		"ffffffff0200000003000000": "000000000300000003000000",
		"feffffff0000000000000000": "ffffffff0000000000000000",
		"ffffffffffffffff00000000": "000000000000000001000000",
		"ffffffffffffffffffffffff": "000000000000000000000000",
	} {
		copy(c.nonce[:], unhex(t, before))
		if c.step(); hex.EncodeToString(c.nonce[:]) != after {
			t.Errorf("after %s comes %x, want %s", before, c.nonce, after)
		}
	}
	other, _ := ends(t, make([]byte, KeySize))
	if other.nonce == c.nonce {
		t.Error("two ciphers count from the same nonce")
	}
}

func TestForged(t *testing.T) {
	t.Parallel()
	key := make([]byte, KeySize)
	agent, client := ends(t, key)
	blob := agent.Seal(nil, []byte("ls"))
	if len(blob) != 2+Overhead {
		t.Errorf("%d bytes", len(blob))
	}
	for i := range blob {
		bad := bytes.Clone(blob)
		bad[i] ^= 1
		if _, err := client.Open(bad); !errors.Is(err, ErrForged) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := client.Open(bytes.Clone(blob[:i])); !errors.Is(err, ErrForged) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	for _, n := range []int{0, 32, 63, 65} {
		if _, err := ForAgent(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes was taken", n)
		}
	}
	if bytes.Equal(NewChallenge(), NewChallenge()) || len(NewChallenge()) != ChallengeSize {
		t.Error("challenges")
	}
}

// FuzzOpen: only what was sealed opens, and as what it was.
func FuzzOpen(f *testing.F) {
	for _, v := range load(f) {
		f.Add(unhex(f, v.PayloadHex), []byte("x"))
	}
	f.Add([]byte{}, []byte{})
	key := make([]byte, KeySize)
	for i := range key {
		key[i] = byte(i)
	}
	f.Fuzz(func(t *testing.T, blob, plain []byte) {
		agent, client := ends(t, key)
		if got, err := client.Open(bytes.Clone(blob)); err == nil {
			copy(agent.nonce[:], blob)
			if !bytes.Equal(agent.Seal(nil, got), blob) {
				t.Errorf("%x opens, but is not what was sealed", blob)
			}
		}
		if got, err := client.Open(agent.Seal(nil, plain)); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%x became %x, %v", plain, got, err)
		}
	})
}
