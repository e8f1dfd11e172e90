//go:build unix

package software

import (
	"errors"
	"testing"
)

func TestNothingOnUnix(t *testing.T) {
	t.Parallel()
	if all, err := List(); !errors.Is(err, errors.ErrUnsupported) || all != nil {
		t.Errorf("%v %v", all, err)
	}
	if code, err := ProductCode("x.msi"); !errors.Is(err, errors.ErrUnsupported) || code != "" {
		t.Errorf("%q %v", code, err)
	}
}
