package service

import (
	"errors"
	"fmt"

	kardianos "github.com/kardianos/service"
)

// Default has the agent's names on this system.
func Default() Options {
	return Options{Name: "amazon-ssm-agent", DisplayName: "amazon-ssm-agent", Description: "amazon-ssm-agent"}
}

// manager refuses what we have no text for: the library would write its own.
func manager() error {
	if p := kardianos.Platform(); p != "linux-systemd" {
		return fmt.Errorf("systemd does not run here (%s); run the agent in the foreground, under whatever supervises programs here: %w",
			p, errors.ErrUnsupported)
	}
	return nil
}
