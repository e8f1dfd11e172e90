package client

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// group runs goroutines until one of them ends. A panic in one is thrown again
// by wait: the caller's caller may have a terminal to restore.
type group struct {
	ctx  context.Context
	stop context.CancelCauseFunc
	wg   sync.WaitGroup

	mu    sync.Mutex
	panic string
}

func newGroup(ctx context.Context) *group {
	g := &group{}
	g.ctx, g.stop = context.WithCancelCause(ctx)
	return g
}

func (g *group) spawn(f func() error) {
	g.wg.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				g.mu.Lock()
				g.panic = fmt.Sprintf("%v\n%s", p, debug.Stack())
				g.mu.Unlock()
				g.stop(nil)
			}
		}()
		g.stop(f())
	})
}

// wait returns why the first one ended, when all have.
func (g *group) wait() error {
	<-g.ctx.Done()
	g.wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.panic != "" {
		panic(g.panic)
	}
	return context.Cause(g.ctx)
}
