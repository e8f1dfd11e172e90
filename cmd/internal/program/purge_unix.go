//go:build unix

package program

import (
	"errors"
	"fmt"

	"ssmagent/service"
)

// purgeData: packages do it here, when they are purged.
func purgeData(streams, service.Options) error {
	return fmt.Errorf("the package's own purge removes the data here: %w", errors.ErrUnsupported)
}
