//go:build unix

package dpapi

import (
	"errors"
	"strings"
	"testing"
)

func TestNotHere(t *testing.T) {
	t.Parallel()
	if _, err := Seal([]byte("x")); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "LoadCredentialEncrypted") {
		t.Errorf("%v", err)
	}
	if _, err := Open([]byte("x")); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}
