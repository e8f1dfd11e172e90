package network

import (
	"context"
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// changes asks for the system's notices of addresses and routes. The callback
// runs on a thread of the system's and only leaves a note. A process can make
// a limited number of callbacks, and this one lasts as long as the process:
// Changes is for one caller.
func changes(ctx context.Context) (<-chan struct{}, error) {
	notes := make(chan struct{}, 1)
	callback := windows.NewCallback(func(_, _ unsafe.Pointer, _ uint32) uintptr {
		select {
		case notes <- struct{}{}:
		default:
		}
		return 0
	})
	var addresses, routes windows.Handle
	if err := windows.NotifyUnicastIpAddressChange(windows.AF_UNSPEC, callback, nil, false, &addresses); err != nil {
		return nil, fmt.Errorf("watch the network's addresses: %w", err)
	}
	if err := windows.NotifyRouteChange2(windows.AF_UNSPEC, callback, nil, false, &routes); err != nil {
		_ = windows.CancelMibChangeNotify2(addresses)
		return nil, fmt.Errorf("watch the network's routes: %w", err)
	}
	news := make(chan struct{}, 1)
	go func() {
		defer close(news)
		// Cancelling waits for callbacks that run.
		defer func() {
			_ = windows.CancelMibChangeNotify2(routes)
			_ = windows.CancelMibChangeNotify2(addresses)
		}()
		for {
			select {
			case <-ctx.Done():
				return
			case <-notes:
			}
			select {
			case news <- struct{}{}:
			default:
			}
		}
	}()
	return news, nil
}
