package proxy

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

func TestServiceEnvironment(t *testing.T) {
	t.Parallel()
	path := fmt.Sprintf(`SOFTWARE\ssmagent-proxy-test-%d`, os.Getpid())
	if s, err := serviceEnvironment(path); s != (Settings{}) || err != nil {
		t.Errorf("no service: %+v %v", s, err)
	}
	k, _, err := registry.CreateKey(registry.LOCAL_MACHINE, path, registry.ALL_ACCESS|registry.WOW64_64KEY)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.Close()
		above, err := registry.OpenKey(registry.LOCAL_MACHINE, filepath.Dir(path), registry.ALL_ACCESS|registry.WOW64_64KEY)
		if err != nil {
			t.Fatal(err)
		}
		defer above.Close()
		if err := registry.DeleteKey(above, filepath.Base(path)); err != nil {
			t.Error(err)
		}
	})
	if s, err := serviceEnvironment(path); s != (Settings{}) || err != nil {
		t.Errorf("no value: %+v %v", s, err)
	}
	if err := k.SetStringsValue("Environment", []string{"http_proxy=http://p:1", "no_proxy=169.254.169.254"}); err != nil {
		t.Fatal(err)
	}
	if s, err := serviceEnvironment(path); s != (Settings{HTTP: "http://p:1", No: "169.254.169.254"}) || err != nil {
		t.Errorf("%+v %v", s, err)
	}
	if err := k.SetDWordValue("Environment", 1); err != nil {
		t.Fatal(err)
	}
	if _, err := serviceEnvironment(path); err == nil {
		t.Error("a number is read as text")
	}
}

// TestWinHTTP sets what WinHTTP has for the machine, and puts it back.
func TestWinHTTP(t *testing.T) { //nolint:paralleltest // the setting is the machine's
	type info struct {
		access        uint32
		proxy, bypass *uint16
	}
	set := func(i info) {
		t.Helper()
		if err := winHTTP("WinHttpSetDefaultProxyConfiguration", unsafe.Pointer(&i)); err != nil {
			t.Fatal(err)
		}
	}
	wide := func(s string) *uint16 {
		t.Helper()
		p, err := windows.UTF16PtrFromString(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	defer set(info{access: 1})
	set(info{3, wide("proxy:3128"), wide("<local>;169.254.*")})
	s, err := machineProxy()
	if want := (Settings{"http://proxy:3128", "http://proxy:3128", "169.254.0.0/16"}); err != nil || s != want {
		t.Errorf("%+v %v", s, err)
	}
	set(info{access: 1})
	if s, err := machineProxy(); err != nil || s != (Settings{}) {
		t.Errorf("none is set: %+v %v", s, err)
	}
}

// TestInternetOptions writes the account's settings as Windows keeps them.
func TestInternetOptions(t *testing.T) { //nolint:paralleltest // the settings are the account's
	const path = `Software\Microsoft\Windows\CurrentVersion\Internet Settings\Connections`
	k, _, err := registry.CreateKey(registry.CURRENT_USER, path, registry.ALL_ACCESS)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	const name = "DefaultConnectionSettings"
	before, _, err := k.GetBinaryValue(name)
	defer func() {
		if err == nil {
			err = k.SetBinaryValue(name, before)
		} else {
			err = k.DeleteValue(name)
		}
		if err != nil {
			t.Error(err)
		}
	}()
	write := func(flags uint32, proxy, bypass string) {
		t.Helper()
		b := binary.LittleEndian.AppendUint32(nil, 0x46)
		b = binary.LittleEndian.AppendUint32(b, 1) // changes so far
		b = binary.LittleEndian.AppendUint32(b, flags)
		for _, word := range []string{proxy, bypass, ""} {
			b = binary.LittleEndian.AppendUint32(b, uint32(len(word)))
			b = append(b, word...)
		}
		if err := k.SetBinaryValue(name, append(b, make([]byte, 32)...)); err != nil {
			t.Fatal(err)
		}
	}
	write(3, "http=a:1;https=b:2", "<local>;corp")
	if s, err := internetOptions(); err != nil || s != (Settings{"http://a:1", "http://b:2", "corp"}) {
		t.Errorf("%+v %v", s, err)
	}
	write(1, "http=a:1", "corp")
	if s, err := internetOptions(); err != nil || s != (Settings{}) {
		t.Errorf("it is switched off: %+v %v", s, err)
	}
	if _, err := System(); err != nil {
		t.Errorf("all places: %v", err)
	}
}
