package dpapi

import (
	"bytes"
	"testing"
)

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	for _, plain := range [][]byte{[]byte("one private key"), bytes.Repeat([]byte("key "), 2000)} {
		sealed, err := Seal(plain)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(sealed, plain) {
			t.Error("it can be read as it is")
		}
		if got, err := Open(sealed); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes became %d, %v", len(plain), len(got), err)
		}
		sealed[len(sealed)-1] ^= 1
		if got, err := Open(sealed); err == nil && bytes.Equal(got, plain) {
			t.Error("a changed byte is not noticed")
		}
	}
	for _, other := range [][]byte{nil, []byte("no blob"), bytes.Repeat([]byte{1}, 400)} {
		if got, err := Open(other); err == nil {
			t.Errorf("%q is opened: %q", other, got)
		}
	}
}
