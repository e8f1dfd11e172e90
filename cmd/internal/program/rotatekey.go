package program

import (
	"context"
	"fmt"
)

// rotateKeyMain is `ssm-local rotate-key`.
func rotateKeyMain(ctx context.Context, s streams, args []string) int {
	f := newClientFlags(s, "ssm-local rotate-key", "ssm-local rotate-key [flags] NODE")
	if code, ok := parse(f.FlagSet, args, 1); !ok {
		return code
	}
	node := f.Arg(0)
	if node == "" {
		s.failf("rotate-key", "name a node: ssm-local rotate-key mi-0123456789abcdef0")
		return exitUsage
	}
	c, err := f.open()
	if err == nil {
		err = c.RotateKey(ctx, node)
	}
	if err != nil {
		s.failf("rotate-key", "%v", err)
		return exitFailed
	}
	if f.output == "table" {
		fmt.Fprintf(s.out, "%s replaces its key with its next role token: within half an hour, or when its agent is restarted.\n", node)
	}
	return exitOK
}
