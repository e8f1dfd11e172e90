package fingerprint

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

func read(context.Context) (map[string]string, error) {
	raw, err := firmware()
	if err != nil {
		return nil, err
	}
	facts := map[string]string{}
	id := smbiosFacts(firmwareTable(raw), facts)
	v := windows.RtlGetVersion()
	cim := usesCIM(v.MajorVersion, v.BuildNumber)
	facts[UUID], facts[OtherUUID] = uuidDigest(id, cim), uuidDigest(id, !cim)
	facts[System] = digestFacts([]string{facts[System], machineGUID()})
	facts[Disk] = digestFacts(disks())
	return facts, nil
}

// firmware is the SMBIOS table as the system hands it out.
func firmware() ([]byte, error) {
	const provider = 'R'<<24 | 'S'<<16 | 'M'<<8 | 'B'
	call := windows.NewLazySystemDLL("kernel32.dll").NewProc("GetSystemFirmwareTable")
	n, _, err := call.Call(provider, 0, 0, 0)
	if n == 0 || n > 1<<20 {
		return nil, fmt.Errorf("ask the firmware: %w", err)
	}
	buf := make([]byte, n)
	got, _, err := call.Call(provider, 0, uintptr(unsafe.Pointer(&buf[0])), n)
	if got == 0 || got > n {
		return nil, fmt.Errorf("ask the firmware: %w", err)
	}
	return buf[:got], nil
}

// machineGUID is made by the set-up of Windows.
func machineGUID() string {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Cryptography`, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return ""
	}
	defer k.Close()
	id, _, err := k.GetStringValue("MachineGuid")
	if err != nil {
		return ""
	}
	return id
}

// disks describes the physical drives that are fixed.
func disks() []string {
	var facts []string
	for n := range 32 {
		if f := disk(`\\.\PhysicalDrive` + strconv.Itoa(n)); f != "" {
			facts = append(facts, f)
		}
	}
	slices.Sort(facts)
	return facts
}

// disk asks for a STORAGE_DEVICE_DESCRIPTOR, which takes no rights.
func disk(name string) string {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return ""
	}
	h, err := windows.CreateFile(path, 0, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, nil, windows.OPEN_EXISTING, 0, 0)
	if err != nil {
		return ""
	}
	defer windows.CloseHandle(h)
	const queryProperty = 0x2D1400 // IOCTL_STORAGE_QUERY_PROPERTY
	var deviceProperty [12]byte    // PropertyId StorageDeviceProperty, QueryType standard: all zero
	buf := make([]byte, 4096)
	var n uint32
	if err := windows.DeviceIoControl(h, queryProperty, &deviceProperty[0], uint32(len(deviceProperty)), &buf[0], uint32(len(buf)), &n, nil); err != nil {
		return ""
	}
	return storageFacts(buf[:n])
}

func readStock(ctx context.Context) map[string]string {
	v := windows.RtlGetVersion()
	cim := usesCIM(v.MajorVersion, v.BuildNumber)
	facts := map[string]string{}
	system, err := windows.GetSystemDirectory()
	if err != nil {
		return facts // there is no system without
	}
	for _, q := range windowsQueries() {
		cmd := exec.CommandContext(ctx, filepath.Join(system, "wbem", "wmic.exe"), q.wmic...)
		if cim {
			cmd = exec.CommandContext(ctx, filepath.Join(system, "WindowsPowerShell", "v1.0", "powershell.exe"), q.pipeline())
		}
		facts[q.property] = ""
		if out, err := cmd.Output(); err == nil {
			facts[q.property] = Digest(out)
		}
	}
	return facts
}
