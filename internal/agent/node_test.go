package agent_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/uuid"

	"ssmagent/internal/agent"
	"ssmagent/internal/clock"
	"ssmagent/internal/config"
	"ssmagent/internal/identity"
	"ssmagent/internal/job"
	"ssmagent/internal/step"
	"ssmagent/internal/step/runscript"
	"ssmagent/internal/vault"
	"ssmagent/internal/worker"
	"ssmagent/platform"
	"ssmagent/platform/ipc"
	"ssmagent/platform/proc"
)

// TestMain makes the test's own program the worker.
func TestMain(m *testing.M) {
	if os.Args[0] == job.WorkerName {
		os.Exit(worker.Main(context.Background(), os.Args[1:], worker.Deps{
			FS: workerFS(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Listen: ipc.Listen,
			Plugins: func(r job.Request, _ aws.CredentialsProvider) step.Set {
				return step.Set{"aws:runShellScript": runscript.Plugin{
					Interpreter: runscript.Shell("/bin/sh"), KillTree: proc.KillDescendants, Snapshot: proc.Descendants,
					Extra: r.Node.Variables(), DefaultDir: r.Node.DefaultWorkDir,
				}}
			},
			Subreaper: proc.BecomeSubreaper, KillDescendants: proc.KillDescendants, Imprint: proc.Imprint,
		}))
	}
	if spec := os.Getenv(nodeVar); spec != "" {
		os.Exit(nodeMain(spec))
	}
	os.Exit(m.Run())
}

// node is a machine with a registration, and its agents.
type node struct {
	t   *testing.T
	d   *double
	opt agent.Options
	a   *agent.Agent // the last one that was started
}

func newNode(t *testing.T, d *double) *node {
	t.Helper()
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("these tests run shell scripts, and there is no /bin/sh")
	}
	n := &node{t: t, d: d, opt: agent.Options{
		Config: config.Default(), Clock: clock.Real{}, Version: "3.3.9000.0", Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Machine: machine(platform.PathsBelow(t.TempDir())),
	}}
	n.opt.Config.Ssm.Endpoint, n.opt.Config.Mds.Endpoint = d.srv.URL, d.srv.URL
	n.opt.Config.Mgs.Endpoint = strings.Replace(d.srv.URL, "http", "ws", 1)
	return n
}

func (n *node) register() {
	n.t.Helper()
	m := n.opt.Machine
	_, err := identity.Register(n.t.Context(), identity.RegisterDeps{
		Config: n.opt.Config, Vault: vault.New(m.FS, m.Paths.Data), FS: m.FS, Data: m.Paths.Data, Hardware: m.Hardware,
		HTTP: http.DefaultClient, UserAgent: "test", Clock: n.opt.Clock, Log: slog.New(slog.DiscardHandler),
	}, identity.RegisterOptions{Code: "12345678901234567890", ID: uuid.NewString(), Region: "us-east-1"})
	if err != nil {
		n.t.Fatal(err)
	}
}

// start runs an agent until stop.
func (n *node) start() (stop func()) {
	n.t.Helper()
	a, err := agent.New(n.opt)
	if err != nil {
		n.t.Fatal(err)
	}
	n.a = a
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	ready := make(chan struct{})
	go func() { done <- a.Run(ctx, func() { close(ready) }) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := take(n.t, "the agent's end", done); err != nil {
			n.t.Errorf("Run: %v", err)
		}
	}
	n.t.Cleanup(stop)
	select {
	case <-ready:
	case err := <-done:
		n.t.Fatalf("the agent did not start: %v", err)
	}
	return stop
}

func (n *node) path(id string, name ...string) string {
	return filepath.Join(append([]string{n.opt.Machine.Paths.Data, instance, "document", "jobs", id}, name...)...)
}

// lines waits until a file has at least so many lines.
func lines(t *testing.T, name string, count int) []string {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		b, _ := os.ReadFile(name)
		if l := strings.Split(string(b), "\n"); len(l) > count {
			return l[:len(l)-1]
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has %q", name, b)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func running(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(b[strings.LastIndexByte(string(b), ')'):]), " Z ")
}

// ended waits until none of the processes runs.
func ended(t *testing.T, pids ...string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; <-time.After(2 * time.Millisecond) {
		left := 0
		for _, p := range pids {
			if running(p) {
				left++
			}
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %v still run", left, pids)
		}
	}
}
