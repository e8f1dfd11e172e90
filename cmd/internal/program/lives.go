package program

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"ssmagent/internal/agent"
	"ssmagent/internal/config"
	"ssmagent/internal/fsys"
	"ssmagent/internal/identity"
	"ssmagent/internal/vault"
	"ssmagent/platform/proc"
	"ssmagent/platform/watch"
	"ssmagent/service"
)

// lives are the agents that follow each other in one process: on a machine
// that nobody has registered yet the first ones find out that they are nobody.
type lives struct {
	opt  agent.Options
	load func() (config.Config, error) // reads the configuration anew
	now  atomic.Pointer[agent.Agent]
}

// next makes the agent that runs next.
func (l *lives) next(cfg config.Config) error {
	l.opt.Config = cfg
	a, err := agent.New(l.opt)
	if err == nil {
		l.now.Store(a)
	}
	return err
}

// run is a service.Core. Under a service manager it waits for the machine's
// registration, where it would be started again and again; elsewhere its
// absence is an error.
func (l *lives) run(ctx context.Context, ready func()) error {
	for waited := false; ; waited = true {
		err := l.now.Load().Run(ctx, ready)
		if !errors.Is(err, agent.ErrNotRegistered) || ctx.Err() != nil || !service.Supervised() {
			return err
		}
		ready()
		if !waited {
			l.opt.Log.Warn("waits for the registration of this machine", "error", err)
		}
		l.tell("waits for a registration: " + err.Error())
		if err := l.registration(ctx); err != nil {
			return err
		}
		l.tell("")
		cfg, err := l.load() // it may say by now where the service is
		if err == nil {
			err = l.next(cfg)
		}
		if err != nil {
			return err
		}
	}
}

func (l *lives) tell(status string) {
	if err := service.Tell(status); err != nil {
		l.opt.Log.Warn("the service manager", "error", err)
	}
}

// askAgain is how often a machine that is nobody asks whether it is somebody
// by now. It is how often stock agents are started again; a registration is
// noticed at once.
const askAgain = 90 * time.Second

// registration waits until the machine may be registered, or for the error of
// ctx.
func (l *lives) registration(ctx context.Context) error {
	ctx, done := context.WithTimeout(ctx, askAgain)
	defer done()
	disk, dir := l.opt.Machine.FS, l.opt.Machine.Paths.Data
	var news <-chan struct{}
	err := fsys.MkdirAll(disk, dir, 0o700)
	if err == nil {
		news, err = watch.Dir(ctx, dir) // its last word is a file there
	}
	if err != nil {
		l.opt.Log.Warn("a registration is not noticed at once", "error", err)
	} else if _, ok, err := identity.Registered(vault.New(disk, dir)); ok || err != nil {
		return nil //nolint:nilerr // the next agent tells of it
	}
	select {
	case _, ok := <-news:
		if !ok { // nothing is told any more
			<-ctx.Done()
		}
	case <-ctx.Done():
	}
	if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// childPatience is how long workers may take to leave their results behind,
// when their container is stopped.
const childPatience = 3 * time.Second

// perhapsFirst is core, also in the first process of a container: orphans come
// to it, and what it leaves running is killed.
func perhapsFirst(core service.Core) service.Core {
	if !proc.First() {
		return core
	}
	return func(ctx context.Context, ready func()) error {
		defer proc.TendOrphans()()
		err := core(ctx, ready)
		kctx, done := context.WithTimeout(context.WithoutCancel(ctx), childPatience)
		defer done()
		_ = proc.EndChildren(kctx) // the system ends the rest
		return err
	}
}
