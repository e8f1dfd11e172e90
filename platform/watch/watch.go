// Package watch is the seam for news of a directory: files that came into it.
package watch

import "context"

// Dir tells of files that were written or moved into dir. The channel gets a
// value after each, though one may stand for several, and is closed when ctx
// ends or the system tells no more. The error of a system that has no such
// thing wraps errors.ErrUnsupported.
func Dir(ctx context.Context, dir string) (<-chan struct{}, error) { return watch(ctx, dir) }
