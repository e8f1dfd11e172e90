package service

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	kardianos "github.com/kardianos/service"
	"golang.org/x/sys/windows"
)

// changing is the access that settings take: recovery that restarts a service
// takes the right to start it, too.
const changing = windows.SERVICE_CHANGE_CONFIG | windows.SERVICE_START

func manager() error { return nil }

// managed is the service for managing it, as the library wants it. The library's
// own has one recovery action, and no end of waiting for a stop.
type managed struct {
	kardianos.Service // the library's: its names
	o                 Options
	api               calls
	line              string        // the command line
	patience, every   time.Duration // of waiting for a stop, and of asking meanwhile
}

func (o Options) native(s kardianos.Service, exe string) native {
	line := windows.ComposeCommandLine(append([]string{exe}, o.Arguments...))
	return managed{s, o, win32{}, line, o.stopWithin() + 10*time.Second, 50 * time.Millisecond}
}

// opened calls do with the service, opened for access.
func (m managed) opened(access uint32, do func(s windows.Handle) error) error {
	return m.connected(windows.SC_MANAGER_CONNECT, func(sm windows.Handle) error {
		s, err := m.api.openService(sm, m.o.Name, access)
		if err != nil {
			return fmt.Errorf("open it: %w", remedy(err))
		}
		return m.using(s, do)
	})
}

func (m managed) connected(access uint32, do func(sm windows.Handle) error) error {
	sm, err := m.api.openManager(access)
	if err != nil {
		return fmt.Errorf("connect to the service manager: %w", remedy(err))
	}
	return m.using(sm, do)
}

// using calls do with a handle, and closes it.
func (m managed) using(h windows.Handle, do func(windows.Handle) error) error {
	err := do(h)
	if closeErr := m.api.closeHandle(h); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("close a handle of the service manager: %w", closeErr))
	}
	return err
}

// Install implements kardianos.Service. What fails in the middle leaves nothing.
func (m managed) Install() error {
	const access = windows.SC_MANAGER_CONNECT | windows.SC_MANAGER_CREATE_SERVICE
	return m.connected(access, func(sm windows.Handle) error {
		s, err := m.api.createService(sm, m.o, m.line)
		if err != nil {
			return fmt.Errorf("create it: %w", remedy(err))
		}
		return m.using(s, func(s windows.Handle) error {
			err := m.configure(s)
			if err != nil {
				err = errors.Join(err, m.undo(s))
			}
			return err
		})
	})
}

// undo takes an installation back that is not whole.
func (m managed) undo(s windows.Handle) error {
	var errs []error
	if err := m.api.removeSource(m.o.Name); err != nil {
		errs = append(errs, fmt.Errorf("remove the event log's source: %w", err))
	}
	if err := m.api.remove(s); err != nil {
		errs = append(errs, fmt.Errorf("remove it again: %w", remedy(err)))
	}
	return errors.Join(errs...)
}

// Configure gives a service that is there, whoever made it, the settings that
// Install gives.
func (m managed) Configure() error { return m.opened(changing, m.configure) }

// setting is one that the service manager has a level for.
type setting struct {
	name  string
	level uint32
	value *byte
}

// preshutdownInfo is SERVICE_PRESHUTDOWN_INFO.
type preshutdownInfo struct{ timeoutMilliseconds uint32 }

func (m managed) configure(s windows.Handle) error {
	settings, err := m.settings()
	if err != nil {
		return err
	}
	for _, set := range settings {
		err := m.api.change(s, set.level, set.value)
		if errors.Is(err, windows.ERROR_INVALID_LEVEL) { // older than the setting
			m.o.log().Warn("this system's service manager does not have a setting", "setting", set.name, "err", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("set its %s: %w", set.name, remedy(err))
		}
	}
	if err := m.api.addSource(m.o.Name); err != nil {
		return fmt.Errorf("register as a source of the event log: %w", remedy(err))
	}
	return nil
}

// settings: whatever ends it unasked, with a code or without, starts it again,
// more slowly from the third time within a day on, and so for ever. It comes
// after the services that others wait for, and is told of a shutdown before
// them, with time enough to stop.
func (m managed) settings() ([]setting, error) {
	text, err := windows.UTF16PtrFromString(m.o.Description)
	if err != nil {
		return nil, fmt.Errorf("description: %w", err)
	}
	actions := []windows.SC_ACTION{
		{Type: windows.SC_ACTION_RESTART, Delay: 1000}, {Type: windows.SC_ACTION_RESTART, Delay: 5000}, {Type: windows.SC_ACTION_RESTART, Delay: 60_000},
	}
	return []setting{
		{"description", windows.SERVICE_CONFIG_DESCRIPTION, bytesOf(&windows.SERVICE_DESCRIPTION{Description: text})},
		{"delayed start", windows.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, bytesOf(&windows.SERVICE_DELAYED_AUTO_START_INFO{IsDelayedAutoStartUp: 1})},
		{"recovery actions", windows.SERVICE_CONFIG_FAILURE_ACTIONS, bytesOf(&windows.SERVICE_FAILURE_ACTIONS{
			ResetPeriod: 86400, ActionsCount: uint32(len(actions)), Actions: &actions[0]})},
		{"recovery from failures that are no crash", windows.SERVICE_CONFIG_FAILURE_ACTIONS_FLAG,
			bytesOf(&windows.SERVICE_FAILURE_ACTIONS_FLAG{FailureActionsOnNonCrashFailures: 1})},
		{"time before a shutdown", windows.SERVICE_CONFIG_PRESHUTDOWN_INFO,
			bytesOf(&preshutdownInfo{uint32(m.patience.Milliseconds())})},
	}, nil
}

// bytesOf is a structure as ChangeServiceConfig2 takes it.
func bytesOf[T any](v *T) *byte { return (*byte)(unsafe.Pointer(v)) }

// Uninstall implements kardianos.Service: it stops the service first. One that is
// not there leaves nothing to do but the traces of another's installation.
func (m managed) Uninstall() error {
	err := m.opened(windows.SERVICE_STOP|windows.SERVICE_QUERY_STATUS|windows.DELETE, func(s windows.Handle) error {
		if err := m.stop(s); err != nil {
			return err
		}
		if err := m.api.remove(s); err != nil && !errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE) {
			return remedy(err)
		}
		return nil
	})
	if err != nil && !errors.Is(err, ErrNotInstalled) {
		return err
	}
	if err := m.api.removeSource(m.o.Name); err != nil {
		return fmt.Errorf("remove the event log's source: %w", remedy(err))
	}
	return nil
}

// Start implements kardianos.Service. One that runs is started.
func (m managed) Start() error {
	return m.opened(windows.SERVICE_START, func(s windows.Handle) error {
		if err := m.api.start(s); err != nil && !errors.Is(err, windows.ERROR_SERVICE_ALREADY_RUNNING) {
			return remedy(err)
		}
		return nil
	})
}

// Stop implements kardianos.Service: it returns when the service has stopped.
func (m managed) Stop() error {
	return m.opened(windows.SERVICE_STOP|windows.SERVICE_QUERY_STATUS, m.stop)
}

// Restart implements kardianos.Service.
func (m managed) Restart() error {
	if err := m.Stop(); err != nil {
		return err
	}
	return m.Start()
}

// stop asks again and again whether the service has stopped: Windows tells of that
// only by a call into a thread that waits for such calls, which Go has none of.
func (m managed) stop(s windows.Handle) error {
	switch err := m.api.stop(s); {
	case errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE):
		return nil
	case err != nil && !errors.Is(err, windows.ERROR_SERVICE_CANNOT_ACCEPT_CTRL): // stops already, or is about to start
		return fmt.Errorf("stop it: %w", remedy(err))
	}
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	timeout := time.NewTimer(m.patience)
	defer timeout.Stop()
	for {
		st, err := m.api.state(s)
		if err != nil {
			return fmt.Errorf("ask whether it has stopped: %w", remedy(err))
		}
		if st.CurrentState == windows.SERVICE_STOPPED {
			return nil
		}
		select {
		case <-tick.C:
		case <-timeout.C:
			return fmt.Errorf("%w: it still runs after %v, as process %d; see the agent's log", ErrStuck, m.patience, st.ProcessId)
		}
	}
}

// Status implements kardianos.Service.
func (m managed) Status() (kardianos.Status, error) {
	status := kardianos.StatusStopped
	err := m.opened(windows.SERVICE_QUERY_STATUS, func(s windows.Handle) error {
		st, err := m.api.state(s)
		if err != nil {
			return remedy(err)
		}
		if st.CurrentState == windows.SERVICE_RUNNING || st.CurrentState == windows.SERVICE_START_PENDING {
			status = kardianos.StatusRunning
		}
		return nil
	})
	return status, err
}
