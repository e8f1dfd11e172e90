package guard

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"

	"ssmagent/internal/clock"
)

// watched runs a guard over usages, one a look; the last one stays.
func watched(t *testing.T, usages ...Usage) (log string, saved []byte, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		g := New(Options{
			Memory: 100 << 20, Goroutines: 1000, Clock: clock.Real{}, Log: slog.New(slog.NewTextHandler(&out, nil)),
			Usage: func() Usage {
				u := usages[0]
				if usages = usages[1:]; len(usages) == 0 {
					cancel()
					usages = []Usage{u}
				}
				return u
			},
			Save: func(b []byte) (string, error) { saved = b; return "/logs/stacks", nil },
		})
		err, log = g.Run(ctx), out.String()
	})
	return log, saved, err
}

func TestOverrun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		u    Usage
		want string
	}{
		"goroutines": {Usage{Goroutines: 1001}, "1001 goroutines, the limit is 1000"},
		"memory":     {Usage{Heap: 201 << 20}, "201 MiB of heap, twice the limit of 100 MiB"},
	} {
		_, saved, err := watched(t, Usage{}, c.u)
		if !errors.Is(err, ErrOverrun) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "/logs/stacks") {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Contains(saved, []byte("guard.(*Guard).Run")) {
			t.Errorf("%s: the stacks that were kept are not ours: %.100s", name, saved)
		}
	}
}

func TestWarnsOnceAndAgainAfterIt(t *testing.T) {
	t.Parallel()
	short := Usage{Files: 950, FileLimit: 1000, Goroutines: 600}
	log, saved, err := watched(t, short, short, Usage{}, short, Usage{Files: 899, FileLimit: 1000})
	if err != nil || saved != nil {
		t.Errorf("a shortage ended the agent: %v", err)
	}
	for _, text := range []string{"LimitNOFILE", "unusually many goroutines"} {
		if n := strings.Count(log, text); n != 2 {
			t.Errorf("%q was told %d times, not 2:\n%s", text, n, log)
		}
	}
}

func TestQuietWhereNothingIsKnown(t *testing.T) {
	t.Parallel()
	if log, _, err := watched(t, Usage{Files: 5000}, Measure()); err != nil || log != "" {
		t.Errorf("%v, %s", err, log)
	}
}

// TestLimitMemory does not run beside others: the limit is the process's.
func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	if got := LimitMemory(1<<40, true); got != before || debug.SetMemoryLimit(-1) != before {
		t.Errorf("GOMEMLIMIT was overruled: %d", got)
	}
	if got := LimitMemory(1<<40, false); got != 1<<40 || debug.SetMemoryLimit(-1) != 1<<40 {
		t.Errorf("the limit is %d", debug.SetMemoryLimit(-1))
	}
}
