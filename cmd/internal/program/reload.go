package program

import (
	"fmt"
	"log/slog"
	"os"

	"ssmagent/internal/agent"
	"ssmagent/internal/config"
)

// reloadConfig has a running agent go by the configuration file anew. A file
// that an agent would not start with changes nothing.
func reloadConfig(path string, a *agent.Agent, log *slog.Logger) {
	cfg, warnings, err := rereadConfig(path)
	for _, w := range warnings {
		log.Warn("the configuration", "file", path, "warning", w.String())
	}
	if err != nil {
		log.Error("the configuration is not reloaded; the old one counts", "error", err)
		return
	}
	a.Reload(cfg)
}

// rereadConfig reads and checks all of the file. None at all is an error here:
// an editor may be about to put it in its place.
func rereadConfig(path string) (config.Config, []config.Warning, error) {
	if _, err := os.Stat(path); err != nil {
		return config.Config{}, nil, fmt.Errorf("%w; put it there, or restart the agent to have the defaults", err)
	}
	cfg, warnings, err := config.LoadFile(path)
	if err == nil {
		_, err = httpClient(cfg) // the file of certificates
	}
	return switched(cfg, os.Getenv), warnings, err
}
