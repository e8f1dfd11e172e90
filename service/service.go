// Package service hosts a function as a system service: in the foreground,
// under systemd, launchd and the Windows service control manager. It knows
// nothing of what it hosts.
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	kardianos "github.com/kardianos/service"
)

var (
	// ErrStuck says that the core did not return in time after it was asked to.
	ErrStuck = errors.New("service did not stop in time")
	// ErrEnded says that the core returned without being asked to stop.
	ErrEnded = errors.New("service ended by itself")
	// ErrDone is for a core to wrap that has nothing to do: its end is none that
	// the manager should do something about.
	ErrDone = errors.New("service has nothing to do")
	// ErrNotInstalled says that the service manager does not know the service.
	ErrNotInstalled = errors.New("service is not installed")
)

// Core is what a service does. It returns soon after ctx ends, and calls ready
// once when its set-up is done (for the network it should not wait before).
type Core func(ctx context.Context, ready func()) error

// Options describe a service. Default has those of the agent.
type Options struct {
	Name        string // as the service manager knows it
	DisplayName string
	Description string
	// Executable and Arguments are what Install registers; an empty
	// Executable is this program.
	Executable string
	Arguments  []string
	// StopWithin is how long the core may take to return; 0 is 30 s.
	StopWithin time.Duration
	// Reload is called on SIGHUP, and on Windows when the manager is asked to tell
	// of changed parameters; nil: nothing happens then.
	Reload func()
	// Log is where trouble is told; it is asked when there is some, as it may be
	// the core that opens a log. Nil, and what it returns: discards.
	Log func() *slog.Logger
	// Version is told in Windows' event log.
	Version string
	// Code is the number that the Windows service manager is told for an error of
	// the core, never 0; nil: 1.
	Code func(error) uint32
	// Foreground has Windows' service manager not asked whether it started us.
	Foreground bool
}

// Run runs core until the service manager, SIGTERM or an interrupt asks for
// the end. It returns nil if core then returned without error (context.Canceled
// is none), ErrStuck if it did not return, after logging every stack, and an
// error wrapping ErrEnded if it returned unasked: the caller exits non-zero, so
// that the manager starts it again; an error wrapping ErrDone is none.
func Run(o Options, core Core) error {
	o.StopWithin = o.stopWithin()
	return run(&host{o: o, core: core, done: make(chan struct{}), hurry: make(chan struct{})})
}

func (o Options) stopWithin() time.Duration {
	if o.StopWithin <= 0 {
		return 30 * time.Second
	}
	return o.StopWithin
}

func (o Options) log() *slog.Logger {
	if o.Log != nil {
		if log := o.Log(); log != nil {
			return log
		}
	}
	return slog.New(slog.DiscardHandler)
}

// host is a running core, as kardianos wants it.
type host struct {
	o    Options
	core Core

	ctx    context.Context // the core's, made by Start; ended: it was asked to stop
	cancel context.CancelFunc
	helper sync.WaitGroup // the watchdog's goroutine
	done   chan struct{}  // closed when core has returned
	err    error          // what it returned; read after done
	hurry  chan struct{}  // closed when somebody loses patience with the stop
}

var _ kardianos.Interface = (*host)(nil)

// Start implements kardianos.Interface: it returns at once.
func (h *host) Start(kardianos.Service) error {
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.watch(h.ctx)
	var once sync.Once
	ready := func() { once.Do(func() { h.notify(daemon.SdNotifyReady) }) }
	go func() {
		defer close(h.done)
		h.err = h.core(h.ctx, ready)
	}()
	return nil
}

// Stop implements kardianos.Interface.
func (h *host) Stop(kardianos.Service) error {
	select {
	case <-h.done:
		return h.ended()
	default:
	}
	h.notify(daemon.SdNotifyStopping)
	h.cancel()
	timer := time.NewTimer(h.o.StopWithin)
	defer timer.Stop()
	select {
	case <-h.done:
		h.helper.Wait()
		if h.err == nil || errors.Is(h.err, context.Canceled) {
			return nil
		}
		return h.err
	case <-timer.C:
		h.o.log().Error("service does not stop; what it is doing follows", "within", h.o.StopWithin, "stacks", stacks())
		return fmt.Errorf("%w (%v)", ErrStuck, h.o.StopWithin)
	case <-h.hurry:
		return fmt.Errorf("%w: interrupted again", ErrStuck)
	}
}

// ended is the error of a core that returned unasked.
func (h *host) ended() error {
	h.cancel()
	h.helper.Wait()
	switch {
	case h.err == nil:
		return ErrEnded
	case errors.Is(h.err, ErrDone):
		return nil
	}
	return fmt.Errorf("%w: %w", ErrEnded, h.err)
}

// Supervised says whether a service manager wants to know how the service is:
// systemd, where the unit is of Type=notify, and Windows', but in containers
// whose services are not in session 0.
func Supervised() bool { return supervised() }

// Tell tells the service manager in words what the service is doing; "" takes
// them back. Without such a manager it does nothing.
func Tell(text string) error {
	if _, err := daemon.SdNotify(false, "STATUS="+text); err != nil {
		return fmt.Errorf("tell systemd the status: %w", err)
	}
	return nil
}

func (h *host) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		h.o.log().Warn("tell systemd", "state", state, "err", err)
	}
}

// watch pets the watchdog if the unit has one; without, nothing ever wakes up.
func (h *host) watch(ctx context.Context) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		h.o.log().Warn("read the watchdog's settings", "err", err)
	}
	if interval <= 0 {
		return
	}
	h.helper.Go(func() {
		t := time.NewTicker(interval / 2)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				h.notify(daemon.SdNotifyWatchdog)
			case <-ctx.Done():
				return
			}
		}
	})
}

// stacks is what every goroutine is doing, 1 MB of it at most.
func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}
