package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
)

// Default has the agent's names on this system. An installer that stops the
// service gives it 30 s, so it takes less.
func Default() Options {
	return Options{Name: "AmazonSSMAgent", DisplayName: "Amazon SSM Agent", Description: "Amazon SSM Agent", StopWithin: 20 * time.Second}
}

func supervised() bool {
	yes, err := svc.IsWindowsService()
	return err == nil && yes
}

func run(h *host) error { return h.under(svc.Run, openEvents) }

// under hosts h under the service manager, or in the foreground where that did
// not start us: it alone knows. (A session's number, by which the library tells,
// is that of services in containers only sometimes.)
func (h *host) under(dispatch func(string, svc.Handler) error, open func(string) (events, error)) error {
	if h.o.Foreground {
		return h.foreground()
	}
	c := &controlled{h: h, open: open}
	switch err := dispatch(h.o.Name, c); {
	case errors.Is(err, windows.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT):
		return h.foreground()
	case err != nil:
		return fmt.Errorf("host service %s: talk to the service manager: %w", h.o.Name, err)
	}
	return c.err
}

// foreground is for a console: Ctrl-C, or that it is closed, ends it.
func (h *host) foreground() error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := h.Start(nil); err != nil {
		return err
	}
	select {
	case <-h.done:
	case <-signals:
	}
	quit := make(chan struct{})
	defer close(quit)
	go func() {
		select {
		case <-signals:
			close(h.hurry)
		case <-quit:
		}
	}()
	return h.Stop(nil)
}

// controlled is a host under the service manager. The library's handler of that
// knows no shutdown's announcement, says nothing while it stops, does not notice
// that a core ended, and has one exit code.
type controlled struct {
	h    *host
	open func(source string) (events, error)
	err  error // what Run returns; read when the dispatcher has returned
}

var _ svc.Handler = (*controlled)(nil)

// accepted are the requests that are taken while it runs.
const accepted = svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPreShutdown | svc.AcceptParamChange

// alive is how often it says that it is stopping, and late how long after that
// the manager may take it for dead.
const alive, late = time.Second, 5 * time.Second

// Execute implements svc.Handler. The core starts at once and does all that may
// take time itself: a manager that is kept waiting takes a service for failed.
func (c *controlled) Execute(_ []string, in <-chan svc.ChangeRequest, out chan<- svc.Status) (specific bool, code uint32) {
	out <- svc.Status{State: svc.StartPending, WaitHint: uint32(late.Milliseconds())}
	log := c.events()
	defer log.close()
	if c.err = c.h.Start(nil); c.err != nil {
		return true, c.failed(log)
	}
	out <- svc.Status{State: svc.Running, Accepts: accepted}
	log.write(started, "%s %s started.", c.h.o.DisplayName, c.h.o.Version)
	for {
		select {
		case <-c.h.done:
			if c.err = c.h.ended(); c.err != nil {
				return true, c.failed(log)
			}
			log.write(stopped, "%s has nothing to do: %v.", c.h.o.DisplayName, c.h.err)
			return false, 0
		case r := <-in:
			switch r.Cmd {
			case svc.Interrogate:
				out <- r.CurrentStatus
			case svc.ParamChange:
				if c.h.o.Reload != nil {
					c.h.o.Reload()
				}
			case svc.Stop, svc.Shutdown, svc.PreShutdown:
				c.stop(in, out, log)
				// No code: the manager would take it for a failure and start again
				// what it was asked to stop, in the middle of an upgrade.
				return false, 0
			}
		}
	}
}

// events is the event log, or nothing where that cannot be had.
func (c *controlled) events() eventLog {
	e, err := c.open(c.h.o.Name)
	if err != nil {
		c.h.o.log().Warn("open the event log; it is not written to", "err", err)
	}
	return eventLog{e, c.h.o.log}
}

// failed tells of an end that nobody asked for.
func (c *controlled) failed(log eventLog) (code uint32) {
	code = 1
	if c.h.o.Code != nil {
		code = c.h.o.Code(c.err)
	}
	c.h.o.log().Error("service failed", "err", c.err, "code", code)
	log.write(failed, "%s failed with code %d: %v.", c.h.o.DisplayName, code, c.err)
	return code
}

// stop stops the core, and keeps saying so.
func (c *controlled) stop(in <-chan svc.ChangeRequest, out chan<- svc.Status, log eventLog) {
	now := svc.Status{State: svc.StopPending, WaitHint: uint32(late.Milliseconds())}
	out <- now
	end := make(chan error, 1)
	go func() { end <- c.h.Stop(nil) }()
	tick := time.NewTicker(alive)
	defer tick.Stop()
	for {
		select {
		case c.err = <-end:
			c.stoppedBy(log)
			return
		case r := <-in:
			if r.Cmd == svc.Interrogate {
				out <- now
			}
		case <-tick.C:
			now.CheckPoint++
			out <- now
		}
	}
}

func (c *controlled) stoppedBy(log eventLog) {
	switch {
	case c.err == nil:
		log.write(stopped, "%s stopped.", c.h.o.DisplayName)
	case errors.Is(c.err, ErrStuck):
		log.write(stuck, "%s did not stop by itself and is ended: %v. Its log says what it was doing.", c.h.o.DisplayName, c.err)
	case !errors.Is(c.err, context.Canceled):
		c.h.o.log().Error("service stopped with an error", "err", c.err)
		log.write(stuck, "%s stopped with an error: %v.", c.h.o.DisplayName, c.err)
	}
}
