package program

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"ssmagent/internal/diagnostics"
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
		k, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State`, registry.QUERY_VALUE|registry.WOW64_64KEY)
		if errors.Is(err, registry.ErrNotExist) {
			return "", diagnostics.Skip("There is no image state")
		}
		if err != nil {
			return "", fmt.Errorf("read the image state: %w", err)
		}
		defer k.Close()
		state, _, err := k.GetStringValue("ImageState")
		switch {
		case errors.Is(err, registry.ErrNotExist):
			return "", diagnostics.Skip("There is no image state")
		case err != nil:
			return "", fmt.Errorf("read the image state: %w", err)
		case state != "IMAGE_STATE_COMPLETE":
			return "", fmt.Errorf("the image state is %s, not IMAGE_STATE_COMPLETE; the agent waits for the end of the set-up", state)
		}
		return "Image state is IMAGE_STATE_COMPLETE", nil
	}}}
}

// logName is the file that the process called name logs to: each has its own,
// as stock agents have it.
func logName(name string) string { return name }
