// Package agent puts the agent together: it finds out who the node is, takes
// up the commands it has promised to run, and keeps a channel to the service.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/gofrs/flock"
	"golang.org/x/sync/errgroup"

	"ssmagent/internal/clock"
	"ssmagent/internal/config"
	"ssmagent/internal/fsys"
	"ssmagent/internal/identity"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/vault"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform"
	"ssmagent/platform/proc"
)

// Machine is the operating system as the agent sees it: the real one is filled
// in by the program, fakes by tests.
type Machine struct {
	Info  func() platform.Info // read anew at every call
	Paths platform.Paths
	FS    fsys.FS
	// Lock is secfile.Lock: the audit log has several writers.
	Lock func(file string) (unlock func(), err error)
	// Given is where the service manager puts the service's credentials;
	// empty: nowhere.
	Given string
	// Seal is the system's way to seal a private key.
	Seal vault.Sealer
	// Hardware is what the fingerprint compares.
	Hardware identity.Hardware
	// Ambient finds the credentials of a custom identity; nil: there are none.
	Ambient func(ctx context.Context, region string) (aws.CredentialsProvider, error)
	// Cloud is asked on machines that are not registered.
	Cloud identity.Cloud

	// SharedCredentials is the shared credentials file of the agent's user; empty:
	// there is none.
	SharedCredentials string

	User       string   // that this process runs as
	Executable string   // absolute path of this program, which workers are too
	Env        []string // of workers, handed on to scripts
	Stderr     *os.File // of workers; nil is the null device
	Start      func(proc.Spec) (proc.Process, error)
	// Enter puts a worker into a scope of the service manager; nil: there are
	// none.
	Enter      func(id proc.ID, scope string)
	Find       func(proc.ID) (proc.Process, error)
	KillMarked func(ctx context.Context, name, value string) error
	Dial       func(ctx context.Context, path string) (net.Conn, error) // ipc.Dial
	// Listen and CheckPeer are those of ipc, for ssm-cli; Listen nil: it is
	// not answered.
	Listen    func(path string) (net.Listener, error)
	CheckPeer func(net.Conn) error
	// Settle is that of users.Local, for an agent that runs sessions as others;
	// nil: it does not.
	Settle func(context.Context) error
	// Network is network.Changes; nil: nobody tells of the network.
	Network func(ctx context.Context) (<-chan struct{}, error)
	// Reboot restarts the machine, soon, and returns; nil: it cannot be.
	Reboot func(ctx context.Context) error
	// Watch is watch.Dir; nil: nobody tells of files.
	Watch func(ctx context.Context, dir string) (<-chan struct{}, error)
}

// Options of an Agent. All but Level and Last is needed.
type Options struct {
	Config  config.Config
	Machine Machine
	Log     *slog.Logger
	Clock   clock.Clock
	Version string // of the build, four numbers
	// Level is that of Log, which administrators may change; nil: they cannot.
	Level *slog.LevelVar
	// Last: nothing of the machine outlives this process, the first one of a
	// container. It ends the sessions before it ends.
	Last bool
}

// Agent is one node's agent.
type Agent struct {
	opt       Options
	cfg       config.Config // that it was started with
	log       *slog.Logger
	reloading *reloading
}

// ErrNotRegistered is wrapped by the error of Run on a machine that is nobody.
var ErrNotRegistered = identity.ErrNone

// ErrRunning says that another agent uses the same data.
var ErrRunning = errors.New("another agent is running with the same data")

// New checks o and returns an Agent that does nothing until Run.
func New(o Options) (*Agent, error) {
	m := o.Machine
	switch {
	case m.Info == nil || m.FS == nil || m.Lock == nil || m.Hardware == nil || m.Start == nil || m.Find == nil || m.KillMarked == nil || m.Dial == nil || m.Listen != nil && m.CheckPeer == nil:
		return nil, errors.New("agent: the machine is not whole")
	case o.Log == nil || o.Clock == nil || o.Version == "":
		return nil, errors.New("agent: log, clock or version is missing")
	case !filepath.IsAbs(m.Paths.Data) || !filepath.IsAbs(m.Executable):
		return nil, fmt.Errorf("agent: data directory %q and executable %q must be absolute", m.Paths.Data, m.Executable)
	}
	cfg := o.Config.Complete(osName(m.Info()), o.Version)
	if l := cfg.SSMAgent.LogLevel; l != config.LogInfo { // what the program has chosen otherwise
		if err := setLevel(o.Level, l); err != nil {
			return nil, err
		}
	}
	return &Agent{opt: o, cfg: cfg, log: o.Log, reloading: &reloading{now: cfg}}, nil
}

// lockPatience is how long a predecessor that is about to end is waited for.
const lockPatience = 5 * time.Second

// Run is the agent's life until ctx ends, which is no error. It calls ready
// once it knows who it is and can take commands; the network comes after that.
// Workers that run when it ends are left running for the next agent, if there
// can be one (Options.Last).
func (a *Agent) Run(ctx context.Context, ready func()) error {
	v := vault.New(a.opt.Machine.FS, a.opt.Machine.Paths.Data)
	v.TakeFrom(a.opt.Machine.Given)
	v.SealBy(a.opt.Machine.Seal, a.cfg.SSMAgent.SealKey)
	id, key, err := identity.Resolve(ctx, a.cfg, v, a.opt.Machine.Cloud)
	if err != nil {
		return err
	}
	if !doc.ValidID(id.InstanceID) {
		return fmt.Errorf("instance id %.140q is not usable as the name of a directory", id.InstanceID)
	}
	unlock, err := a.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := v.Settle(); errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("ssmagent.SealKey: %w", err)
	} else if err != nil {
		a.log.Warn("the private key is not kept as ssmagent.SealKey says", "error", err)
	}
	transport, err := a.transport()
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	p, err := a.assemble(ctx, id, key, v, &http.Client{Transport: transport})
	if err != nil {
		return err
	}
	defer p.close()
	if err := a.reloading.begin(p.renew); err != nil {
		return err
	}
	a.log.Info("agent started", "version", a.opt.Version, "instance", id.InstanceID, "region", id.Region, "identity", id.Type)
	ready()
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer context.AfterFunc(ctx, func() {
		defer end()
		if a.opt.Last {
			p.finish()
		}
	})()
	g, gctx := errgroup.WithContext(life)
	for name, run := range p.runs {
		g.Go(func() error {
			err := run(gctx)
			if gctx.Err() != nil {
				return nil // it was told to end
			}
			if err == nil {
				err = errors.New("it ended unasked")
			}
			return fmt.Errorf("%s: %w", name, err)
		})
	}
	err = g.Wait()
	a.log.Info("agent stopped", "error", err)
	return err
}

// lock makes sure that one agent uses the data.
func (a *Agent) lock(ctx context.Context) (unlock func(), err error) {
	dir := a.opt.Machine.Paths.Data
	if err := fsys.MkdirAll(a.opt.Machine.FS, dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the agent's data directory: %w", err)
	}
	file := filepath.Join(dir, "agent.lock")
	// The disk says more clearly than the lock that it takes no writes.
	f, err := a.opt.Machine.FS.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the agent keeps all that must not get lost in %s: %w", dir, err)
	}
	_ = f.Close() // nothing was written
	l := flock.New(file, flock.SetPermissions(0o600))
	lctx, done := context.WithTimeout(ctx, lockPatience)
	defer done()
	ok, err := l.TryLockContext(lctx, 50*time.Millisecond)
	if ok {
		return func() { _ = l.Close() }, nil
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, fmt.Errorf("%w (%s); stop it first, or use another -root", ErrRunning, dir)
	}
	return nil, fmt.Errorf("lock %s: %w", dir, err)
}

// transport carries all traffic of the agent.
func (a *Agent) transport() (*http.Transport, error) {
	var ca []byte
	if file := a.cfg.SSMAgent.CABundle; file != "" {
		var err error
		ca, err = fsys.ReadFile(a.opt.Machine.FS, file, 4<<20)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("ssmagent.CABundle of the configuration names %s, which does not exist", file)
		}
		if err != nil {
			return nil, fmt.Errorf("ssmagent.CABundle of the configuration: %w", err)
		}
	}
	t, err := ssmclient.Transport(ca)
	if err != nil {
		return nil, fmt.Errorf("ssmagent.CABundle %s of the configuration: %w", a.cfg.SSMAgent.CABundle, err)
	}
	return t, nil
}

func (a *Agent) userAgent() string { return "amazon-ssm-agent/" + a.opt.Version }
