// Package reboot is the seam for restarting the machine.
package reboot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// patience bounds how long the program that asks for the restart may take.
const patience = 30 * time.Second

// Machine asks the system to restart in a minute, as stock agents do: people
// who are logged in can see it coming, and replies still leave. It returns once
// the system has taken the wish, or why it did not.
func Machine(ctx context.Context) error { return ask(ctx, commands()) }

// Below is Machine for a product that may change nothing outside root: the
// program that is asked lies below it.
func Below(root string) func(context.Context) error {
	return func(ctx context.Context) error {
		var own [][]string
		for _, c := range commands() {
			own = append(own, append([]string{below(root, c[0])}, c[1:]...))
		}
		return ask(ctx, own)
	}
}

// below is the path that a program has with another root.
func below(root, path string) string {
	return filepath.Join(root, path[len(filepath.VolumeName(path)):])
}

// ask runs the first of the commands whose program there is.
func ask(ctx context.Context, commands [][]string) error {
	ctx, done := context.WithTimeout(ctx, patience)
	defer done()
	var missing error
	for _, c := range commands {
		cmd := exec.CommandContext(ctx, c[0], c[1:]...)
		cmd.WaitDelay = time.Second
		said, err := cmd.CombinedOutput()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
			missing = errors.Join(missing, fmt.Errorf("%s: %w", c[0], os.ErrNotExist))
			continue
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		}
		return fmt.Errorf("restart the machine with %s: %w: %.200s", c[0], err, bytes.TrimSpace(said))
	}
	return fmt.Errorf("restart the machine: no program for it is installed: %w", missing)
}
