package agent

import (
	"context"
	"crypto/rsa"
	"errors"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/admin"
	"ssmagent/internal/command"
	"ssmagent/internal/config"
	"ssmagent/internal/control"
	"ssmagent/internal/health"
	"ssmagent/internal/identity"
	"ssmagent/internal/job"
	"ssmagent/internal/link"
	"ssmagent/internal/outbox"
	"ssmagent/internal/paramstore"
	"ssmagent/internal/record/audit"
	"ssmagent/internal/session"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/vault"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mds"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
	"ssmagent/platform"
)

// minBuffer is how many commands may wait at least. The stock agent has room
// for five and makes the service deliver the rest again later.
const minBuffer = 1000

// channelPatience is how long the first full ping waits for the channel that
// it reports.
const channelPatience = time.Second

// parts are what runs while the agent does.
type parts struct {
	runs   map[string]func(context.Context) error
	outbox *outbox.Outbox
	audit  *audit.Log
	shells *session.Manager
	renew  func(config.Config) error // has them go by another configuration
}

// finishWithin bounds how long sessions are waited for that end with the agent:
// those who stop a container wait for ten seconds.
const finishWithin = 5 * time.Second

// finish ends the sessions and has the service told.
func (p parts) finish() {
	ctx, done := context.WithTimeout(context.Background(), finishWithin)
	defer done()
	p.shells.EndAll(ctx)
	_ = p.outbox.Drained(ctx) // what is left is on disk
}

func (p parts) close() {
	p.audit.Close()
	_ = p.outbox.Close()
}

// assemble makes the parts and connects them; nothing runs yet.
func (a *Agent) assemble(ctx context.Context, id identity.Identity, key *rsa.PrivateKey, v *vault.Vault, h *http.Client) (parts, error) {
	skew, reach := new(ssmclient.Skew), new(ssmclient.Reach)
	creds, keepFresh, err := a.credentials(ctx, purse{id, key, v, h, skew, reach})
	if err != nil {
		return parts{}, err
	}
	calls := caller{agent: a, id: id, creds: creds, http: h, skew: skew, reach: reach}
	api, err := calls.client(config.ServiceSSM, ssm.TargetPrefix)
	if err != nil {
		return parts{}, err
	}
	polls, err := calls.polls(a.gatewayOnly(id))
	if err != nil {
		return parts{}, err
	}
	open, err := calls.gateway()
	if err != nil {
		return parts{}, err
	}
	dir := filepath.Join(a.opt.Machine.Paths.Data, id.Short())
	box, err := outbox.Open(a.opt.Machine.FS, filepath.Join(dir, "outbox"), a.opt.Clock, a.log)
	if err != nil {
		return parts{}, err
	}
	log := a.audit()
	var channel *control.Control
	replies := &command.Replies{Agent: a.info(), Clock: a.opt.Clock, Outbox: box, Audit: log, GatewayOpen: func() bool { return channel.Open() }}
	node, err := a.node(id)
	if err != nil {
		return parts{}, errors.Join(err, box.Close())
	}
	orchestration := filepath.Join(dir, "document", a.cfg.Agent.OrchestrationRootDir)
	values := paramstore.Store{Call: api.Call}
	queue, runs, sink := a.commands(jobsOf(dir), orchestration, node, replies, creds, log, values)
	a.inherit(ctx, dir, node, sink, box)
	accept := command.New(command.Options{
		Queue: queue, Replies: replies, Clock: a.opt.Clock, Log: a.log, Node: node, Audit: log, Orchestration: orchestration, Store: values,
	})
	shells, err := a.sessions(filepath.Join(dir, "session", "sessions"), id, creds, box, log, values)
	if err != nil {
		return parts{}, errors.Join(err, box.Close())
	}
	channel = control.New(control.Options{
		OpenSession: shells.Open, CloseSession: shells.Close,
		InstanceID: id.InstanceID, Open: open, Calls: polls, Outbox: box, Reach: reach, Clock: a.opt.Clock, Log: a.log,
		Accept: func(ctx context.Context, d control.Delivery) control.Verdict {
			return control.Verdict(accept.Accept(ctx, command.Delivery(d)))
		},
	})
	heart := admin.NewHeart(a.opt.Clock)
	runs["channel"], runs["sessions"] = channel.Run, shells.Run
	if !a.gatewayOnly(id) {
		runs["health ping"] = a.pinger(ctx, api, id, channel, heart.Beat, reach).Run
	}
	runs["recordings"] = func(ctx context.Context) error { return a.sweep(ctx, filepath.Join(dir, "session", "sessions")) }
	runs["network"] = func(ctx context.Context) error { return a.watchNetwork(ctx, reach) }
	maps.Copy(runs, a.watch(watched{id: id, creds: creds, skew: skew, heart: heart, channel: channel, queue: queue, shells: shells, box: box, calls: calls}))
	if keepFresh != nil {
		runs["credentials"] = keepFresh
	}
	return parts{outbox: box, audit: log, shells: shells, runs: runs, renew: a.renewer(id, filepath.Join(dir, "session"), queue, shells)}, nil
}

// gatewayOnly says whether nothing but the gateway is asked: in container mode,
// as in stock agents, but for those whom the service lists by their pings.
func (a *Agent) gatewayOnly(id identity.Identity) bool {
	return a.cfg.Agent.ContainerMode && id.Type != config.OnPrem && id.Type != config.EC2
}

// zone is the availability zone of an EC2 instance and the zone's id.
func (a *Agent) zone(ctx context.Context, id identity.Identity) (name, zoneID string) {
	ask := a.opt.Machine.Cloud.Zone
	if id.Type != config.EC2 || ask == nil {
		return "", ""
	}
	name, zoneID, err := ask(ctx)
	if err != nil {
		a.log.Warn("the availability zone is not told", "error", err)
	}
	return name, zoneID
}

// pinger tells the service that the node lives.
func (a *Agent) pinger(ctx context.Context, api *ssmclient.Client, id identity.Identity, channel *control.Control, told func(error), reach *ssmclient.Reach) health.Pinger {
	zone, zoneID := a.zone(ctx, id)
	return health.Pinger{
		Client: api, InstanceID: id.InstanceID, Zone: zone, ZoneID: zoneID, AgentName: a.cfg.Agent.Name, AgentVersion: a.cfg.Agent.Version,
		Info: a.opt.Machine.Info, Channel: a.settled(ctx, channel), Interval: a.pingEvery(),
		Told: told, Reach: reach, Clock: a.opt.Clock, Log: a.log,
	}
}

// settled tells the channel in use. The pings start together with the channel,
// so the first one that tells it waits a moment for it.
func (a *Agent) settled(ctx context.Context, c *control.Control) func() string {
	return func() string {
		changed := c.Await()
		if name := c.Channel(); name != "" {
			return name
		}
		t := a.opt.Clock.NewTimer(channelPatience)
		defer t.Stop()
		select {
		case <-changed:
		case <-t.C():
		case <-ctx.Done():
		}
		return c.Channel()
	}
}

func (a *Agent) queue(dir string, sink job.Sink, creds aws.CredentialsProvider) *job.Queue {
	m := a.opt.Machine
	return job.New(job.Options{
		Dir: dir, FS: m.FS, Clock: a.opt.Clock, Log: a.log, Sink: sink, Limits: limits(a.cfg),
		Executable: m.Executable, Env: m.Env, Stderr: m.Stderr,
		Start: m.Start, Enter: m.Enter, Find: m.Find, KillMarked: m.KillMarked, Dial: m.Dial, Reboot: m.Reboot,
		Credentials: func(ctx context.Context) (link.Credentials, error) { return link.Borrow(ctx, creds) },
	})
}

// limits are those of commands.
func limits(c config.Config) job.Limits {
	return job.Limits{
		Workers: c.Mds.CommandWorkersLimit, Buffer: max(c.Mds.CommandWorkerBufferLimit, minBuffer), Retries: c.Mds.CommandRetryLimit,
		Retention: job.Retention{
			Age:   time.Duration(c.Ssm.RunCommandLogsRetentionDurationHours) * time.Hour,
			Bytes: int64(c.SSMAgent.Commands.MaxMiB) << 20, Count: c.SSMAgent.Commands.MaxCount,
		},
		Cleanup: cleanup(c.Ssm.OrchestrationDirectoryCleanup),
	}
}

// cleanup is what OrchestrationDirectoryCleanup means.
func cleanup(setting string) func([]doc.Result) bool {
	return func(results []doc.Result) bool {
		s := doc.Overall(results)
		switch setting {
		case "clean-success":
			return s == doc.Success
		case "clean-success-failed":
			return s == doc.Success || s == doc.Failed
		}
		return false
	}
}

func (a *Agent) node(id identity.Identity) (job.Node, error) {
	endpoint, err := a.cfg.Endpoint(config.ServiceSSM, id.Region)
	if err != nil {
		return job.Node{}, err
	}
	storage := ""
	if a.cfg.S3.Endpoint != "" {
		if storage, err = a.cfg.Endpoint(config.ServiceS3, id.Region); err != nil {
			return job.Node{}, err
		}
	}
	buckets, err := a.cfg.BucketEndpoint(id.Region)
	if err != nil {
		return job.Node{}, err
	}
	logs, err := a.cfg.Endpoint(config.ServiceLogs, id.Region)
	if err != nil {
		return job.Node{}, err
	}
	info := a.opt.Machine.Info()
	return job.Node{
		InstanceID: id.InstanceID, Region: id.Region, PlatformType: osName(info),
		PlatformName: info.Name, PlatformVersion: info.Version,
		DefaultWorkDir: a.opt.Machine.Paths.DefaultWorkDir, AsInvoker: a.opt.Machine.Paths.Root != "",
		LocalOutputCleanup: a.cfg.Ssm.PluginLocalOutputCleanup,
		SharedFile:         a.shared(id), SharedProfile: a.cfg.Profile.ShareProfile,
		Plugins:  a.opt.Machine.Paths.Plugins,
		Packages: job.Packages{Dir: a.opt.Machine.Paths.Packages, Locks: a.opt.Machine.Paths.PackageLocks, Manifests: a.opt.Machine.Paths.PackageManifests},
		Services: job.Services{
			SSM: endpoint, SSMRegion: a.cfg.SigningRegion(config.ServiceSSM, id.Region), S3: storage, Buckets: buckets, Logs: logs,
			CABundle: a.cfg.SSMAgent.CABundle, UserAgent: a.userAgent(),
		},
	}, nil
}

func (a *Agent) info() doc.AgentInfo {
	return doc.AgentInfo{Lang: a.cfg.Os.Lang, Name: a.cfg.Agent.Name, OS: a.cfg.Os.Name, OSVer: a.cfg.Os.Version, Version: a.cfg.Agent.Version}
}

// osName is the platform in small letters, as documents and channels name it.
func osName(i platform.Info) string { return strings.ToLower(i.Type) }

// caller makes clients of the services.
type caller struct {
	agent *Agent
	id    identity.Identity
	creds aws.CredentialsProvider
	http  *http.Client
	skew  *ssmclient.Skew
	reach *ssmclient.Reach
}

func (c caller) signer(service string) ssmclient.CredentialsSigner {
	return ssmclient.CredentialsSigner{Credentials: c.creds, Region: c.agent.cfg.SigningRegion(service, c.id.Region), Clock: c.agent.opt.Clock, Skew: c.skew}
}

func (c caller) client(service, prefix string) (*ssmclient.Client, error) {
	endpoint, err := c.agent.cfg.Endpoint(service, c.id.Region)
	if err != nil {
		return nil, err
	}
	return &ssmclient.Client{
		HTTP: c.http, Endpoint: endpoint, Service: service, TargetPrefix: prefix, UserAgent: c.agent.userAgent(),
		Signer: c.signer(service), Clock: c.agent.opt.Clock, Log: c.agent.log, Skew: c.skew, Reach: c.reach,
	}, nil
}

// polls are the calls of ec2messages. The long poll has its own time-out and
// repeats by itself. nil: there are none.
func (c caller) polls(none bool) (control.Caller, error) {
	if none {
		return nil, nil //nolint:nilnil // said above
	}
	answers, err := c.client(config.ServiceMDS, mds.TargetPrefix)
	if err != nil {
		return nil, err
	}
	long := *answers
	long.Timeout = time.Duration(c.agent.cfg.Mds.StopTimeoutMillis) * time.Millisecond
	long.Retry = ssmclient.NoRetry()
	return pollCalls{long: &long, answers: answers}, nil
}

type pollCalls struct{ long, answers *ssmclient.Client }

// Call implements control.Caller.
func (p pollCalls) Call(ctx context.Context, op string, in, out any) error {
	if op == mds.OpGetMessages {
		return p.long.Call(ctx, op, in, out)
	}
	return p.answers.Call(ctx, op, in, out)
}

// gateway opens the control channel.
func (c caller) gateway() (func(context.Context) (control.Conn, error), error) {
	a := c.agent
	endpoint, err := a.cfg.Endpoint(config.ServiceMGS, c.id.Region)
	if err != nil {
		return nil, err
	}
	g := ssmclient.Gateway{HTTP: c.http, Endpoint: endpoint, Signer: c.signer(config.ServiceMGS), UserAgent: a.userAgent(), Clock: a.opt.Clock, Skew: c.skew, Reach: c.reach}
	hello := mgs.OpenControlChannel{AgentVersion: a.cfg.Agent.Version, PlatformType: osName(a.opt.Machine.Info())}
	return func(ctx context.Context) (control.Conn, error) {
		token, err := g.CreateControlChannel(ctx, c.id.InstanceID)
		if err != nil {
			return nil, err
		}
		conn, err := g.DialControlChannel(ctx, c.id.InstanceID, token, hello)
		if err != nil {
			return nil, err
		}
		return conn, nil
	}, nil
}
