package backoff

import (
	"context"
	"log/slog"
	"time"

	"ssmagent/internal/clock"
)

// Insist calls do until it succeeds, for what must not be dropped: a full disk
// is emptied one day. It warns of each failure, and is false when ctx ended
// first.
func Insist(ctx context.Context, clk clock.Clock, log *slog.Logger, do func() error) bool {
	p := Policy{First: time.Second, Cap: time.Minute, Factor: 2}
	return Do(ctx, clk, p, func(context.Context) error {
		err := do()
		if err != nil && ctx.Err() == nil {
			log.Warn("will try again", "error", err)
		}
		return err
	}) == nil
}
