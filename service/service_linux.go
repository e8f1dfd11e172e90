package service

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	kardianos "github.com/kardianos/service"
)

// Default has the agent's names on this system.
func Default() Options {
	return Options{Name: "amazon-ssm-agent", DisplayName: "amazon-ssm-agent", Description: "amazon-ssm-agent"}
}

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

// manager refuses what we have no text for: the library would write its own.
func manager() error {
	if p := kardianos.Platform(); p != "linux-systemd" {
		return fmt.Errorf("systemd does not run here (%s); run the agent in the foreground, under whatever supervises programs here: %w",
			p, errors.ErrUnsupported)
	}
	return nil
}

func install(o Options, exe string) error {
	for _, word := range append([]string{exe}, o.Arguments...) {
		if strings.Contains(word, "{{") { // the library takes the unit for a template
			return fmt.Errorf("%q: two opening braces cannot stand in a unit's command line", word)
		}
	}
	s, err := handle(o)
	if err != nil {
		return err
	}
	return s.Install()
}
