package software

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/windows"
)

// installer calls the Windows Installer's functions for databases. Its handles
// are 32 bits wide and belong to the thread that asked for them.
type installer struct{ dll *windows.LazyDLL }

func (i installer) call(name string, args ...uintptr) error {
	f := i.dll.NewProc(name)
	if err := f.Find(); err != nil {
		return err
	}
	if code, _, _ := f.Call(args...); code != 0 {
		return fmt.Errorf("%s: %w", name, windows.Errno(code))
	}
	return nil
}

func (i installer) close(handle uint32) { _ = i.call("MsiCloseHandle", uintptr(handle)) }

func productCode(file string) (string, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	i := installer{windows.NewLazySystemDLL("msi.dll")}
	code, err := i.property(file, "ProductCode")
	if err != nil {
		return "", fmt.Errorf("read the product's code from %s: %w", file, err)
	}
	return code, nil
}

// property reads a row of a package's table of properties.
func (i installer) property(file, name string) (string, error) {
	path, err1 := windows.UTF16PtrFromString(file)
	query, err2 := windows.UTF16PtrFromString("SELECT `Value` FROM `Property` WHERE `Property`='" + name + "'")
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	var database, view, record uint32
	const readOnly = 0
	if err := i.call("MsiOpenDatabaseW", uintptr(unsafe.Pointer(path)), readOnly, uintptr(unsafe.Pointer(&database))); err != nil {
		return "", err
	}
	defer i.close(database)
	if err := i.call("MsiDatabaseOpenViewW", uintptr(database), uintptr(unsafe.Pointer(query)), uintptr(unsafe.Pointer(&view))); err != nil {
		return "", err
	}
	defer i.close(view)
	if err := i.call("MsiViewExecute", uintptr(view), 0); err != nil {
		return "", err
	}
	if err := i.call("MsiViewFetch", uintptr(view), uintptr(unsafe.Pointer(&record))); err != nil {
		return "", err
	}
	defer i.close(record)
	buf := make([]uint16, 256)
	n := uint32(len(buf))
	if err := i.call("MsiRecordGetStringW", uintptr(record), 1, uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&n))); err != nil {
		return "", err
	}
	return windows.UTF16ToString(buf), nil
}
