package platform

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// memoryCounters is PROCESS_MEMORY_COUNTERS.
type memoryCounters struct {
	size                                             uint32
	faults                                           uint32
	peakWorkingSet, workingSet                       uintptr
	peakPagedPool, pagedPool, peakNonPaged, nonPaged uintptr
	pagefile, peakPagefile                           uintptr
}

func self() (u Usage) {
	kernel := windows.NewLazySystemDLL("kernel32.dll")
	var handles uint32
	if p := kernel.NewProc("GetProcessHandleCount"); p.Find() == nil {
		if ok, _, _ := p.Call(uintptr(windows.CurrentProcess()), uintptr(unsafe.Pointer(&handles))); ok != 0 {
			u.Files = int(handles)
		}
	}
	var m memoryCounters
	m.size = uint32(unsafe.Sizeof(m))
	if p := kernel.NewProc("K32GetProcessMemoryInfo"); p.Find() == nil {
		if ok, _, _ := p.Call(uintptr(windows.CurrentProcess()), uintptr(unsafe.Pointer(&m)), uintptr(m.size)); ok != 0 {
			u.Resident = int64(m.workingSet)
		}
	}
	return u
}

func spaceAt(path string) (Space, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return Space{}, fmt.Errorf("space at %q: %w", path, err)
	}
	var free, total uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, &total, nil); err != nil {
		return Space{}, fmt.Errorf("space at %s: %w", path, err)
	}
	return Space{Free: int64(free), Total: int64(total), FreeFiles: -1}, nil
}
