package proxy

import (
	"context"
	"os/exec"
	"time"
)

// within is how long the system's program may take, as with stock agents.
const within = time.Second

func sources() []source {
	return []source{{"the network settings (scutil --proxy)", networkSettings}}
}

func networkSettings() (Settings, error) {
	ctx, done := context.WithTimeout(context.Background(), within)
	defer done()
	out, err := exec.CommandContext(ctx, "/usr/sbin/scutil", "--proxy").Output()
	if err != nil {
		return Settings{}, err
	}
	return parseScutil(string(out))
}
