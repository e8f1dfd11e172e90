package asciicast

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"ssmagent/internal/clock"
)

// Pace is how fast a recording is played.
type Pace struct {
	Speed float64       // 2: twice as fast; 0 or less: without waiting
	Idle  time.Duration // longest wait between two events; 0: any
}

// Play writes what was printed to w, when it was printed. It ends with the
// recording or with ctx; ErrTorn is as for Next.
func Play(ctx context.Context, r *Reader, w io.Writer, c clock.Clock, p Pace) error {
	var t clock.Timer
	start, due, last := c.Now(), time.Duration(0), time.Duration(0)
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		gap := e.At - last
		last = e.At
		if e.Kind != Output {
			due += p.wait(gap)
			continue
		}
		due += p.wait(gap)
		// Against the beginning, so that what writing takes does not add up.
		if wait := due - c.Now().Sub(start); wait > 0 {
			if t == nil {
				t = c.NewTimer(wait)
				defer t.Stop()
			} else {
				t.Reset(wait)
			}
			select {
			case <-t.C():
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if _, err := io.WriteString(w, e.Data); err != nil {
			return fmt.Errorf("show the recording: %w", err)
		}
	}
}

func (p Pace) wait(gap time.Duration) time.Duration {
	if p.Speed <= 0 {
		return 0
	}
	gap = time.Duration(float64(gap) / p.Speed)
	if p.Idle > 0 {
		gap = min(gap, p.Idle)
	}
	return max(gap, 0)
}
