//go:build unix

package service

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	kardianos "github.com/kardianos/service"
)

func supervised() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

func run(h *host) error {
	// Before the core starts, so that no signal finds us without a handler.
	// SIGHUP is caught, not ignored: children would inherit that.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	quit := make(chan struct{})
	defer close(quit)

	config := &kardianos.Config{Name: h.o.Name, Option: kardianos.KeyValue{
		"RunWait": func() { h.await(signals); go h.impatience(signals, quit) },
	}}
	s, err := kardianos.New(h, config)
	if err != nil {
		return fmt.Errorf("host service %s: %w", h.o.Name, err)
	}
	return s.Run()
}

// await returns when the core has ended or a signal asks for the end.
func (h *host) await(signals <-chan os.Signal) {
	for {
		select {
		case <-h.done:
			return
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				return
			}
			if h.o.Reload != nil {
				h.o.Reload()
			}
		}
	}
}

// impatience ends the wait for the core when Ctrl-C is pressed once more.
func (h *host) impatience(signals <-chan os.Signal, quit <-chan struct{}) {
	for {
		select {
		case sig := <-signals:
			if sig == syscall.SIGINT {
				close(h.hurry)
				return
			}
		case <-quit:
			return
		}
	}
}

// described is a service whose settings are in a text: a unit, or a job.
type described struct {
	kardianos.Service
	executable string
	arguments  []string
}

func (o Options) native(s kardianos.Service, exe string) native {
	return described{s, exe, o.Arguments}
}

// Install implements kardianos.Service.
func (d described) Install() error {
	if err := noTemplate(d.executable, d.arguments); err != nil {
		return err
	}
	return d.Service.Install()
}

// Configure implements native.
func (described) Configure() error {
	return fmt.Errorf("its settings are in the text that its installation writes; install it instead: %w", errors.ErrUnsupported)
}
