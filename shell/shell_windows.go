package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
)

func open(_ context.Context, s Spec) (Terminal, error) {
	return nil, fmt.Errorf("open a terminal for %s: terminals on Windows need the pseudo console (ConPTY), which comes with the Windows capability of a later version: %w", s.Path, errors.ErrUnsupported)
}

func openScreen(Spec) (Screen, *os.File, error) {
	return nil, nil, fmt.Errorf("open a terminal without its program: %w", errors.ErrUnsupported)
}
