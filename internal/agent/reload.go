package agent

import (
	"log/slog"
	"slices"
	"strings"
	"sync"

	"ssmagent/internal/admin"
	"ssmagent/internal/config"
	"ssmagent/internal/identity"
	"ssmagent/internal/job"
	"ssmagent/internal/session"
)

// reloading is the configuration as it counts now.
type reloading struct {
	mu    sync.Mutex
	now   config.Config
	renew func(config.Config) error // has the parts follow it; nil: there are none yet
}

// begin has the parts follow from now on, and take what came before them.
func (r *reloading) begin(renew func(config.Config) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.renew = renew
	return renew(r.now)
}

// follow takes over of c what may change while the agent runs, and says which
// settings that were and which wait for a restart.
func (r *reloading) follow(c config.Config) (live, restart []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, live, restart := r.now.Reload(c)
	if r.renew != nil {
		err = r.renew(next)
	}
	if err == nil {
		r.now = next
	}
	return live, restart, err
}

// Reload has the agent go on with another configuration, which has been
// checked, as far as it may while it runs; the log says how far. What runs
// already goes on as it began. It may be called at any time.
func (a *Agent) Reload(c config.Config) {
	live, restart, err := a.reloading.follow(c.Complete(osName(a.opt.Machine.Info()), a.opt.Version))
	if err == nil && slices.Contains(live, config.LogLevelPath) {
		err = setLevel(a.opt.Level, c.SSMAgent.LogLevel)
	}
	if err != nil {
		a.log.Error("the configuration is not reloaded; the old one counts", "error", err)
		return
	}
	if len(restart) > 0 {
		a.log.Warn("these settings of the configuration have changed and count after a restart of the agent", "settings", strings.Join(restart, ", "))
	}
	a.log.Info("the configuration was reloaded", "changed", strings.Join(live, ", "))
}

// setLevel changes the log's level to one of the configuration.
func setLevel(level *slog.LevelVar, name string) error {
	l, err := admin.ParseLevel(name)
	if err == nil && level != nil {
		level.Set(l)
	}
	return err
}

// renewer has commands and the sessions in dir go by another configuration.
func (a *Agent) renewer(id identity.Identity, dir string, queue *job.Queue, shells *session.Manager) func(config.Config) error {
	return func(c config.Config) error {
		changed := Agent{opt: a.opt, cfg: c, log: a.log}
		node, err := changed.sessionNode(dir, id)
		if err != nil {
			return err
		}
		queue.SetLimits(limits(c))
		shells.SetNode(node, c.Mgs.SessionWorkersLimit)
		return nil
	}
}
