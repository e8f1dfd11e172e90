package platform

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// descriptors is the directory of this process's open files.
const descriptors = "/dev/fd"

// taskInfo is struct proc_taskinfo (sys/proc_info.h).
type taskInfo struct {
	virtual, resident uint64
	_                 [4]uint64 // times
	_                 [12]int32 // counts
}

// resident asks as libproc's proc_pidinfo does, which takes no cgo that way.
func resident() int64 {
	const (
		callPIDInfo = 2 // PROC_INFO_CALL_PIDINFO
		pidTaskInfo = 4 // PROC_PIDTASKINFO
	)
	var t taskInfo
	n, _, errno := unix.Syscall6(unix.SYS_PROC_INFO, callPIDInfo, uintptr(os.Getpid()), pidTaskInfo, 0, uintptr(unsafe.Pointer(&t)), unsafe.Sizeof(t)) //nolint:staticcheck // Go has no other way without cgo
	runtime.KeepAlive(&t)
	if errno != 0 || n != unsafe.Sizeof(t) {
		return 0
	}
	return int64(t.resident)
}
