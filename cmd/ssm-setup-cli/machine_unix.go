//go:build unix

package main

import (
	"errors"
	"os"
)

// elevated is nil for root.
func elevated() error {
	if os.Geteuid() != 0 {
		return errors.New("binary needs to be executed by root")
	}
	return nil
}
