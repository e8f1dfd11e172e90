package main

import (
	"os"

	"ssmagent/internal/setup"
)

// agentProgram is where every package has the agent.
func agentProgram() string { return "/usr/bin/amazon-ssm-agent" }

// managed says whether a service manager runs.
func managed() error {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return setup.ErrNoManager
	}
	return nil
}
