package agent

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/admin"
	"ssmagent/internal/control"
	"ssmagent/internal/environ"
	"ssmagent/internal/fsys"
	"ssmagent/internal/guard"
	"ssmagent/internal/identity"
	"ssmagent/internal/job"
	"ssmagent/internal/outbox"
	"ssmagent/internal/session"
	"ssmagent/internal/ssmclient"
	"ssmagent/platform"
)

// pingEvery is the time between health pings.
func (a *Agent) pingEvery() time.Duration {
	return time.Duration(a.cfg.Ssm.HealthFrequencyMinutes) * time.Minute
}

// watched are the parts that a status tells of.
type watched struct {
	id      identity.Identity
	creds   aws.CredentialsProvider
	skew    *ssmclient.Skew
	heart   *admin.Heart
	channel *control.Control
	queue   *job.Queue
	shells  *session.Manager
	box     *outbox.Outbox
	calls   caller
}

// watch are the parts that look at the others: the administrators' window and
// the guard.
func (a *Agent) watch(w watched) map[string]func(context.Context) error {
	m := a.opt.Machine
	memory := guard.LimitMemory(int64(a.cfg.SSMAgent.Guard.MemoryMiB)<<20, environ.Get(m.Env, "GOMEMLIMIT") != "")
	runs := map[string]func(context.Context) error{"guard": guard.New(guard.Options{
		Memory: memory, Goroutines: a.cfg.SSMAgent.Guard.Goroutines, Usage: usage, Clock: a.opt.Clock, Log: a.log,
		Save: func(stacks []byte) (string, error) {
			name := filepath.Join(m.Paths.Logs, "stacks.txt")
			if err := fsys.MkdirAll(m.FS, m.Paths.Logs, 0o700); err != nil {
				return "", err
			}
			return name, fsys.WriteFile(m.FS, name, stacks, 0o600)
		},
	}).Run}
	if m.Listen == nil {
		return runs
	}
	level := a.opt.Level
	if level == nil {
		level = new(slog.LevelVar)
	}
	started := a.opt.Clock.Now()
	runs["administrators' window"] = admin.NewServer(admin.Options{
		Path: admin.Socket(m.Paths.IPC), FS: m.FS, Listen: m.Listen, Check: m.CheckPeer, Level: level, Clock: a.opt.Clock, Log: a.log,
		Caller: w.calls.whoami, Proxies: proxies(m.Env),
		Status: func() admin.Status {
			s := w.status()
			s.Version, s.PID, s.User, s.Started, s.MemoryLimitBytes, s.LogLevel = a.opt.Version, os.Getpid(), m.User, started, memory, admin.LevelName(level.Level())
			s.Judge(a.opt.Clock.Now(), a.pingEvery())
			return s
		},
	}).Run
	return runs
}

// status is what the parts know.
func (w watched) status() admin.Status {
	u, p := guard.Measure(), platform.Self()
	s := admin.Status{
		InstanceID: w.id.InstanceID, Region: w.id.Region, Identity: w.id.Type,
		Heartbeat: w.heart.Last(), NoPings: w.calls.agent.gatewayOnly(w.id), Channel: w.channel.Channel(), ChannelOpen: w.channel.Open(),
		ClockBehind: w.skew.Offset().Seconds(), Sessions: w.shells.Live(), Unsent: w.box.Len(),
		Goroutines: u.Goroutines, HeapBytes: u.Heap, OpenFiles: p.Files, FileLimit: p.FileLimit, ResidentBytes: p.Resident,
	}
	s.CommandsWaiting, s.CommandsRunning = w.queue.Live()
	if e, ok := w.creds.(interface{ Expires() time.Time }); ok {
		s.CredentialsExpire = e.Expires()
	}
	return s
}

// proxies are those of env, in small letters or capitals.
func proxies(env []string) admin.Proxies {
	value := func(name string) string {
		if v := environ.Get(env, name); v != "" {
			return v
		}
		return environ.Get(env, strings.ToUpper(name))
	}
	return admin.Proxies{HTTP: value("http_proxy"), HTTPS: value("https_proxy"), No: value("no_proxy")}
}

// usage is what this process takes.
func usage() guard.Usage {
	u, p := guard.Measure(), platform.Self()
	u.Files, u.FileLimit = p.Files, p.FileLimit
	return u
}
