package proc

import (
	"context"
	"os"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// manager is where systemd hears root without a bus between.
const manager = "/run/systemd/private"

// scopePrefix begins the names of the scopes that workers get.
const scopePrefix = "ssmagent-"

// scopeWithin bounds what systemd may take; nobody waits for it.
const scopeWithin = 10 * time.Second

// enter has systemd put a process and what it has started by now into a scope
// of their own, in the background: they stay where they are if systemd does
// not answer, or does not want to, which changes nothing of what they do.
func enter(scope string, pid int) {
	if _, err := os.Stat(manager); err != nil {
		return // no systemd, or none for us
	}
	go func() {
		ctx, done := context.WithTimeout(context.Background(), scopeWithin)
		defer done()
		_ = startScope(ctx, unitName(scope), pid)
	}()
}

// unitName is a unit's name of the characters that it may have (systemd.unit(5)).
func unitName(scope string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:", r)) {
			return r
		}
		return '_'
	}, scope[:min(len(scope), 200)]) + ".scope"
}

// startScope makes the scope, and then puts into it what the process had
// started before it was there itself.
func startScope(ctx context.Context, unit string, pid int) error {
	conn, err := systemd.NewSystemdConnectionContext(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	done := make(chan string, 1)
	_, err = conn.StartTransientUnitContext(ctx, unit, "fail", []systemd.Property{
		systemd.PropDescription("started by amazon-ssm-agent"),
		systemd.PropPids(uint32(pid)),
		{Name: "Delegate", Value: dbus.MakeVariant(true)},                    // or nothing can be attached later
		{Name: "CollectMode", Value: dbus.MakeVariant("inactive-or-failed")}, // a scope that failed is not kept
	}, done)
	if err != nil {
		return err
	}
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
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
				_ = conn.AttachProcessesToUnit(ctx, unit, "", []uint32{uint32(s.pid)}) // it may have ended
			}
		}
	}
	return nil
}
