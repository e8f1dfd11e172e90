//go:build !linux

package proc

import (
	"context"
	"errors"
	"fmt"
)

// hasScopes: there is no systemd.
func hasScopes() bool { return false }

func dialScopes(context.Context) (scoper, error) {
	return nil, fmt.Errorf("scopes of a service manager: %w", errors.ErrUnsupported)
}
