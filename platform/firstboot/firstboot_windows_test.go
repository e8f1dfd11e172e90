package firstboot

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// image is a machine whose image goes through states, and that fails where it is
// told to.
type image struct {
	fails   string
	with    error
	states  []string // "-": there is no value
	start   uint32   // of EC2Config
	running bool
	open    map[string]int
	set     chan struct{}
	waiting chan struct{} // nil: a wait ends at once
}

var _ calls = (*image)(nil)

func (m *image) call(name string) error {
	if m.fails == name {
		return m.with
	}
	return nil
}

func (m *image) took(name, what string, n int) error {
	err := m.call(name)
	if err == nil || n < 0 {
		m.open[what] += n
	}
	return err
}

func (m *image) openState() (registry.Key, error)          { return 1, m.took("openState", "key", 1) }
func (m *image) closeKey(registry.Key) error               { return m.took("closeKey", "key", -1) }
func (m *image) newEvent() (windows.Handle, error)         { return 2, m.took("newEvent", "event", 1) }
func (m *image) closeEvent(windows.Handle) error           { return m.took("closeEvent", "event", -1) }
func (m *image) ec2Config() (uint32, bool, error)          { return m.start, m.running, m.call("ec2Config") }
func (m *image) notify(registry.Key, windows.Handle) error { return m.call("notify") }

func (m *image) value(registry.Key) (string, error) {
	s := m.states[0]
	if len(m.states) > 1 {
		m.states = m.states[1:]
	}
	if s == "-" {
		return "", registry.ErrNotExist
	}
	return s, m.call("value")
}

func (m *image) setEvent(windows.Handle) error {
	close(m.set)
	return m.call("setEvent")
}

func (m *image) wait(windows.Handle, time.Duration) (bool, error) {
	if err := m.call("wait"); err != nil {
		return false, err
	}
	if m.waiting == nil {
		return len(m.states)%2 == 0, nil // told, or looked again
	}
	close(m.waiting)
	<-m.set
	return true, nil
}

func (m *image) await(ctx context.Context) (told []string, err error) {
	m.open, m.set = map[string]int{}, make(chan struct{})
	err = waiter{m, func(s string) { told = append(told, s) }}.await(ctx)
	return told, err
}

func TestAwait(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		image
		told []string
		err  error
	}{
		"set up":                    {image: image{states: []string{Complete}}},
		"no value":                  {image: image{states: []string{"-"}}},
		"no key":                    {image: image{fails: "openState", with: registry.ErrNotExist}},
		"waits":                     {image: image{states: []string{"A", "A", "B", Complete}}, told: []string{"A", "B"}},
		"the key goes":              {image: image{states: []string{"A", "-"}}, told: []string{"A"}},
		"EC2Config is automatic":    {image: image{states: []string{"A"}, start: windows.SERVICE_AUTO_START}, err: ErrOthers},
		"EC2Config runs":            {image: image{states: []string{"A"}, start: windows.SERVICE_DEMAND_START, running: true}, err: ErrOthers},
		"EC2Config may run":         {image: image{states: []string{"A", Complete}, start: windows.SERVICE_DEMAND_START}, told: []string{"A"}},
		"EC2Config is switched off": {image: image{states: []string{"A", Complete}, start: windows.SERVICE_DISABLED, running: true}, told: []string{"A"}},
		"EC2Config has done":        {image: image{states: []string{Complete}, start: windows.SERVICE_AUTO_START}},
	} {
		told, err := c.await(t.Context())
		if !errors.Is(err, c.err) || !slices.Equal(told, c.told) || c.open["key"] != 0 || c.open["event"] != 0 {
			t.Errorf("%s: told %q, error %v, open %v", name, told, err, c.open)
		}
	}
}

// TestStopWhileWaiting: the service answers its stop.
func TestStopWhileWaiting(t *testing.T) {
	t.Parallel()
	m := &image{states: []string{"A"}}
	ctx, stop := context.WithCancel(t.Context())
	m.open = map[string]int{}
	m.set, m.waiting = make(chan struct{}), make(chan struct{})
	go func() {
		<-m.waiting
		stop()
	}()
	err := waiter{m, func(string) {}}.await(ctx)
	if !errors.Is(err, context.Canceled) || m.open["key"] != 0 || m.open["event"] != 0 {
		t.Errorf("error %v, open %v", err, m.open)
	}
}

// TestEveryCallFails: a sentence says which, and nothing stays open.
func TestEveryCallFails(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"openState", "value", "closeKey", "newEvent", "closeEvent", "notify", "wait", "ec2Config"} {
		for _, errno := range []windows.Errno{windows.ERROR_ACCESS_DENIED, windows.ERROR_INVALID_HANDLE, windows.ERROR_NO_SYSTEM_RESOURCES, windows.RPC_S_SERVER_UNAVAILABLE} {
			m := &image{fails: call, with: errno, states: []string{"A", Complete}}
			_, err := m.await(t.Context())
			if !errors.Is(err, errno) || !strings.Contains(err.Error(), `ImageState of SOFTWARE\Microsoft\Windows`) || m.open["key"] != 0 || m.open["event"] != 0 {
				t.Errorf("%s: error %v, open %v", call, err, m.open)
			}
		}
	}
	m := &image{fails: "value", with: registry.ErrUnexpectedType, states: []string{"A"}}
	if _, err := m.await(t.Context()); !errors.Is(err, registry.ErrUnexpectedType) {
		t.Errorf("a value that is no text: %v", err)
	}
}

// TestRealRegistry waits by the system's own calls.
func TestRealRegistry(t *testing.T) {
	s, err := State()
	if err != nil {
		t.Fatal(err)
	}
	if s != "" { // a true Windows
		if os.Getenv("CI") != "" {
			t.Fatalf("needs a machine without an image state, as scripts/wine.sh makes them; this one's is %q", s)
		}
		t.Skipf("this machine has an image state, %q, which is left alone", s)
	}
	k, _, err := registry.CreateKey(registry.LOCAL_MACHINE, stateKey, registry.ALL_ACCESS|registry.WOW64_64KEY)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.Close()
		if err := registry.DeleteKey(registry.LOCAL_MACHINE, stateKey); err != nil {
			t.Error(err)
		}
	})
	if err := Await(t.Context(), nil); err != nil {
		t.Errorf("without a value: %v", err)
	}
	if err := k.SetStringValue(stateValue, "A"); err != nil {
		t.Fatal(err)
	}
	told, end := make(chan string), make(chan error, 1)
	go func() { end <- Await(t.Context(), func(s string) { told <- s }) }()
	if s := <-told; s != "A" {
		t.Errorf("waits in %q", s)
	}
	if err := k.SetStringValue(stateValue, "B"); err != nil {
		t.Fatal(err)
	}
	if s := <-told; s != "B" {
		t.Errorf("waits in %q", s)
	}
	if err := k.SetStringValue(stateValue, Complete); err != nil {
		t.Fatal(err)
	}
	if err := <-end; err != nil {
		t.Error(err)
	}
	if s, err := State(); err != nil || s != Complete {
		t.Errorf("state %q, %v", s, err)
	}
	if err := k.SetDWordValue(stateValue, 1); err != nil {
		t.Fatal(err)
	}
	if err := Await(t.Context(), nil); !errors.Is(err, registry.ErrUnexpectedType) {
		t.Errorf("a number: %v", err)
	}
}
