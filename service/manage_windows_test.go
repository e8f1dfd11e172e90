package service

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// machine is a service manager that fails where it is told to.
type machine struct {
	fails  string // the call that does
	with   error
	open   map[windows.Handle]bool
	next   windows.Handle
	called []string
	states []uint32 // that the service goes through
	levels map[uint32]bool
	there  bool
	source bool
}

var _ calls = (*machine)(nil)

func (m *machine) call(name string) error {
	m.called = append(m.called, name)
	if name == m.fails {
		return m.with
	}
	return nil
}

func (m *machine) handle(name string) (windows.Handle, error) {
	if err := m.call(name); err != nil {
		return 0, err
	}
	m.next++
	m.open[m.next] = true
	return m.next, nil
}

func (m *machine) used(h windows.Handle, name string) error {
	if !m.open[h] {
		return fmt.Errorf("%s with handle %d, which is not open", name, h)
	}
	return m.call(name)
}

func (m *machine) openManager(uint32) (windows.Handle, error) { return m.handle("openManager") }

func (m *machine) openService(windows.Handle, string, uint32) (windows.Handle, error) {
	return m.handle("openService")
}

func (m *machine) createService(windows.Handle, Options, string) (windows.Handle, error) {
	h, err := m.handle("createService")
	m.there = err == nil
	return h, err
}

func (m *machine) change(h windows.Handle, level uint32, _ *byte) error {
	m.levels[level] = true
	return m.used(h, fmt.Sprintf("change %d", level))
}

func (m *machine) start(h windows.Handle) error { return m.used(h, "start") }
func (m *machine) stop(h windows.Handle) error  { return m.used(h, "stop") }

func (m *machine) remove(h windows.Handle) error {
	err := m.used(h, "remove")
	m.there = m.there && err != nil
	return err
}

func (m *machine) state(h windows.Handle) (windows.SERVICE_STATUS_PROCESS, error) {
	st := windows.SERVICE_STATUS_PROCESS{CurrentState: m.states[0], ProcessId: 7}
	if len(m.states) > 1 {
		m.states = m.states[1:]
	}
	return st, m.used(h, "state")
}

func (m *machine) closeHandle(h windows.Handle) error {
	err := m.used(h, "closeHandle")
	delete(m.open, h)
	return err
}

func (m *machine) addSource(string) error {
	err := m.call("addSource")
	m.source = err == nil
	return err
}

func (m *machine) removeSource(string) error {
	err := m.call("removeSource")
	m.source = m.source && err != nil
	return err
}

func (m *machine) service() managed {
	m.open, m.levels, m.states = map[windows.Handle]bool{}, map[uint32]bool{}, []uint32{windows.SERVICE_STOP_PENDING, windows.SERVICE_STOPPED}
	return managed{o: Default(), api: m, patience: time.Minute, every: time.Millisecond}
}

// deeds are what is done to services.
func deeds() map[string]func(managed) error {
	return map[string]func(managed) error{
		"install": managed.Install, "configure": managed.Configure, "uninstall": managed.Uninstall,
		"start": managed.Start, "stop": managed.Stop, "restart": managed.Restart,
		"status": func(m managed) error { _, err := m.Status(); return err },
	}
}

// harmless says which errors are what was asked for.
func harmless(deed, call string, err windows.Errno) bool {
	switch err {
	case windows.ERROR_SERVICE_DOES_NOT_EXIST:
		return deed == "uninstall" && call != "removeSource" // whenever it went
	case windows.ERROR_SERVICE_ALREADY_RUNNING:
		return call == "start"
	case windows.ERROR_SERVICE_NOT_ACTIVE, windows.ERROR_SERVICE_CANNOT_ACCEPT_CTRL:
		return call == "stop"
	case windows.ERROR_SERVICE_MARKED_FOR_DELETE:
		return deed == "uninstall" && call == "remove"
	case windows.ERROR_INVALID_LEVEL:
		return strings.HasPrefix(call, "change")
	}
	return false
}

// TestEveryCallFails: whichever call fails, and by whichever error it may, a
// sentence says so, no handle stays open, and an installation that is not whole
// is taken back.
func TestEveryCallFails(t *testing.T) {
	t.Parallel()
	hints := []windows.Errno{windows.ERROR_ACCESS_DENIED, windows.ERROR_SERVICE_EXISTS, windows.ERROR_DUPLICATE_SERVICE_NAME,
		windows.ERROR_SERVICE_DISABLED, windows.ERROR_SERVICE_DATABASE_LOCKED, windows.ERROR_SERVICE_REQUEST_TIMEOUT,
		windows.ERROR_INVALID_SERVICE_CONTROL, windows.ERROR_DEPENDENT_SERVICES_RUNNING, windows.ERROR_SERVICE_DEPENDENCY_FAIL,
		windows.ERROR_SERVICE_DEPENDENCY_DELETED, windows.ERROR_SERVICE_LOGON_FAILED, windows.ERROR_SERVICE_NO_THREAD,
		windows.ERROR_PATH_NOT_FOUND, windows.ERROR_FILE_NOT_FOUND, windows.ERROR_SHUTDOWN_IN_PROGRESS, windows.RPC_S_SERVER_UNAVAILABLE,
		windows.ERROR_SERVICE_MARKED_FOR_DELETE, windows.ERROR_SERVICE_CANNOT_ACCEPT_CTRL}
	others := []windows.Errno{windows.ERROR_INVALID_HANDLE, windows.ERROR_INVALID_PARAMETER, windows.ERROR_INVALID_NAME,
		windows.ERROR_CIRCULAR_DEPENDENCY, windows.ERROR_INVALID_SERVICE_ACCOUNT, windows.ERROR_DATABASE_DOES_NOT_EXIST,
		windows.ERROR_SERVICE_DOES_NOT_EXIST, windows.ERROR_SERVICE_ALREADY_RUNNING, windows.ERROR_SERVICE_NOT_ACTIVE,
		windows.ERROR_INVALID_LEVEL, windows.ERROR_INSUFFICIENT_BUFFER, windows.ERROR_NOT_ENOUGH_MEMORY}
	for deed, do := range deeds() {
		whole := &machine{}
		if err := do(whole.service()); err != nil || len(whole.open) != 0 {
			t.Fatalf("%s: %v, open handles %v", deed, err, whole.open)
		}
		calls := slices.Collect(maps.Keys(setOf(whole.called)))
		for _, call := range calls {
			for _, errno := range append(hints, others...) {
				m := &machine{fails: call, with: errno}
				err := do(m.service())
				if call == "closeHandle" {
					if err == nil || len(m.open) != 0 {
						t.Errorf("%s, %s: %v, open handles %v", deed, call, err, m.open)
					}
					continue
				}
				if len(m.open) != 0 || (err == nil) != harmless(deed, call, errno) {
					t.Errorf("%s, %s is %q: error %v, open handles %v", deed, call, errno.Error(), err, m.open)
				}
				if err == nil {
					continue
				}
				missing := errno == windows.ERROR_SERVICE_DOES_NOT_EXIST
				if !errors.Is(err, errno) || errors.Is(err, ErrNotInstalled) != missing || slices.Contains(hints, errno) && len(err.Error()) < len(errno.Error())+20 {
					t.Errorf("%s, %s: %q says too little of %q", deed, call, err, errno.Error())
				}
				if deed == "install" && (m.there || m.source) {
					t.Errorf("%s, %s: service %v, source %v are left", deed, call, m.there, m.source)
				}
			}
		}
	}
}

func setOf(words []string) map[string]bool {
	set := map[string]bool{}
	for _, w := range words {
		set[w] = true
	}
	return set
}

// TestSettings: all that makes the service what it is, and the structures are
// as Windows lays them out.
func TestSettings(t *testing.T) {
	t.Parallel()
	m := &machine{}
	s := m.service()
	if err := s.Configure(); err != nil {
		t.Fatal(err)
	}
	for _, level := range []uint32{windows.SERVICE_CONFIG_DESCRIPTION, windows.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, windows.SERVICE_CONFIG_FAILURE_ACTIONS,
		windows.SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, windows.SERVICE_CONFIG_PRESHUTDOWN_INFO} {
		if !m.levels[level] {
			t.Errorf("level %d was not set", level)
		}
	}
	settings, err := s.settings()
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range settings {
		switch set.level {
		case windows.SERVICE_CONFIG_FAILURE_ACTIONS:
			f := (*windows.SERVICE_FAILURE_ACTIONS)(unsafe.Pointer(set.value))
			for i, a := range unsafe.Slice(f.Actions, f.ActionsCount) {
				if a.Type != windows.SC_ACTION_RESTART || a.Delay != []uint32{1000, 5000, 60_000}[i] {
					t.Errorf("action %d: %+v", i, a)
				}
			}
			if f.ActionsCount != 3 || f.ResetPeriod != 86400 || f.Command != nil || f.RebootMsg != nil {
				t.Errorf("%+v", f)
			}
		case windows.SERVICE_CONFIG_PRESHUTDOWN_INFO:
			if ms := *(*uint32)(unsafe.Pointer(set.value)); ms != 60_000 {
				t.Errorf("%d ms before a shutdown", ms)
			}
		case windows.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, windows.SERVICE_CONFIG_FAILURE_ACTIONS_FLAG:
			if on := *(*uint32)(unsafe.Pointer(set.value)); on != 1 {
				t.Errorf("%s is %d", set.name, on)
			}
		}
	}
}

// TestStopHasAnEnd: a service that does not stop is given up, and named.
func TestStopHasAnEnd(t *testing.T) {
	t.Parallel()
	m := &machine{}
	s := m.service()
	m.states, s.patience = []uint32{windows.SERVICE_STOP_PENDING}, 100*time.Millisecond
	if err := s.Stop(); !errors.Is(err, ErrStuck) || !strings.Contains(err.Error(), "process 7") || len(m.open) != 0 {
		t.Errorf("error %v, open handles %v", err, m.open)
	}
}
