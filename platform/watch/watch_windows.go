package watch

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/windows"
)

// watch asks with a notification that the system signals, and that tells no
// more than that something is new: which file it is the reader finds out.
func watch(ctx context.Context, dir string) (<-chan struct{}, error) {
	if err := checkDirectory(dir); err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	// A file's last write counts, too: it came with its name, but empty.
	told, err := windows.FindFirstChangeNotification(dir, false, windows.FILE_NOTIFY_CHANGE_FILE_NAME|windows.FILE_NOTIFY_CHANGE_LAST_WRITE)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	ended, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", dir, err), windows.FindCloseChangeNotification(told))
	}
	news := make(chan struct{}, 1)
	waiting := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = windows.SetEvent(ended)
		<-waiting
		_ = windows.CloseHandle(ended)
	})
	go func() {
		defer close(news)
		pass(told, ended, news)
		_ = windows.FindCloseChangeNotification(told)
		close(waiting)
		if stop() {
			_ = windows.CloseHandle(ended) // it told no more by itself
		}
	}()
	return news, nil
}

// pass passes on what is told until the end.
func pass(told, ended windows.Handle, news chan<- struct{}) {
	for {
		which, err := windows.WaitForMultipleObjects([]windows.Handle{ended, told}, false, windows.INFINITE)
		if err != nil || which != windows.WAIT_OBJECT_0+1 {
			return
		}
		select {
		case news <- struct{}{}:
		default:
		}
		if windows.FindNextChangeNotification(told) != nil {
			return
		}
	}
}

// checkDirectory refuses what is none, and what leads elsewhere.
func checkDirectory(dir string) error {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return err
	}
	attributes, err := windows.GetFileAttributes(name)
	if err != nil {
		return err
	}
	if attributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 {
		return errors.New("it is a link")
	}
	if attributes&windows.FILE_ATTRIBUTE_DIRECTORY == 0 {
		return windows.ERROR_DIRECTORY
	}
	return nil
}
