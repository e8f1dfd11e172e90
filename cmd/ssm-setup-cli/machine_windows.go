package main

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// elevated is nil for administrators that act as such.
func elevated() error {
	if !windows.GetCurrentProcessToken().IsElevated() {
		return errors.New("binary needs to be executed by administrator")
	}
	return nil
}

// agentProgram is where the package has the agent.
func agentProgram() string {
	return filepath.Join(os.Getenv("ProgramFiles"), "Amazon", "SSM", "amazon-ssm-agent.exe")
}

// managed says whether a service manager runs, as it always does.
func managed() error { return nil }
