package service

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// calls are the functions of Windows that managing a service takes, so that
// tests can have each of them fail. Handles are those of the service manager.
type calls interface {
	openManager(access uint32) (windows.Handle, error)
	openService(manager windows.Handle, name string, access uint32) (windows.Handle, error)
	createService(manager windows.Handle, o Options, line string) (windows.Handle, error)
	change(service windows.Handle, level uint32, setting *byte) error
	start(service windows.Handle) error
	stop(service windows.Handle) error
	remove(service windows.Handle) error
	state(service windows.Handle) (windows.SERVICE_STATUS_PROCESS, error)
	closeHandle(h windows.Handle) error
	addSource(name string) error
	removeSource(name string) error
}

// win32 is the real thing.
type win32 struct{}

var _ calls = win32{}

func (win32) openManager(access uint32) (windows.Handle, error) {
	return windows.OpenSCManager(nil, nil, access)
}

func (win32) openService(m windows.Handle, name string, access uint32) (windows.Handle, error) {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return 0, err
	}
	return windows.OpenService(m, p, access)
}

func (win32) createService(m windows.Handle, o Options, line string) (windows.Handle, error) {
	name, err1 := windows.UTF16PtrFromString(o.Name)
	display, err2 := windows.UTF16PtrFromString(o.DisplayName)
	path, err3 := windows.UTF16PtrFromString(line)
	if err := errors.Join(err1, err2, err3); err != nil {
		return 0, err
	}
	return windows.CreateService(m, name, display, changing|windows.DELETE, windows.SERVICE_WIN32_OWN_PROCESS,
		windows.SERVICE_AUTO_START, windows.SERVICE_ERROR_NORMAL, path, nil, nil, nil, nil, nil) // as LocalSystem
}

func (win32) change(s windows.Handle, level uint32, setting *byte) error {
	return windows.ChangeServiceConfig2(s, level, setting)
}

func (win32) start(s windows.Handle) error { return windows.StartService(s, 0, nil) }

func (win32) stop(s windows.Handle) error {
	var status windows.SERVICE_STATUS
	return windows.ControlService(s, windows.SERVICE_CONTROL_STOP, &status)
}

func (win32) remove(s windows.Handle) error { return windows.DeleteService(s) }

func (win32) state(s windows.Handle) (windows.SERVICE_STATUS_PROCESS, error) {
	var st windows.SERVICE_STATUS_PROCESS
	var needed uint32
	err := windows.QueryServiceStatusEx(s, windows.SC_STATUS_PROCESS_INFO, bytesOf(&st), uint32(unsafe.Sizeof(st)), &needed)
	return st, err
}

func (win32) closeHandle(h windows.Handle) error { return windows.CloseServiceHandle(h) }

// sources is where the event log's readers look for what wrote an entry.
const sources = `SYSTEM\CurrentControlSet\Services\EventLog\Application`

// addSource names the library that has the text of our entries: for the ids 1
// to 1000 the system's own EventCreate.exe, which shows what it is handed.
func (win32) addSource(name string) error {
	all, err := registry.OpenKey(registry.LOCAL_MACHINE, sources, registry.CREATE_SUB_KEY)
	if err != nil {
		return err
	}
	defer all.Close()
	k, _, err := registry.CreateKey(all, name, registry.SET_VALUE)
	if err != nil {
		return err
	}
	defer k.Close()
	const kinds = windows.EVENTLOG_ERROR_TYPE | windows.EVENTLOG_WARNING_TYPE | windows.EVENTLOG_INFORMATION_TYPE
	return errors.Join(k.SetDWordValue("CustomSource", 1), k.SetDWordValue("TypesSupported", kinds),
		k.SetExpandStringValue("EventMessageFile", `%SystemRoot%\System32\EventCreate.exe`))
}

func (win32) removeSource(name string) error {
	all, err := registry.OpenKey(registry.LOCAL_MACHINE, sources, registry.SET_VALUE)
	if err != nil {
		return err
	}
	defer all.Close()
	if err := registry.DeleteKey(all, name); !errors.Is(err, registry.ErrNotExist) {
		return err
	}
	return nil
}

// remedy says what an administrator can do about an error of the service
// manager, whose own words do not.
func remedy(err error) error {
	var errno windows.Errno
	if !errors.As(err, &errno) {
		return err
	}
	if errno == windows.ERROR_SERVICE_DOES_NOT_EXIST {
		return fmt.Errorf("%w (%w)", ErrNotInstalled, err)
	}
	for _, r := range []struct {
		of   windows.Errno
		hint string
	}{
		{windows.ERROR_ACCESS_DENIED, "run it as an administrator"},
		{windows.ERROR_SERVICE_EXISTS, "it is installed already; configure it, or uninstall it first"},
		{windows.ERROR_DUPLICATE_SERVICE_NAME, "another service shows the same name; remove that one first"},
		{windows.ERROR_SERVICE_MARKED_FOR_DELETE, "it was removed, but is still open somewhere; close the list of services and whatever else shows it, or restart the machine"},
		{windows.ERROR_SERVICE_DISABLED, "it is disabled; give it the start type automatic or manual"},
		{windows.ERROR_SERVICE_DATABASE_LOCKED, "another program holds the list of services; try again"},
		{windows.ERROR_SERVICE_CANNOT_ACCEPT_CTRL, "it is just starting or stopping; try again"},
		{windows.ERROR_INVALID_SERVICE_CONTROL, "it does not take this request now; try again"},
		{windows.ERROR_DEPENDENT_SERVICES_RUNNING, "services that depend on it are running; stop them first"},
		{windows.ERROR_SERVICE_DEPENDENCY_FAIL, "a service that it depends on did not start; start that one first"},
		{windows.ERROR_SERVICE_DEPENDENCY_DELETED, "a service that it depends on is not there; remove the dependency"},
		{windows.ERROR_SERVICE_LOGON_FAILED, "its account cannot log on; let it run as LocalSystem"},
		{windows.ERROR_SERVICE_REQUEST_TIMEOUT, "its program did not answer in time; see the agent's log"},
		{windows.ERROR_SERVICE_NO_THREAD, "the system is out of threads; restart the machine"},
		{windows.ERROR_PATH_NOT_FOUND, "its program is not where the service says; install it again"},
		{windows.ERROR_FILE_NOT_FOUND, "its program is not where the service says; install it again"},
		{windows.ERROR_SHUTDOWN_IN_PROGRESS, "the machine is shutting down"},
		{windows.RPC_S_SERVER_UNAVAILABLE, "the service manager does not answer"},
	} {
		if errno == r.of {
			return fmt.Errorf("%s: %w", r.hint, err)
		}
	}
	return err
}
