package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
)

// log is an event log in memory whose calls fail when told to.
type log struct {
	mu      sync.Mutex
	entries []string
	open    int
	fail    error
}

func (l *log) opener(string) (events, error) {
	l.open++
	return l, nil
}

func (l *log) report(e event, text *uint16) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, fmt.Sprintf("%d %d %s", e, e.kind(), windows.UTF16PtrToString(text)))
	return l.fail
}

func (l *log) close() error {
	l.open--
	return l.fail
}

// underManager runs core as the service manager would, and sends it requests; it
// returns the states that the manager was told and how the service ended.
func underManager(o Options, core Core, l *log, requests ...svc.Cmd) (states []svc.Status, specific bool, code uint32, err error) {
	dispatch := func(_ string, handler svc.Handler) error {
		in, out, end := make(chan svc.ChangeRequest), make(chan svc.Status), make(chan struct{})
		go func() {
			defer close(end)
			specific, code = handler.Execute(nil, in, out)
		}()
		for {
			var send chan svc.ChangeRequest
			var next svc.ChangeRequest
			running := len(states) > 0 && states[len(states)-1].State != svc.StartPending
			if running && len(requests) > 0 {
				send, next = in, svc.ChangeRequest{Cmd: requests[0], CurrentStatus: states[len(states)-1]}
			}
			select {
			case st := <-out:
				states = append(states, st)
			case send <- next:
				requests = requests[1:]
			case <-end:
				return nil
			}
		}
	}
	err = (&host{o: o, core: core, done: make(chan struct{}), hurry: make(chan struct{})}).under(dispatch, l.opener)
	return states, specific, code, err
}

func obedient(ctx context.Context, ready func()) error {
	ready()
	<-ctx.Done()
	return ctx.Err()
}

func names(states []svc.Status) (all []svc.State) {
	for _, s := range states {
		all = append(all, s.State)
	}
	return all
}

func TestUnderManager(t *testing.T) {
	t.Parallel()
	for _, end := range []svc.Cmd{svc.Stop, svc.Shutdown, svc.PreShutdown} {
		var reloads int
		o, l := Default(), &log{}
		o.Version, o.Reload = "9.9", func() { reloads++ }
		states, specific, code, err := underManager(o, obedient, l, svc.Interrogate, svc.ParamChange, svc.Pause, end)
		want := []svc.State{svc.StartPending, svc.Running, svc.Running, svc.StopPending}
		if err != nil || specific || code != 0 || !slices.Equal(names(states), want) || reloads != 1 || l.open != 0 {
			t.Errorf("%v: error %v, code %v %d, states %v, %d reloads, %d logs open", end, err, specific, code, states, reloads, l.open)
		}
		if a := states[1].Accepts; a != svc.AcceptStop|svc.AcceptShutdown|svc.AcceptPreShutdown|svc.AcceptParamChange {
			t.Errorf("it accepts %b", a)
		}
		if got := strings.Join(l.entries, "; "); got != "1 4 Amazon SSM Agent 9.9 started.; 2 4 Amazon SSM Agent stopped." {
			t.Errorf("events: %s", got)
		}
	}
}

// TestEndsUnderManager: what each end of a core is to the manager and the event log.
func TestEndsUnderManager(t *testing.T) {
	t.Parallel()
	own := errors.New("core's own\x00 error")
	late := func(ctx context.Context, _ func()) error { <-ctx.Done(); return own }
	for name, c := range map[string]struct {
		core  Core
		stop  bool
		code  uint32
		err   error
		entry string
	}{
		"fails":      {core: func(context.Context, func()) error { return own }, code: 7, err: own, entry: "3 1 Amazon SSM Agent failed with code 7: service ended by itself: core's own� error."},
		"returns":    {core: func(context.Context, func()) error { return nil }, code: 7, err: ErrEnded, entry: "3 1 Amazon SSM Agent failed with code 7: service ended by itself."},
		"is done":    {core: func(context.Context, func()) error { return fmt.Errorf("x: %w", ErrDone) }, entry: "2 4 Amazon SSM Agent has nothing to do: x: service has nothing to do."},
		"stops late": {core: late, stop: true, err: own, entry: "4 1 Amazon SSM Agent stopped with an error: core's own� error."},
	} {
		o, l := Default(), &log{}
		o.Code = func(error) uint32 { return 7 }
		var requests []svc.Cmd
		if c.stop {
			requests = []svc.Cmd{svc.Stop}
		}
		_, specific, code, err := underManager(o, c.core, l, requests...)
		if !errors.Is(err, c.err) || specific != (c.code != 0) || code != c.code || l.open != 0 {
			t.Errorf("%s: error %v, code %v %d, %d logs open", name, err, specific, code, l.open)
		}
		if last := l.entries[len(l.entries)-1]; last != c.entry {
			t.Errorf("%s: event %q", name, last)
		}
	}
}

// TestStuckUnderManager: a core that does not stop is given up in time, and the
// manager is told every second that it is on its way; no code, or recovery would
// start again what was stopped.
func TestStuckUnderManager(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, l := Default(), &log{}
		release := make(chan struct{})
		core := func(context.Context, func()) error { <-release; return nil }
		begin := time.Now()
		states, specific, code, err := underManager(o, core, l, svc.Stop, svc.Interrogate)
		if !errors.Is(err, ErrStuck) || specific || code != 0 || time.Since(begin) != o.StopWithin {
			t.Errorf("error %v, code %v %d, after %v", err, specific, code, time.Since(begin))
		}
		last := states[len(states)-1]
		if last.CheckPoint < 18 || last.WaitHint != 5000 || last.State != svc.StopPending {
			t.Errorf("last it said %+v", last)
		}
		if e := l.entries[len(l.entries)-1]; !strings.HasPrefix(e, "4 1 Amazon SSM Agent did not stop by itself") {
			t.Errorf("event %q", e)
		}
		close(release)
	})
}

// TestHostingCallsFail: the calls of hosting may fail, too.
func TestHostingCallsFail(t *testing.T) {
	t.Parallel()
	for _, errno := range []windows.Errno{windows.ERROR_INVALID_DATA, windows.ERROR_SERVICE_ALREADY_RUNNING, windows.ERROR_ACCESS_DENIED} {
		h := &host{o: Default(), core: obedient}
		err := h.under(func(string, svc.Handler) error { return errno }, nil)
		if !errors.Is(err, errno) || !strings.Contains(err.Error(), "host service AmazonSSMAgent: talk to the service manager") {
			t.Errorf("error %v", err)
		}
	}
	// Without an event log, and with one that takes nothing, it serves all the same.
	for name, l := range map[string]*log{"full": {fail: windows.ERROR_LOG_FILE_FULL}, "no log": nil} {
		dispatch := func(_ string, handler svc.Handler) error {
			in, out := make(chan svc.ChangeRequest), make(chan svc.Status, 9)
			go func() { in <- svc.ChangeRequest{Cmd: svc.Stop} }()
			if specific, code := handler.Execute(nil, in, out); specific || code != 0 {
				t.Errorf("%s: code %d", name, code)
			}
			return nil
		}
		open := l.opener
		if l == nil {
			open = func(string) (events, error) { return nil, windows.RPC_S_SERVER_UNAVAILABLE }
		}
		h := &host{o: Default(), core: obedient, done: make(chan struct{}), hurry: make(chan struct{})}
		if err := h.under(dispatch, open); err != nil || l != nil && l.open != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLongEvent(t *testing.T) {
	t.Parallel()
	l := &log{}
	eventLog{events: l}.write(failed, "%s", "x"+strings.Repeat("ü", maxEvent))
	if n := len(l.entries[0]); n < maxEvent-5 || n > maxEvent+10 || strings.Contains(l.entries[0], "\uFFFD") {
		t.Errorf("%d bytes", n)
	}
}
