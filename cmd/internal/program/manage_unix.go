//go:build unix

package program

import (
	"errors"
	"fmt"

	"ssmagent/platform"
	"ssmagent/service"
)

func installService(_ streams, o service.Options) error { return service.Install(o) }

func configureService(_ streams, o service.Options) error { return service.Configure(o) }

func uninstallService(_ streams, o service.Options) error { return service.Uninstall(o) }

// sweepEditions: a program can be replaced here while it runs.
func sweepEditions(streams) error {
	return fmt.Errorf("there are no copies of the program here: %w", errors.ErrUnsupported)
}

// claimData: packages make the folders here, and nobody can be before them.
func claimData(streams, platform.Paths) error { return nil }
