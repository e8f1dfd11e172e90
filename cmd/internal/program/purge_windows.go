package program

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"ssmagent/platform"
	"ssmagent/service"
)

// purgeData removes what an agent that is gone has left: the registration, logs,
// recordings. Links are removed and not followed.
func purgeData(_ streams, o service.Options) error {
	state, err := service.State(o)
	switch {
	case err == nil && state != service.Stopped:
		return errors.New("the service runs and needs its data; stop it first")
	case err != nil && !errors.Is(err, service.ErrNotInstalled):
		return err
	}
	if err := os.RemoveAll(filepath.Dir(platform.DefaultPaths().Data)); err != nil {
		return fmt.Errorf("remove the agent's data: %w", err)
	}
	return nil
}
