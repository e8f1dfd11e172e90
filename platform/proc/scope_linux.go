package proc

import (
	"context"
	"fmt"
	"os"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// manager is where systemd hears root without a bus between.
const manager = "/run/systemd/private"

func hasScopes() bool {
	_, err := os.Stat(manager)
	return err == nil
}

type systemdScopes struct{ *systemd.Conn }

func dialScopes(ctx context.Context) (scoper, error) {
	conn, err := systemd.NewSystemdConnectionContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to systemd at %s: %w", manager, err)
	}
	return systemdScopes{conn}, nil
}

func (c systemdScopes) enter(ctx context.Context, id ID, unit string) error {
	if !running(id) {
		return nil // its number may be another's by now
	}
	if err := c.start(ctx, id.PID, unit); err != nil {
		if !running(id) {
			return nil
		}
		return fmt.Errorf("have systemd make %s: %w", unit, err)
	}
	return c.gather(ctx, id.PID, unit)
}

// start makes the scope with one process in it.
func (c systemdScopes) start(ctx context.Context, pid int, unit string) error {
	done := make(chan string, 1)
	_, err := c.StartTransientUnitContext(ctx, unit, "fail", []systemd.Property{
		systemd.PropDescription("started by amazon-ssm-agent"),
		systemd.PropPids(uint32(pid)),
		{Name: "Delegate", Value: dbus.MakeVariant(true)},                    // or nothing can be attached later
		{Name: "CollectMode", Value: dbus.MakeVariant("inactive-or-failed")}, // a scope that failed is not kept
	}, done)
	if err != nil {
		return err
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("its job is %s", result)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gather puts into the scope what the process had started before it was there
// itself.
func (c systemdScopes) gather(ctx context.Context, pid int, unit string) error {
	moved := map[int]bool{}
	for found := true; found; { // what a process started meanwhile is met in the next round
		found = false
		all, err := processes()
		if err != nil {
			return err
		}
		for _, s := range alive(newTree(all).below(pid, keeper(nil))) {
			if !moved[s.pid] {
				moved[s.pid], found = true, true
				_ = c.AttachProcessesToUnit(ctx, unit, "", []uint32{uint32(s.pid)}) // it may have ended
			}
		}
	}
	return nil
}
