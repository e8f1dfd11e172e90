package distro

import (
	"fmt"
	"strings"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

func read() (System, error) {
	v := windows.RtlGetVersion()
	version := fmt.Sprintf("%d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Windows NT\CurrentVersion`, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return System{}, fmt.Errorf("which Windows this is cannot be told: %w", err)
	}
	defer k.Close()
	if kind, _, err := k.GetStringValue("InstallationType"); err == nil && strings.HasPrefix(kind, "Nano") {
		version += "nano"
	}
	return known("windows", version, "windows")
}
