package program

import (
	"context"
	"fmt"

	"golang.org/x/sys/windows"

	"ssmagent/internal/diagnostics"
	"ssmagent/platform/firstboot"
)

// What the stock agent has otherwise on each system.
const (
	serviceUser = `NT AUTHORITY\SYSTEM`
	notElevated = "binary needs to be executed by administrator"
	lineEnd     = "\r\n"

	stoppedService = "Agent service is not running, state is: stopped"
	rootHome       = "" // root is an account of others
)

// elevated says whether this process may ask the service's agent.
func elevated() bool { return windows.GetCurrentProcessToken().IsElevated() }

// imageState is the check that the image's set-up has ended.
func imageState() []diagnostics.Check {
	return []diagnostics.Check{{Name: "Windows sysprep image state", Run: func(context.Context) (string, error) {
		switch state, err := firstboot.State(); {
		case err != nil:
			return "", fmt.Errorf("read the image state: %w", err)
		case state == "":
			return "", diagnostics.Skip("There is no image state")
		case state != firstboot.Complete:
			return "", fmt.Errorf("the image state is %s, not %s; the agent waits for the end of the set-up", state, firstboot.Complete)
		}
		return "Image state is IMAGE_STATE_COMPLETE", nil
	}}}
}

// logName is the file that the process called name logs to: each has its own,
// as stock agents have it.
func logName(name string) string { return name }
