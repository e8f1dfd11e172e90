//go:build unix

package network

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// changes listens to the kernel's routing messages. What they say does not
// matter; that they came does, and so does that some were lost (ENOBUFS).
func changes(ctx context.Context) (<-chan struct{}, error) {
	fd, err := routing()
	if err != nil {
		return nil, fmt.Errorf("watch the network: %w", err)
	}
	f := os.NewFile(uintptr(fd), "routing messages")
	news := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	go func() {
		defer close(news)
		defer func() {
			if stop() {
				_ = f.Close() // it told no more by itself
			}
		}()
		buf := make([]byte, os.Getpagesize())
		for {
			if _, err := f.Read(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return
			}
			select {
			case news <- struct{}{}:
			default:
			}
		}
	}()
	return news, nil
}
