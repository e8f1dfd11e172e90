package platform

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

func read() Info {
	i := Info{Type: "Windows", ComputerName: computerName(), IPAddress: interfaceAddress()}
	v := windows.RtlGetVersion()
	i.Version = fmt.Sprintf("%d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)
	i.Name = caption(v.BuildNumber)
	return i
}

// caption is what WMI calls the system, from the registry.
func caption(build uint32) string {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Windows NT\CurrentVersion`,
		registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return ""
	}
	defer k.Close()
	name, _, err := k.GetStringValue("ProductName")
	if err != nil || name == "" {
		return ""
	}
	// Windows 11 kept the name of its predecessor there; WMI did not.
	if build >= 22000 {
		name = strings.Replace(name, "Windows 10", "Windows 11", 1)
	}
	if !strings.HasPrefix(name, "Microsoft ") {
		name = "Microsoft " + name
	}
	return name
}

func computerName() string {
	buf := make([]uint16, 1024)
	n := uint32(len(buf))
	if err := windows.GetComputerNameEx(windows.ComputerNameDnsFullyQualified, &buf[0], &n); err == nil && n > 0 {
		return windows.UTF16ToString(buf[:n])
	}
	host, err := os.Hostname()
	if err != nil {
		return ""
	}
	return host
}

func defaultPaths() Paths {
	programData := os.Getenv("ProgramData")
	if programData == "" {
		programData = filepath.Join(os.Getenv("AllUsersProfile"), "Application Data")
	}
	programFiles := os.Getenv("ProgramFiles")
	if programFiles == "" {
		programFiles = `C:\Program Files`
	}
	p := paths(programFiles, programData)
	if dir, err := windows.GetSystemDirectory(); err == nil {
		p.DefaultWorkDir = dir // that of a service
	}
	return p
}

func pathsBelow(dir string) Paths {
	p := paths(filepath.Join(dir, "Program Files"), filepath.Join(dir, "ProgramData"))
	p.Root = filepath.Clean(dir)
	p.DefaultWorkDir = p.Root
	return p
}

// paths are the stock agent's.
func paths(programFiles, programData string) Paths {
	ssm := filepath.Join(programData, "Amazon", "SSM")
	return Paths{
		ConfigFile:      filepath.Join(programFiles, "Amazon", "SSM", "amazon-ssm-agent.json"),
		Data:            filepath.Join(ssm, "InstanceData"),
		RuntimeConfig:   filepath.Join(ssm, "runtimeconfig", "identity_config.json"),
		HostCredentials: filepath.Join(programFiles, "Amazon", "SSM", "credentials"),
		Logs:            filepath.Join(ssm, "Logs"),
		Recordings:      filepath.Join(ssm, "Recordings"),
		Audit:           filepath.Join(ssm, "Audit"),
		LocalCommands:   filepath.Join(ssm, "LocalCommands"),
		IPC:             filepath.Join(ssm, "InstanceData", "ipc"),
		ControlPlane:    filepath.Join(programData, "ssm-local"),
		Home:            ssm,
		Editions:        filepath.Join(programFiles, "Amazon", "SSM", "Editions"),

		Plugins:          filepath.Join(programFiles, "Amazon", "SSM", "Plugins"),
		Packages:         filepath.Join(ssm, "Packages"),
		PackageLocks:     filepath.Join(ssm, "Locks", "Packages"),
		PackageManifests: filepath.Join(programFiles, "Amazon", "SSM", "Manifests"),
	}
}

func systemLibraries() error {
	if err := windows.SetDefaultDllDirectories(windows.LOAD_LIBRARY_SEARCH_SYSTEM32); err != nil {
		return fmt.Errorf("have libraries loaded from System32 alone: %w", err)
	}
	return nil
}
