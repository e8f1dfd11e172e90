//go:build unix

package dpapi

import (
	"errors"
	"fmt"
)

func seal([]byte) ([]byte, error) {
	return nil, fmt.Errorf("sealing by DPAPI is for Windows only; with systemd give the key to the service by LoadCredentialEncrypted: %w", errors.ErrUnsupported)
}

func open([]byte) ([]byte, error) {
	return nil, fmt.Errorf("what DPAPI sealed is opened on Windows only: %w", errors.ErrUnsupported)
}
