package firstboot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// Where Windows keeps the state.
const (
	stateKey   = `SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State`
	stateValue = "ImageState"
)

// again is how often the state is looked at while nothing tells of a change, as
// stock agents do: EC2Config may come meanwhile.
const again = 5 * time.Second

// calls are the functions of Windows that waiting takes, so that tests can have
// each of them fail.
type calls interface {
	openState() (registry.Key, error)
	value(k registry.Key) (string, error)
	closeKey(k registry.Key) error
	newEvent() (windows.Handle, error)
	setEvent(event windows.Handle) error
	closeEvent(event windows.Handle) error
	// notify has event set, once, when something in k changes or k goes.
	notify(k registry.Key, event windows.Handle) error
	// wait says whether the event was set, and not the time over.
	wait(event windows.Handle, within time.Duration) (set bool, err error)
	// ec2Config says how the service EC2Config starts, 0 when it is not there,
	// and whether it runs.
	ec2Config() (start uint32, running bool, err error)
}

func state() (string, error) {
	var s string
	err := with(win32{}, func(k registry.Key) (err error) {
		s, err = win32{}.value(k)
		return err
	})
	return s, err
}

// with calls do with the state's key if there is one. That there is no value, or
// that the key goes, is no error either: no image is set up there.
func with(c calls, do func(registry.Key) error) error {
	k, err := c.openState()
	if err == nil {
		err = do(k)
		if closeErr := c.closeKey(k); closeErr != nil {
			err = errors.Join(err, closeErr)
		}
	}
	if err == nil || errors.Is(err, registry.ErrNotExist) || errors.Is(err, windows.ERROR_KEY_DELETED) {
		return nil
	}
	return fmt.Errorf("%s of %s: %w", stateValue, stateKey, err)
}

func await(ctx context.Context, told func(string)) error { return waiter{win32{}, told}.await(ctx) }

type waiter struct {
	calls
	told func(string)
}

func (w waiter) await(ctx context.Context) error {
	return with(w.calls, func(k registry.Key) error {
		event, err := w.newEvent()
		if err != nil {
			return fmt.Errorf("make an event: %w", err)
		}
		ended := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(ended)
			_ = w.setEvent(event) // without, the end is noticed when it is looked again
		})
		err = w.complete(ctx, k, event)
		if !stop() {
			<-ended
		}
		if closeErr := w.closeEvent(event); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("close an event: %w", closeErr))
		}
		return err
	})
}

// complete asks to be told before it looks, so that it misses nothing.
func (w waiter) complete(ctx context.Context, k registry.Key, event windows.Handle) error {
	for armed, last := false, Complete; ; {
		if !armed {
			if err := w.notify(k, event); err != nil {
				return fmt.Errorf("have its changes told: %w", err)
			}
		}
		s, err := w.value(k)
		if err != nil || s == Complete {
			return err
		}
		if err := w.others(); err != nil {
			return err
		}
		if s != last {
			w.told(s)
			last = s
		}
		set, err := w.wait(event, again)
		if err != nil {
			return fmt.Errorf("wait for a change: %w", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		armed = !set
	}
}

// others is ErrOthers where EC2Config sets the machine up, or is about to.
func (w waiter) others() error {
	start, running, err := w.ec2Config()
	if err != nil {
		return fmt.Errorf("see whether EC2Config sets the machine up: %w", err)
	}
	if start == windows.SERVICE_AUTO_START || start == windows.SERVICE_DEMAND_START && running {
		return ErrOthers
	}
	return nil
}
