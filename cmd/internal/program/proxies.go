package program

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"

	"ssmagent/platform/proxy"
)

// useProxies has this process, and what it starts, use the proxies of the
// system's own settings where its environment names none. It comes before the
// first connection.
func useProxies(log *slog.Logger) {
	system, err := proxy.System()
	if err != nil {
		log.Warn("not all settings of proxies could be read", "error", err)
	}
	missing := system.Missing(os.Getenv)
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		if err := os.Setenv(name, missing[name]); err != nil {
			log.Warn("a proxy of the system's settings cannot be used", "error", fmt.Errorf("set %s: %w", name, err))
			continue
		}
		shown := missing[name]
		if name != "no_proxy" {
			shown = shownProxy(shown)
		}
		log.Info("a proxy of the system's settings is used", "variable", name, "value", shown)
	}
}
