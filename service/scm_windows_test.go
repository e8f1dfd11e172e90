package service_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc/mgr"

	"ssmagent/service"
)

// serviceHost is the word by which the test binary is a service that the service
// manager starts: what kind and in which directory follow. It has no variables of
// ours.
const serviceHost = "host-a-service"

// hostService is main of that.
func hostService(name, kind, dir string) int {
	o := service.Default()
	o.Name, o.Version = name, "9.9"
	o.Code = func(error) uint32 { return 42 }
	o.Reload = func() { note(dir, "reloaded") }
	err := service.Run(o, func(ctx context.Context, ready func()) error {
		ready()
		note(dir, "ready")
		if kind == "dies" {
			return errors.New("core's own error")
		}
		<-ctx.Done()
		note(dir, "stopping")
		return ctx.Err()
	})
	note(dir, fmt.Sprintf("ended %v", err))
	return 0
}

func note(dir, what string) {
	if err := os.WriteFile(filepath.Join(dir, strings.Fields(what)[0]), []byte(what), 0o600); err != nil {
		panic(err)
	}
}

// registered is a service of the real service manager's.
func registered(t *testing.T, kind string) (service.Options, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o := service.Default()
	o.Name = "ssmagenttest-" + kind
	o.Executable, o.Arguments = self, []string{serviceHost, o.Name, kind, dir}
	o.DisplayName = o.Name
	if err := service.Install(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.Uninstall(o); err != nil {
			t.Error(err)
		}
	})
	return o, dir
}

// eventually waits for what the service manager tells nobody.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func noted(dir, what string) func() bool {
	return func() bool {
		_, err := os.Stat(filepath.Join(dir, what))
		return err == nil
	}
}

// TestLife is the life of a service under the real service manager. It runs alone:
// wine lets any process that asks be the service that is just starting.
func TestLife(t *testing.T) {
	o, dir := registered(t, "good")
	if err := service.Install(o); err == nil || !strings.Contains(err.Error(), "installed already") {
		t.Errorf("once more: %v", err)
	}
	if err := errors.Join(service.Configure(o), service.Configure(o)); err != nil {
		t.Error(err)
	}
	if err := errors.Join(service.Start(o), service.Start(o)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the core", noted(dir, "ready"))
	if st, err := service.State(o); err != nil || st != service.Running {
		t.Errorf("state %v, %v", st, err)
	}
	control(t, o.Name, windows.SERVICE_CONTROL_PARAMCHANGE)
	eventually(t, "a reload", noted(dir, "reloaded"))
	if err := os.Remove(filepath.Join(dir, "ready")); err != nil {
		t.Fatal(err)
	}
	if err := service.Restart(o); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the core again", noted(dir, "ready"))
	if err := errors.Join(service.Stop(o), service.Stop(o)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end", noted(dir, "ended"))
	if b, err := os.ReadFile(filepath.Join(dir, "ended")); err != nil || string(b) != "ended <nil>" {
		t.Errorf("%s, %v", b, err)
	}
	if st, err := service.State(o); err != nil || st != service.Stopped {
		t.Errorf("state %v, %v", st, err)
	}
	if err := errors.Join(service.Uninstall(o), service.Uninstall(o)); err != nil {
		t.Error(err)
	}
	if _, err := service.State(o); !errors.Is(err, service.ErrNotInstalled) {
		t.Errorf("state %v", err)
	}
	for _, key := range []string{`SYSTEM\CurrentControlSet\Services\` + o.Name, `SYSTEM\CurrentControlSet\Services\EventLog\Application\` + o.Name} {
		if k, err := registry.OpenKey(registry.LOCAL_MACHINE, key, registry.QUERY_VALUE); !errors.Is(err, registry.ErrNotExist) {
			k.Close()
			t.Errorf("%s is left: %v", key, err)
		}
	}
}

func control(t *testing.T, name string, what uint32) {
	t.Helper()
	m, err := mgr.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Disconnect()
	s, err := m.OpenService(name)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var status windows.SERVICE_STATUS
	if err := windows.ControlService(s.Handle, what, &status); err != nil {
		t.Error(err)
	}
}

// TestDies: the service manager learns that a core ended, and its code. Alone, too.
func TestDies(t *testing.T) {
	o, dir := registered(t, "dies")
	if err := service.Start(o); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end", noted(dir, "ended"))
	m, err := mgr.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Disconnect()
	s, err := m.OpenService(o.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	eventually(t, "the service manager to know", func() bool {
		st, err := s.Query()
		return err != nil || st.State == windows.SERVICE_STOPPED
	})
	st, err := s.Query()
	if err != nil || st.Win32ExitCode != uint32(windows.ERROR_SERVICE_SPECIFIC_ERROR) || st.ServiceSpecificExitCode != 42 {
		t.Errorf("%+v, %v", st, err)
	}
}
