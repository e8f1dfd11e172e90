package service

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	kardianos "github.com/kardianos/service"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc/mgr"
)

// Default has the agent's names on this system.
func Default() Options {
	return Options{Name: "AmazonSSMAgent", DisplayName: "Amazon SSM Agent", Description: "Amazon SSM Agent"}
}

func run(h *host) error {
	if kardianos.Interactive() {
		return h.foreground()
	}
	s, err := kardianos.New(h, &kardianos.Config{Name: h.o.Name})
	if err != nil {
		return fmt.Errorf("host service %s: %w", h.o.Name, err)
	}
	// The library waits for the manager alone, so a core that dies would
	// still be shown as running. A process that goes without saying so is
	// what the recovery actions are for.
	go func() {
		<-h.done
		if h.ctx.Err() == nil {
			h.o.Log.Error("service ended by itself", "err", h.err)
			os.Exit(1)
		}
	}()
	return s.Run()
}

// foreground is for a console: the library would not notice the core's end.
func (h *host) foreground() error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM) // Ctrl-C; closing the console
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

func manager() error { return nil }

// install does it without the library, which sets one recovery action only,
// and none for an end that is no crash.
func install(o Options, exe string) error {
	m, err := mgr.Connect()
	if err != nil {
		return fmt.Errorf("connect to the service control manager: %w", err)
	}
	defer func() { _ = m.Disconnect() }()
	s, err := m.CreateService(o.Name, exe, mgr.Config{
		DisplayName: o.DisplayName, Description: o.Description, StartType: mgr.StartAutomatic, ErrorControl: mgr.ErrorNormal,
	}, o.Arguments...)
	if errors.Is(err, windows.ERROR_SERVICE_EXISTS) {
		return fmt.Errorf("it is installed already; uninstall it first: %w", err)
	}
	if err != nil {
		return err
	}
	defer s.Close()
	restart := mgr.RecoveryAction{Type: mgr.ServiceRestart, Delay: time.Second}
	const day = 86400 // seconds without failure after which counting starts anew
	if err := s.SetRecoveryActions([]mgr.RecoveryAction{restart, restart, restart}, day); err != nil {
		return errors.Join(fmt.Errorf("set recovery actions: %w", err), s.Delete())
	}
	if err := s.SetRecoveryActionsOnNonCrashFailures(true); err != nil {
		return errors.Join(fmt.Errorf("set recovery actions: %w", err), s.Delete())
	}
	return nil
}
