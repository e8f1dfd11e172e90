package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// bin is the folder with the built programs.
var bin = os.Getenv("SSMAGENT_BIN")

func TestMain(m *testing.M) {
	if bin != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "ssmagent-e2e-")
	if err != nil {
		panic(err)
	}
	bin = dir
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "amazon-ssm-agent"), "ssmagent/cmd/amazon-ssm-agent").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	for _, l := range []string{"ssm-local", "ssm-cli", "ssm-document-worker", "ssm-session-worker"} {
		if err := os.Symlink("amazon-ssm-agent", filepath.Join(dir, l)); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// patience bounds every wait for a process; a test that meets it has failed.
const patience = 60 * time.Second

// program is a started process of ours whose output is kept.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
	err  error

	mu     sync.Mutex
	lines  []string
	change chan struct{} // closed and replaced at every line
}

// start runs a program of ours; it is killed when the test ends.
func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	return startAs(t, exec.Command(filepath.Join(bin, name), args...))
}

// startAs is start for any command line.
func startAs(t *testing.T, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{t: t, cmd: cmd, done: make(chan struct{}), change: make(chan struct{})}
	p.cmd.Env = environment(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go p.read(r)
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", strings.Join(cmd.Args, " "), p.output())
		}
	})
	return p
}

func (p *program) read(r io.ReadCloser) {
	defer r.Close()
	for s := bufio.NewScanner(r); s.Scan(); {
		p.mu.Lock()
		p.lines = append(p.lines, s.Text())
		close(p.change)
		p.change = make(chan struct{})
		p.mu.Unlock()
	}
}

func (p *program) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// line waits for a line that holds text and returns it.
func (p *program) line(text string) string {
	p.t.Helper()
	deadline := time.After(patience)
	for seen := 0; ; {
		p.mu.Lock()
		for ; seen < len(p.lines); seen++ {
			if strings.Contains(p.lines[seen], text) {
				defer p.mu.Unlock()
				return p.lines[seen]
			}
		}
		change := p.change
		p.mu.Unlock()
		select {
		case <-change:
		case <-deadline:
			p.t.Fatalf("no line with %q came; output:\n%s", text, p.output())
		}
	}
}

// kill ends the process as kill -9 does and waits for it.
func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	p.wait()
}

// term asks it to end and waits.
func (p *program) term() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	p.wait()
}

func (p *program) wait() {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s did not end", p.cmd.Path)
	}
}

// environment is what our programs and the AWS CLI get: nothing of the
// machine's own AWS settings.
func environment(t *testing.T, extra ...string) []string {
	t.Helper()
	env := []string{"HOME=" + t.TempDir(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null"}
	return append(env, extra...)
}

// plane is a running ssm-local.
type plane struct {
	*program
	t     *testing.T
	root  string
	url   string
	creds string
	args  []string
}

// newPlane starts an ssm-local on a free port.
func newPlane(t *testing.T, args ...string) *plane {
	t.Helper()
	p := &plane{t: t, root: t.TempDir(), args: args}
	p.start("127.0.0.1:0")
	return p
}

func (p *plane) start(listen string) {
	p.t.Helper()
	p.program = start(p.t, "ssm-local", append([]string{"serve", "-root", p.root, "-listen", listen}, p.args...)...)
	p.url = strings.Fields(strings.SplitN(p.line("ready at "), "ready at ", 2)[1])[0]
	p.creds = strings.Fields(strings.SplitN(p.line("AWS_SHARED_CREDENTIALS_FILE="), "AWS_SHARED_CREDENTIALS_FILE=", 2)[1])[0]
}

// restart starts it again on the same port after it was ended.
func (p *plane) restart() { p.start(strings.TrimPrefix(p.url, "http://")) }

// sdk is the stock SDK's client of this plane.
func (p *plane) sdk() *ssm.Client {
	p.t.Helper()
	cfg, err := config.LoadDefaultConfig(p.t.Context(), config.WithRegion("us-east-1"),
		config.WithSharedCredentialsFiles([]string{p.creds}), config.WithSharedConfigFiles(nil),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(patience)))
	if err != nil {
		p.t.Fatal(err)
	}
	return ssm.NewFromConfig(cfg, func(o *ssm.Options) { o.BaseEndpoint = aws.String(p.url) })
}

// aws runs Debian's AWS CLI and returns what it printed and its exit code.
func (p *plane) aws(args ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	if _, err := os.Stat("/usr/bin/aws"); err != nil {
		p.t.Fatal("needs awscli: run `make test`, which installs it, or apt-get install awscli")
	}
	cmd := exec.CommandContext(p.t.Context(), "/usr/bin/aws", append(args, "--endpoint-url", p.url)...)
	cmd.Env = environment(p.t, "AWS_SHARED_CREDENTIALS_FILE="+p.creds, "AWS_DEFAULT_REGION=us-east-1", "AWS_DEFAULT_OUTPUT=json")
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// awsJSON runs the CLI, which must succeed, and decodes what it printed.
func (p *plane) awsJSON(v any, args ...string) {
	p.t.Helper()
	o, e, code := p.aws(args...)
	if code != 0 {
		p.t.Fatalf("aws %s: exit %d\n%s", strings.Join(args, " "), code, e)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal([]byte(o), v); err != nil {
		p.t.Fatalf("aws %s: %v in\n%s", strings.Join(args, " "), err, o)
	}
}

// node is a registered agent.
type node struct {
	*program
	t    *testing.T
	root string
	id   string
}

// activation makes one and returns code and id.
func (p *plane) activation(in *ssm.CreateActivationInput) (code, id string) {
	p.t.Helper()
	if in.IamRole == nil {
		in.IamRole = aws.String("lab")
	}
	out, err := p.sdk().CreateActivation(p.t.Context(), in)
	if err != nil {
		p.t.Fatal(err)
	}
	return *out.ActivationCode, *out.ActivationId
}

// configure writes the agent configuration of a machine that uses this plane.
func (p *plane) configure(root string, more map[string]any) {
	p.t.Helper()
	p.configureAt(filepath.Join(root, "etc", "amazon", "ssm"), more)
}

// configureAt is configure for a configuration elsewhere.
func (p *plane) configureAt(dir string, more map[string]any) {
	p.t.Helper()
	cfg := map[string]any{
		"Ssm": map[string]any{"Endpoint": p.url},
		"Mds": map[string]any{"Endpoint": p.url},
		"Mgs": map[string]any{"Endpoint": "ws" + strings.TrimPrefix(p.url, "http")},
		"Kms": map[string]any{"Endpoint": p.url},
		"S3":  map[string]any{"Endpoint": p.url}, "ssmagent": map[string]any{"LogsEndpoint": p.url},
	}
	for k, v := range more {
		cfg[k] = v
	}
	b, err := json.Marshal(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "amazon-ssm-agent.json"), b, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// run runs one of our programs to its end.
func run(t *testing.T, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
	cmd.Env = environment(t)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// node registers a machine with an activation of its own and starts its agent.
func (p *plane) node(in *ssm.CreateActivationInput) *node {
	p.t.Helper()
	n := &node{t: p.t, root: p.t.TempDir()}
	n.endAll()
	code, id := p.activation(in)
	p.configure(n.root, nil)
	_, e, rc := run(p.t, "amazon-ssm-agent", "-root", n.root, "-register", "-code", code, "-id", id, "-region", "us-east-1", "-y")
	if rc != 0 {
		p.t.Fatalf("register: exit %d\n%s", rc, e)
	}
	n.id = registeredID(p.t, n.root)
	n.start()
	p.online(n.id)
	return n
}

// registeredID is the id that a registration below root left.
func registeredID(t *testing.T, root string) string {
	t.Helper()
	var reg struct{ ManagedInstanceID string }
	b, err := os.ReadFile(filepath.Join(root, "var", "lib", "amazon", "ssm", "registration"))
	if err == nil {
		err = json.Unmarshal(b, &reg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return reg.ManagedInstanceID
}

// endAll has everything of the node killed when the test ends: workers outlive
// their agent on purpose.
func (n *node) endAll() {
	n.t.Cleanup(func() {
		for _, pid := range processes(n.root) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
}

func (n *node) start() {
	n.t.Helper()
	n.program = start(n.t, "amazon-ssm-agent", "-root", n.root)
}

// eventually tries until ok says so; the wait between tries grows.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for wait := 5 * time.Millisecond; !ok(); wait = min(2*wait, 250*time.Millisecond) {
		select {
		case <-time.After(wait):
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
