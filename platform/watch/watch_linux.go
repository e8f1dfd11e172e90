package watch

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func watch(ctx context.Context, dir string) (<-chan struct{}, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO|unix.IN_ONLYDIR|unix.IN_DONT_FOLLOW)
	if err != nil {
		_ = f.Close() // nothing was read
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	news := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	go func() {
		defer close(news)
		defer func() {
			if stop() {
				_ = f.Close() // it told no more by itself
			}
		}()
		buf := make([]byte, 4096) // room for an event with the longest name
		for {
			if _, err := f.Read(buf); err != nil {
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
