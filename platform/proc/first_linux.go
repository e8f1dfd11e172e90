package proc

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

func first() bool { return os.Getpid() == 1 }

func tendOrphans() (stop func()) {
	news := make(chan os.Signal, 1) // one stands for all that ended since the last look
	signal.Notify(news, unix.SIGCHLD)
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			_ = reapOrphans() // tried again at the next one
			select {
			case <-news:
			case <-quit:
				return
			}
		}
	}()
	return func() {
		signal.Stop(news)
		close(quit)
		<-gone
	}
}

func endChildren(ctx context.Context) error {
	news := make(chan os.Signal, 1)
	signal.Notify(news, unix.SIGCHLD)
	defer signal.Stop(news)
	asked := map[ID]bool{}
	for {
		all, err := processes()
		if err != nil {
			return err
		}
		left := alive(newTree(all)[os.Getpid()])
		if len(left) == 0 {
			return nil
		}
		for _, s := range left {
			if !asked[s.id()] {
				asked[s.id()] = true
				ask(s.id())
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ask asks a process to end, if it still runs.
func ask(id ID) {
	p, err := find1(id)
	if err != nil {
		return
	}
	defer p.hold.close()
	_ = p.signal(unix.SIGTERM) // one that may not be asked is not waited for longer than ctx
}
