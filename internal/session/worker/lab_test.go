package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/link"
	"ssmagent/internal/outbox"
	"ssmagent/internal/session"
	"ssmagent/internal/session/terminal"
	"ssmagent/internal/session/worker"
	"ssmagent/internal/wire/mgs"
	"ssmagent/platform/ipc"
	"ssmagent/platform/proc"
	"ssmagent/platform/profile"
	"ssmagent/platform/secfile"
	"ssmagent/shell"
	"ssmagent/users"
	"ssmagent/users/userstest"
)

// TestMain is also the programs that a session starts.
func TestMain(m *testing.M) {
	ctx := context.Background()
	switch os.Args[0] {
	case session.WorkerName:
		exe, _ := os.Executable()
		os.Exit(worker.Main(ctx, os.Args[1:], worker.Deps{
			FS: secfile.ForUser(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
			Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Clock: clock.Real{}, Lock: secfile.Lock, Listen: ipc.Listen, Start: testStart, Screen: shell.OpenScreen, Profile: testProfile,
			Executable: exe, Env: os.Environ(), Accounts: testAccounts, Program: testProgram, Lookup: testLookup, PowerShell: os.Getenv("TEST_POWERSHELL"), Cmd: os.Getenv("TEST_CMD"),
			Dial: func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", a.String())
			},
		}))
	case terminal.Name:
		os.Exit(terminal.Main(ctx, terminal.Deps{In: os.Stdin, Out: os.Stdout, Open: shell.Open, Line: func() *os.File { return os.NewFile(3, "line") },
			System: terminal.System{Start: proc.Start, Subreaper: proc.BecomeSubreaper, KillDescendants: proc.KillDescendants}}))
	}
	os.Exit(m.Run())
}

// testAccounts are ours alone, unless the test has root's: then there are three
// more, of which one is root too.
func testAccounts(string) worker.Accounts {
	f := &userstest.Fake{Me: users.Account{Name: "me", Home: "/", Shell: os.Getenv("TEST_LOGIN")}, Stranger: os.Getenv("TEST_ACCOUNT") == "stranger"}
	if os.Getenv("TEST_ACCOUNT") == "none" {
		f.Fails = errors.New("make the account ssm-user: neither useradd nor BusyBox's adduser is here")
	}
	if file := os.Getenv("TEST_LEFT"); file != "" {
		f.Left = func() error { return note(file, "left") }
	}
	p := proc.Principal{Set: true, UID: 60001, GID: 60002, Groups: []uint32{60002, 60003}}
	f.Add(users.Account{Name: "ada", Home: "/tmp", Shell: os.Getenv("TEST_LOGIN"), Principal: p})
	if os.Getenv("TEST_ACCOUNT") == "token" {
		f.Add(users.Account{Name: users.Name, Home: "/nowhere", Principal: proc.Principal{UID: 60001, GID: 60001, Token: testToken}})
	}
	f.Add(users.Account{Name: "toor", Home: "/", Principal: proc.Principal{Set: true, GID: 5}})
	return f
}

// testToken is what the account of sessions has where there are tokens.
const testToken = 77

func note(file, line string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(line + "\n")
	return err
}

// testProfile is that of testToken.
func testProfile(token uintptr, name string) (profile.Profile, error) {
	if token != testToken || name != users.Name {
		return profile.Profile{}, errors.New("load the profile of a stranger")
	}
	p := profile.Profile{Dir: "/tmp", Env: []string{"PATH=/usr/bin:/bin", "PS1=ready> ", "OWN=own"}, Unload: func() error { return note(os.Getenv("TEST_LEFT"), "unloaded") }}
	if os.Getenv("TEST_PROFILE") == "poor" {
		p.Poor = errors.New("load the profile: the hive is damaged")
	}
	return p, nil
}

// testStart is the system's, which knows testToken.
func testStart(s proc.Spec) (proc.Process, error) {
	token := s.Principal.Token
	s.Principal = proc.Principal{}
	p, err := proc.Start(s)
	if err == nil && token == testToken {
		if os.Getenv("TEST_PROFILE") == "unborn" {
			_ = p.Kill()
			return unborn{p}, nil
		}
		err = note(os.Getenv("TEST_LEFT"), "started in "+s.Dir)
	}
	return p, err
}

// unborn is a process that a system started and could not bring to life.
type unborn struct{ proc.Process }

func (u unborn) Wait(ctx context.Context) (proc.State, error) {
	s, err := u.Process.Wait(ctx)
	if err == nil {
		err = fmt.Errorf("%w: no desktop", proc.ErrUnborn)
	}
	return s, err
}

func testProgram(name string, _ []string) (string, error) {
	if p := os.Getenv("TEST_SHELL"); p != "" {
		return p, nil
	}
	p, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	return filepath.Abs(p)
}

// testLookup knows two names.
func testLookup(_ context.Context, host string) ([]netip.Addr, error) {
	switch host {
	case "mixed.example":
		return []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("169.254.169.254")}, nil
	case "far.example":
		return []netip.Addr{netip.MustParseAddr("203.0.113.1")}, nil
	}
	return nil, errors.New("no such host")
}

const (
	id       = "ada-0123456789abcdef0"
	node     = "mi-0123456789abcdef0"
	patience = 30 * time.Second
)

// reports is an outbox.
type reports struct{ ch chan mgs.AgentTaskComplete }

func (r reports) Put(entries ...outbox.Entry) error {
	for _, e := range entries {
		c, err := mgs.Decode[mgs.AgentTaskComplete]([]byte(e.Content))
		if err != nil {
			return err
		}
		r.ch <- c
	}
	return nil
}

// lab is a node with a service.
type lab struct {
	t       *testing.T
	gw      *gateway
	dir     string
	env     []string
	reports reports
	limit   int
	key     string // access key of the agent's credentials
	records session.Records
	node    func(*session.Node) // changes what sessions are told of the node
	// lifetime of the credentials from each hand-out, 0: for ever; expired is
	// when the last ones are, in Unix nanoseconds.
	lifetime time.Duration
	expired  atomic.Int64
	s3       string // URL

	started chan proc.Process
	settled atomic.Int32 // times that accounts were given back
}

func newLab(t *testing.T) *lab {
	t.Parallel()
	return &lab{
		t: t, gw: newGateway(t), dir: filepath.Join(t.TempDir(), "sessions"), reports: reports{make(chan mgs.AgentTaskComplete, 100)},
		limit: 10, key: "AKIAONE", started: make(chan proc.Process, 100),
		env: []string{"PATH=/usr/bin:/bin", "PS1=ready> ", "AWS_SECRET_ACCESS_KEY=hidden", "SSMAGENT_X=hidden", "KEPT=kept"},
	}
}

// agent runs a manager; stop is what happens when an agent goes.
func (l *lab) agent() (m *session.Manager, stop func()) {
	l.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	n := session.Node{InstanceID: node, Region: "us-east-1", Endpoint: l.gw.srv.URL, UserAgent: "test", Version: "3.3.9000.0", Records: l.records, Platform: session.Linux, AsInvoker: true, Denied: []string{"203.0.113.0/24"},
		Logging: session.Logging{Dir: filepath.Join(filepath.Dir(l.dir), "orchestration"), Region: "us-east-1", S3: l.s3}}
	if l.node != nil {
		l.node(&n)
	}
	m = session.New(session.Options{
		Dir: l.dir, FS: secfile.ForUser(), Clock: clock.Real{}, Log: slog.New(slog.NewTextHandler(l.t.Output(), nil)),
		Outbox: l.reports, Channel: "ssmmessages", Limit: l.limit,
		Node: n,
		Credentials: func(context.Context) (link.Credentials, error) {
			return l.credentials(), nil
		},
		Executable: exe, Env: l.env, Stderr: os.Stderr,
		Start: func(s proc.Spec) (proc.Process, error) {
			p, err := proc.Start(s)
			if err == nil {
				l.started <- p
			}
			return p, err
		},
		Find: proc.Find, Dial: ipc.Dial, Audit: l.trail(),
		Settle: func(context.Context) error { l.settled.Add(1); return nil },
	})
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		if err := m.Run(ctx); err != nil {
			l.t.Error(err)
		}
	}()
	stop = func() {
		cancel()
		<-ran
	}
	l.t.Cleanup(func() {
		for _, p := range l.workers() { // of a test that failed
			_ = p.Kill()
		}
		stop()
	})
	return m, stop
}

// credentials are what the agent hands out.
func (l *lab) credentials() link.Credentials {
	c := link.Credentials{AccessKeyID: l.key, SecretAccessKey: "secret", SessionToken: "token"}
	if l.lifetime > 0 {
		c.Expires = time.Now().Add(l.lifetime)
		l.expired.Store(c.Expires.UnixNano())
	}
	return c
}

func (l *lab) workers() (ps []proc.Process) {
	for {
		select {
		case p := <-l.started:
			ps = append(ps, p)
		default:
			return ps
		}
	}
}

func content(change func(*mgs.AgentTaskContent)) mgs.AgentTaskContent {
	c := mgs.AgentTaskContent{SessionId: id, DocumentName: "SSM-SessionManagerRunShell"}
	c.DocumentContent.SchemaVersion, c.DocumentContent.SessionType = "1.0", mgs.SessionStandardStream
	if change != nil {
		change(&c)
	}
	return c
}

// order starts a session.
func (l *lab) order(m *session.Manager, change func(*mgs.AgentTaskContent)) {
	l.t.Helper()
	b, err := json.Marshal(content(change))
	if err != nil {
		l.t.Fatal(err)
	}
	if err := m.Open(l.t.Context(), mgs.AgentTask{Content: string(b)}); err != nil {
		l.t.Fatal(err)
	}
}

// ended waits for the one report, and for the worker and its directory to go.
func (l *lab) ended(status, output string) {
	l.t.Helper()
	select {
	case c := <-l.reports.ch:
		if c.TaskId != id || c.FinalTaskStatus != status || !strings.Contains(c.Output, output) || output == "" && c.Output != "" || c.InstanceId != node {
			l.t.Errorf("reported %+v, want %s %q", c, status, output)
		}
	case <-time.After(patience):
		l.t.Fatal("nothing was reported")
	}
	ctx, done := context.WithTimeout(l.t.Context(), patience)
	defer done()
	for _, p := range l.workers() {
		if _, err := p.Wait(ctx); err != nil {
			l.t.Error("the worker stays: ", err)
		}
	}
	eventually(l.t, "the directory stays", func() bool {
		_, err := os.Stat(filepath.Join(l.dir, id))
		return errors.Is(err, fs.ErrNotExist)
	})
	select {
	case c := <-l.reports.ch:
		l.t.Errorf("reported again: %+v", c)
	default:
	}
}

// eventually looks until ok.
func eventually(t *testing.T, otherwise string, ok func() bool) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-late.C:
			t.Error(otherwise)
			return
		}
	}
}
