//go:build unix

package profile

import (
	"errors"
	"fmt"
)

func load(uintptr, string) (Profile, error) {
	return Profile{}, fmt.Errorf("load a profile: Unix has none: %w", errors.ErrUnsupported)
}
