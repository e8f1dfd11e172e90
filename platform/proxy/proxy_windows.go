package proxy

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// serviceKey is that of the agent's service. What its Environment names, the
// service manager gives to the service, and to nobody else.
const serviceKey = `SYSTEM\CurrentControlSet\Services\AmazonSSMAgent`

func sources() []source {
	return []source{
		{"the service's Environment in the registry", func() (Settings, error) { return serviceEnvironment(serviceKey) }},
		{"the Internet options of this account", internetOptions},
		{"WinHTTP (netsh winhttp)", machineProxy},
	}
}

func serviceEnvironment(key string) (Settings, error) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, key, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if errors.Is(err, registry.ErrNotExist) {
		return Settings{}, nil
	}
	if err != nil {
		return Settings{}, err
	}
	defer k.Close()
	entries, _, err := k.GetStringsValue("Environment")
	if errors.Is(err, registry.ErrNotExist) {
		return Settings{}, nil
	}
	return variables(entries), err
}

// text is a string that WinHTTP allocated.
type text struct{ p *uint16 }

func (t text) take() string {
	if t.p == nil {
		return ""
	}
	s := windows.UTF16PtrToString(t.p)
	free := windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalFree")
	_, _, _ = free.Call(uintptr(unsafe.Pointer(t.p))) // there is nothing to do about a failure
	return s
}

// winHTTP calls a function of winhttp.dll that fills a structure.
func winHTTP(name string, into unsafe.Pointer) error {
	f := windows.NewLazySystemDLL("winhttp.dll").NewProc(name)
	if err := f.Find(); err != nil {
		return err
	}
	if ok, _, err := f.Call(uintptr(into)); ok == 0 {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// internetOptions takes a proxy that is set by name only: automatic ones would
// have to be asked for each address.
func internetOptions() (Settings, error) {
	var c struct { // WINHTTP_CURRENT_USER_IE_PROXY_CONFIG
		autoDetect            int32
		script, proxy, bypass text
	}
	err := winHTTP("WinHttpGetIEProxyConfigForCurrentUser", unsafe.Pointer(&c))
	if errors.Is(err, windows.ERROR_FILE_NOT_FOUND) { // nothing is set
		return Settings{}, nil
	}
	if err != nil {
		return Settings{}, err
	}
	_, proxy, bypass := c.script.take(), c.proxy.take(), c.bypass.take()
	if proxy == "" {
		return Settings{}, nil
	}
	return parse(proxy, bypass)
}

// machineProxy is the one that `netsh winhttp set proxy` sets.
func machineProxy() (Settings, error) {
	var c struct { // WINHTTP_PROXY_INFO
		access        uint32
		proxy, bypass text
	}
	if err := winHTTP("WinHttpGetDefaultProxyConfiguration", unsafe.Pointer(&c)); err != nil {
		return Settings{}, err
	}
	const named = 3 // WINHTTP_ACCESS_TYPE_NAMED_PROXY
	proxy, bypass := c.proxy.take(), c.bypass.take()
	if c.access != named || proxy == "" {
		return Settings{}, nil
	}
	return parse(proxy, bypass)
}
