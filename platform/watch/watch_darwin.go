package watch

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ending is the event of ours that ends the wait.
const ending = 1

// watch asks a queue of the kernel's for changes of the directory. These are
// files that came or went: a file that is written in place is told of when it
// came, and not once more. Who wants it whole has it moved here.
func watch(ctx context.Context, dir string) (<-chan struct{}, error) {
	queue, at, err := open(dir)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	news := make(chan struct{}, 1)
	waiting := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = post(queue)
		<-waiting
		_ = unix.Close(queue)
	})
	go func() {
		defer close(news)
		pass(queue, news)
		_ = unix.Close(at)
		close(waiting)
		if stop() {
			_ = unix.Close(queue) // it told no more by itself
		}
	}()
	return news, nil
}

// open makes the queue, and opens the directory for events only.
func open(dir string) (queue, at int, err error) {
	at, err = unix.Open(dir, unix.O_EVTONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, -1, err
	}
	if queue, err = unix.Kqueue(); err != nil { // children never inherit it
		return -1, -1, errors.Join(err, unix.Close(at))
	}
	var asked [2]unix.Kevent_t
	unix.SetKevent(&asked[0], at, unix.EVFILT_VNODE, unix.EV_ADD|unix.EV_CLEAR)
	asked[0].Fflags = unix.NOTE_WRITE | unix.NOTE_EXTEND | unix.NOTE_DELETE | unix.NOTE_RENAME | unix.NOTE_REVOKE
	unix.SetKevent(&asked[1], ending, unix.EVFILT_USER, unix.EV_ADD|unix.EV_CLEAR)
	if _, err := unix.Kevent(queue, asked[:], nil, nil); err != nil {
		return -1, -1, errors.Join(err, unix.Close(at), unix.Close(queue))
	}
	return queue, at, nil
}

// post sends the event that ends the wait.
func post(queue int) error {
	var end [1]unix.Kevent_t
	unix.SetKevent(&end[0], ending, unix.EVFILT_USER, 0)
	end[0].Fflags = unix.NOTE_TRIGGER
	_, err := unix.Kevent(queue, end[:], nil, nil)
	return err
}

// pass passes on what is told until the end, or until the directory is gone.
func pass(queue int, news chan<- struct{}) {
	var told [1]unix.Kevent_t
	for {
		n, err := unix.Kevent(queue, nil, told[:], nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 || told[0].Filter == unix.EVFILT_USER {
			return
		}
		select {
		case news <- struct{}{}:
		default:
		}
		if told[0].Fflags&(unix.NOTE_DELETE|unix.NOTE_RENAME|unix.NOTE_REVOKE) != 0 {
			return
		}
	}
}
