package dpapi

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

const (
	// purpose keeps what others have sealed from being taken for ours.
	purpose = "ssmagent vault"
	// flags: nobody is asked anything, and the key is the machine's, for the
	// service and who registers it are different accounts.
	flags = windows.CRYPTPROTECT_UI_FORBIDDEN | windows.CRYPTPROTECT_LOCAL_MACHINE
)

func blob(b []byte) *windows.DataBlob {
	if len(b) == 0 {
		return &windows.DataBlob{}
	}
	return &windows.DataBlob{Size: uint32(len(b)), Data: &b[0]}
}

// take copies what the system allocated, and frees it, without leaving what may
// be secret there.
func take(out windows.DataBlob) ([]byte, error) {
	if out.Data == nil {
		return nil, errors.New("the system gave nothing")
	}
	theirs := unsafe.Slice(out.Data, out.Size)
	b := append([]byte{}, theirs...)
	clear(theirs)
	if _, err := windows.LocalFree(windows.Handle(unsafe.Pointer(out.Data))); err != nil {
		return nil, fmt.Errorf("free the system's copy: %w", err)
	}
	return b, nil
}

func seal(plain []byte) ([]byte, error) {
	var out windows.DataBlob
	if err := windows.CryptProtectData(blob(plain), nil, blob([]byte(purpose)), 0, nil, flags, &out); err != nil {
		return nil, fmt.Errorf("CryptProtectData: %w", err)
	}
	return take(out)
}

func open(sealed []byte) ([]byte, error) {
	var out windows.DataBlob
	if err := windows.CryptUnprotectData(blob(sealed), nil, blob([]byte(purpose)), 0, nil, flags&^windows.CRYPTPROTECT_LOCAL_MACHINE, &out); err != nil {
		return nil, fmt.Errorf("CryptUnprotectData: %w", err)
	}
	return take(out)
}
