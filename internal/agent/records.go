package agent

import (
	"context"
	"path/filepath"
	"time"

	"ssmagent/internal/record/audit"
	"ssmagent/internal/record/recording"
	"ssmagent/internal/session"
)

// records is what sessions leave on this machine. It stays there when the
// machine is registered anew.
func (a *Agent) records() session.Records {
	paths, c := a.opt.Machine.Paths, a.cfg.SSMAgent
	return session.Records{
		Audit: paths.Audit, AuditFiles: audit.Files(c.Audit.MaxMiB),
		Recordings: paths.Recordings, Mode: c.Recordings.Mode, WhenFailing: c.Recordings.WhenFailing,
		Retention: recording.Retention{
			Age: time.Duration(c.Recordings.MaxAgeHours) * time.Hour, Bytes: int64(c.Recordings.MaxMiB) << 20, Count: c.Recordings.MaxCount,
		},
	}
}

// audit is the agent's own way to the audit log; workers have theirs.
func (a *Agent) audit() *audit.Log {
	m := a.opt.Machine
	return audit.New(audit.Options{
		Dir: m.Paths.Audit, FS: m.FS, Clock: a.opt.Clock, Log: a.log, Lock: m.Lock, MaxFiles: audit.Files(a.cfg.SSMAgent.Audit.MaxMiB),
	})
}

// sweep removes the recordings that have become too old while no session
// ended, then waits for ctx. Those of sessions in dir are still written.
func (a *Agent) sweep(ctx context.Context, dir string) error {
	m := a.opt.Machine
	store := recording.Store{FS: m.FS, Dir: m.Paths.Recordings}
	live := func(id string) bool {
		_, err := m.FS.Lstat(filepath.Join(dir, id))
		return err == nil
	}
	for more := true; more && ctx.Err() == nil; {
		var n int
		var err error
		if n, more, err = store.Sweep(a.records().Retention, live, a.opt.Clock.Now()); err != nil {
			a.log.Warn("sweep the recordings", "error", err)
			break
		}
		if n > 0 {
			a.log.Info("removed old recordings", "number", n)
		}
	}
	<-ctx.Done()
	return nil
}
