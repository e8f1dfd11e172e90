package backoff

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ssmagent/internal/clock"
)

func half() float64 { return 0.5 }

func TestDelay(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		p       Policy
		attempt int
		want    time.Duration
	}{
		"zero":         {Policy{}, 5, 0},
		"first":        {Policy{First: time.Second, Factor: 2}, 0, time.Second},
		"grows":        {Policy{First: time.Second, Factor: 2}, 3, 8 * time.Second},
		"cap":          {Policy{First: time.Second, Factor: 2, Cap: 5 * time.Second}, 3, 5 * time.Second},
		"jitter":       {Policy{First: time.Second, Factor: 2, Cap: 5 * time.Second, Jitter: 0.2}, 3, 5500 * time.Millisecond},
		"shrinks not":  {Policy{First: time.Second, Factor: 0.5}, 3, time.Second},
		"negative":     {Policy{First: time.Second, Factor: 2}, -1, time.Second},
		"no overflow":  {Policy{First: time.Hour, Factor: 10}, math.MaxInt, maxDelay},
		"zero forever": {Policy{Factor: 10}, math.MaxInt, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tt.p.Delay(tt.attempt, half); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestDelayStaysWithinBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{
			First:  time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "first")),
			Factor: rapid.Float64Range(1, 16).Draw(t, "factor"),
			Jitter: rapid.Float64Range(0, 1).Draw(t, "jitter"),
		}
		p.Cap = p.First + time.Duration(rapid.Int64Range(0, int64(24*time.Hour)).Draw(t, "cap"))
		n := rapid.IntRange(0, 1<<30).Draw(t, "n")
		d := p.Delay(n, nil)
		if d < p.First-1 || float64(d) > float64(p.Cap)*(1+p.Jitter)+1 {
			t.Fatalf("%+v: delay %d is %v", p, n, d)
		}
		if p.Delay(n+1, half) < p.Delay(n, half) {
			t.Fatalf("%+v: shrinks after %d", p, n)
		}
	})
}

func TestDo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, calls := time.Now(), 0
		err := Do(t.Context(), clock.Real{}, Policy{First: time.Second, Factor: 2}, func(context.Context) error {
			if calls++; calls == 4 {
				return nil
			}
			return errors.New("not yet")
		})
		if err != nil || calls != 4 || time.Since(start) != 7*time.Second {
			t.Errorf("%v after %d calls and %v", err, calls, time.Since(start))
		}
	})
}

func TestDoStops(t *testing.T) {
	t.Parallel()
	final := errors.New("final")
	for name, give := range map[string]error{"bare": Stop(final), "wrapped": fmt.Errorf("register: %w", Stop(final))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			err := Do(t.Context(), clock.Real{}, Policy{First: time.Hour}, func(context.Context) error { calls++; return give })
			if !errors.Is(err, final) || calls != 1 {
				t.Errorf("%v after %d calls", err, calls)
			}
			if name == "bare" && err != final { //nolint:errorlint // must be the very error
				t.Errorf("%#v is still wrapped", err)
			}
		})
	}
	if Stop(nil) != nil || After(time.Second, nil) != nil {
		t.Error("no error became one")
	}
}

func TestDoEndsWithContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		start, cause := time.Now(), errors.New("refused")
		err := Do(ctx, clock.Real{}, Policy{First: time.Minute}, func(context.Context) error { return cause })
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, cause) || time.Since(start) != 90*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := Do(ctx, clock.Real{}, Policy{}, func(context.Context) error { t.Error("called after the end"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended before: %v", err)
	}
}

func TestDoRetriesResetAndAfter(t *testing.T) {
	t.Parallel()
	fail := errors.New("fail")
	t.Run("retries", func(t *testing.T) {
		t.Parallel()
		calls := 0
		err := Do(t.Context(), clock.Real{}, Policy{Retries: 2}, func(context.Context) error { calls++; return fail })
		if !errors.Is(err, fail) || calls != 3 {
			t.Errorf("%v after %d calls", err, calls)
		}
	})
	t.Run("reset", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			start, calls := time.Now(), 0
			p := Policy{First: time.Second, Factor: 10, ResetAfter: time.Minute}
			err := Do(t.Context(), clock.Real{}, p, func(ctx context.Context) error {
				calls++
				switch calls {
				case 3: // stands for a minute, then breaks
					if err := Wait(ctx, clock.Real{}, time.Minute); err != nil {
						return err
					}
				case 5:
					return nil
				}
				return fail
			})
			// 1 s, 10 s, the minute, again 1 s and 10 s.
			if err != nil || time.Since(start) != 82*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	})
	t.Run("after", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			start, calls := time.Now(), 0
			err := Do(t.Context(), clock.Real{}, Policy{First: time.Hour}, func(context.Context) error {
				if calls++; calls == 2 {
					return nil
				}
				return fmt.Errorf("token: %w", After(3*time.Second, fail))
			})
			if err != nil || time.Since(start) != 3*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	})
}

func TestDoOnFakeClock(t *testing.T) {
	t.Parallel()
	clk, calls := clock.NewFake(time.Unix(1, 0)), make(chan int, 1)
	done := make(chan error, 1)
	go func() {
		n := 0
		done <- Do(t.Context(), clk, Policy{First: time.Hour}, func(context.Context) error {
			n++
			calls <- n
			if n == 2 {
				return nil
			}
			return errors.New("once more")
		})
	}()
	<-calls
	if err := clk.Await(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	clk.Advance(time.Hour - 1)
	if n := len(calls); n != 0 {
		t.Fatal("called before its time")
	}
	clk.Advance(1)
	if n := <-calls; n != 2 {
		t.Errorf("call %d", n)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
