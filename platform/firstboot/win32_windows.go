package firstboot

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// win32 is the real thing.
type win32 struct{}

var _ calls = win32{}

func (win32) openState() (registry.Key, error) {
	return registry.OpenKey(registry.LOCAL_MACHINE, stateKey, registry.QUERY_VALUE|registry.NOTIFY|registry.WOW64_64KEY)
}

func (win32) value(k registry.Key) (string, error) {
	s, _, err := k.GetStringValue(stateValue)
	return s, err
}

func (win32) closeKey(k registry.Key) error { return k.Close() }

func (win32) newEvent() (windows.Handle, error) { return windows.CreateEvent(nil, 0, 0, nil) }

func (win32) setEvent(event windows.Handle) error { return windows.SetEvent(event) }

func (win32) closeEvent(event windows.Handle) error { return windows.CloseHandle(event) }

// notify: goroutines move between threads, so it must not end with one.
func (win32) notify(k registry.Key, event windows.Handle) error {
	const what = windows.REG_NOTIFY_CHANGE_LAST_SET | windows.REG_NOTIFY_CHANGE_NAME | windows.REG_NOTIFY_THREAD_AGNOSTIC
	return windows.RegNotifyChangeKeyValue(windows.Handle(k), false, what, event, true)
}

func (win32) wait(event windows.Handle, within time.Duration) (bool, error) {
	ev, err := windows.WaitForSingleObject(event, uint32(within.Milliseconds()))
	return ev == windows.WAIT_OBJECT_0, err
}

func (win32) ec2Config() (start uint32, running bool, err error) {
	m, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return 0, false, fmt.Errorf("connect to the service manager: %w", err)
	}
	defer func() { _ = windows.CloseServiceHandle(m) }()
	name, err := windows.UTF16PtrFromString("EC2Config")
	if err != nil {
		return 0, false, err
	}
	s, err := windows.OpenService(m, name, windows.SERVICE_QUERY_CONFIG|windows.SERVICE_QUERY_STATUS)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("open it: %w", err)
	}
	defer func() { _ = windows.CloseServiceHandle(s) }()
	// 8 KiB hold the largest configuration that there may be.
	buf := make([]uint64, 1024)
	config := (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(&buf[0]))
	var needed uint32
	if err := windows.QueryServiceConfig(s, config, uint32(len(buf)*8), &needed); err != nil {
		return 0, false, fmt.Errorf("ask how it starts: %w", err)
	}
	var status windows.SERVICE_STATUS
	if err := windows.QueryServiceStatus(s, &status); err != nil {
		return 0, false, fmt.Errorf("ask whether it runs: %w", err)
	}
	return config.StartType, status.CurrentState == windows.SERVICE_RUNNING, nil
}
