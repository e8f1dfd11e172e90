package watch

import (
	"context"
	"errors"
	"fmt"
)

// watch: ReadDirectoryChangesW is not used yet.
func watch(_ context.Context, dir string) (<-chan struct{}, error) {
	return nil, fmt.Errorf("watch %s: this version cannot on Windows: %w", dir, errors.ErrUnsupported)
}
