package service

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	kardianos "github.com/kardianos/service"
)

// Default has the agent's names on this system. An installer that stops the
// service gives it 30 s, so it takes less.
func Default() Options {
	return Options{Name: "AmazonSSMAgent", DisplayName: "Amazon SSM Agent", Description: "Amazon SSM Agent", StopWithin: 20 * time.Second}
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
