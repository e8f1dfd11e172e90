package e2e

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"ssmagent/platform/proc/proctest"
)

// container is an agent that is the first process of one, on a root that cannot
// be written.
type container struct {
	*program
	p   *plane
	pid int // outside
}

// image is what the README's Dockerfile makes, and what is in the folder that
// its containers are started in.
type image struct {
	root         string // that it is made from
	dir, volume  string
	id           string // of the activation
	instructions []string
}

// image makes one whose containers register themselves.
func (p *plane) image() *image {
	p.t.Helper()
	code, id := p.activation(&ssm.CreateActivationInput{})
	i := &image{root: cmp.Or(os.Getenv("SSMAGENT_IMAGE"), "/"), dir: p.t.TempDir(), volume: p.t.TempDir(), id: id}
	var settings map[string]any
	blocks := readme(p.t, "Containers")
	if err := json.Unmarshal([]byte(blocks[2]), &settings); err != nil {
		p.t.Fatal(err)
	}
	p.configureAt(i.dir, settings)
	if err := os.WriteFile(filepath.Join(i.dir, "activation-code"), []byte(code+"\n"), 0o600); err != nil {
		p.t.Fatal(err)
	}
	agent, err := os.ReadFile(filepath.Join(bin, "amazon-ssm-agent"))
	if err != nil {
		p.t.Fatal(err)
	}
	proctest.Plant(p.t, filepath.Join(i.dir, "amazon-ssm-agent"), agent)
	for _, words := range imageSays(p.t, "COPY") {
		i.instructions = append(i.instructions, "--copy", filepath.Join(i.dir, words[0])+":"+words[1])
	}
	return i
}

// contain starts a container as the README does; its command is the image's
// unless another is given.
func (p *plane) contain(i *image, command ...string) *container {
	p.t.Helper()
	if os.Geteuid() != 0 {
		unable(p.t, "root, for a container")
	}
	script, err := filepath.Abs("../../scripts/container.sh")
	if err != nil {
		p.t.Fatal(err)
	}
	if len(command) == 0 {
		command = imageSays(p.t, "CMD")[0]
	}
	args := append([]string{"--mount", "--pid", "--fork", "--kill-child", script, i.root}, i.instructions...)
	for _, word := range dockerRuns(p.t) {
		switch name, to, _ := strings.Cut(word, ":"); {
		case name == "node":
			word = i.volume + ":" + to
		case strings.HasPrefix(name, "./"):
			word = filepath.Join(i.dir, name) + ":" + to
		case strings.HasSuffix(word, "=ACTIVATION_ID"):
			word = strings.TrimSuffix(word, "ACTIVATION_ID") + i.id
		}
		args = append(args, word)
	}
	c := &container{p: p, program: startAs(p.t, exec.Command("unshare", append(append(args, "--"), command...)...))}
	text := c.line("the container is process ")
	if c.pid, err = strconv.Atoi(text[strings.LastIndex(text, " ")+1:]); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = syscall.Kill(c.pid, syscall.SIGKILL) })
	return c
}

// stop is what `docker stop` does; it returns how long the container took.
func (c *container) stop() time.Duration {
	c.program.t.Helper()
	began := time.Now()
	if err := syscall.Kill(c.pid, syscall.SIGTERM); err != nil {
		c.program.t.Fatal(err)
	}
	c.wait()
	if c.err != nil {
		c.program.t.Errorf("stopped, the container ended with %v", c.err)
	}
	return time.Since(began)
}

// children are the states of the processes whose parent is the container's
// first, as /proc has them.
func (c *container) children() (states string) {
	c.program.t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/root/proc/[0-9]*/stat", c.pid))
	if err != nil || len(files) == 0 {
		c.program.t.Fatalf("%d processes, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		if f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])); len(f) > 1 && f[1] == "1" {
			states += f[0]
		}
	}
	return states
}

// TestInstallContainer has the agent as the first process of a container whose
// root cannot be written.
func TestInstallContainer(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	i := p.image()
	c := p.contain(i)
	eventually(t, "a registration", func() bool { return i.node(t) != "" })
	node := i.node(t)
	p.online(node)
	c.orphans(node)
	c.shell(node)
	running := p.send(node, "trap '' TERM; echo begun; : >/var/lib/amazon/began; sleep 1000")
	eventually(t, "the command to run", func() bool {
		_, err := os.Stat(filepath.Join(i.volume, "began"))
		return err == nil
	})
	sitting := sit(t, p.stock(node), 80, 24)
	sitting.sees(`[#$] $`)
	t.Logf("a container with a shell and a command stopped in %v", c.stop().Round(10*time.Millisecond))
	sitting.ends()
	for _, line := range strings.Split(c.output(), "\n") {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			t.Errorf("it said %s", line)
		}
	}

	c = p.contain(i)
	got := p.invocation(running, node)
	if got.Status != types.CommandInvocationStatusFailed || !strings.Contains(aws.ToString(got.StandardOutputContent), "begun") {
		t.Errorf("the command that ran: %s, %q", got.Status, aws.ToString(got.StandardErrorContent))
	}
	t.Logf("the command that ran: %s", aws.ToString(got.StandardErrorContent))
	if again := i.node(t); again != node {
		t.Errorf("started again, %s is %s", node, again)
	}
	if got := p.invocation(p.send(node, "echo again"), node); aws.ToString(got.StandardOutputContent) != "again\n" {
		t.Errorf("%s: %q", got.Status, aws.ToString(got.StandardOutputContent))
	}
	t.Logf("an idle container stopped in %v", c.stop().Round(10*time.Millisecond))
}

// node is who the image's containers are, "" while they are nobody.
func (i *image) node(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(i.volume, "ssm", "registration"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), `"ManagedInstanceID":"`)
	name, _, _ := strings.Cut(rest, `"`)
	return name
}

// orphans has commands leave what ends after them, and one daemon: the first
// collects those that end, and no exit code is lost over it.
func (c *container) orphans(node string) {
	t := c.program.t
	t.Helper()
	daemon := c.p.send(node, "setsid sleep 1000 >/dev/null 2>&1 &")
	if got := c.p.invocation(daemon, node); got.Status != types.CommandInvocationStatusSuccess {
		t.Errorf("%s: %q", got.Status, aws.ToString(got.StandardErrorContent))
	}
	for range 3 {
		id := c.p.send(node, "for i in 1 2 3 4 5 6 7 8 9; do (setsid sleep 0.$i >/dev/null 2>&1 &); (setsid true &); done; exit 7")
		if got := c.p.invocation(id, node); got.ResponseCode != 7 {
			t.Errorf("exit code %d: %s", got.ResponseCode, aws.ToString(got.StandardErrorContent))
		}
	}
	eventually(t, "the daemon alone to be left", func() bool { return c.children() == "S" })
}

// shell sits at a container by the stock plugin: as the agent's account, which
// in container mode is whose every session is.
func (c *container) shell(node string) {
	t := c.program.t
	t.Helper()
	pe := sit(t, c.p.stock(node), 80, 24)
	pe.sees(`[#$] $`)
	pe.types("echo $(id -un) home=$HOME init=$(tr '\\0' ' ' </proc/1/cmdline); touch /etc/x\n")
	pe.sees(`root home=/root init=amazon-ssm-agent\r*\n[^\n]*Read-only file system`)
	pe.types("exit\n")
	pe.ends()
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/home/ssm-user", c.pid)); err == nil {
		t.Error("in container mode ssm-user was made")
	}
}

// TestInstallReadOnlyData: where nothing at all can be written, registration
// and agent end and say what is missing.
func TestInstallReadOnlyData(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	i := p.image()
	const register = "amazon-ssm-agent -register -region us-east-1 -id $ACTIVATION_ID -code-file /activation-code"
	const protect = "mount -o remount,bind,ro /var/lib/amazon && "
	for _, tc := range []struct{ script, want string }{
		{protect + register, "Registration failed due to"},
		{register + " && umount /var/log/amazon && " + protect + "exec amazon-ssm-agent", "the agent keeps all that must not get lost in /var/lib/amazon/ssm"},
	} {
		c := p.contain(i, "sh", "-c", tc.script)
		c.wait()
		if c.err == nil || !strings.Contains(c.output(), tc.want) || !strings.Contains(c.output(), "the file system is read-only; mount it writable") {
			t.Errorf("it ended with %v and said\n%s\nwant %q", c.err, c.output(), tc.want)
		}
	}
}

// TestInstallBusyBox has the agent on a root with nothing but BusyBox, as
// Alpine's. Debian's BusyBox has no adduser: users' own tests have that part.
func TestInstallBusyBox(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	i := p.image()
	i.root = busyBox(t)
	p.configureAt(i.dir, nil)
	c := p.contain(i)
	eventually(t, "a registration", func() bool { return i.node(t) != "" })
	node := i.node(t)
	p.online(node)
	if got := p.invocation(p.send(node, "echo $((6*7)); busybox | head -n 1 | cut -d' ' -f1"), node); aws.ToString(got.StandardOutputContent) != "42\nBusyBox\n" {
		t.Errorf("%s: %q %q", got.Status, aws.ToString(got.StandardOutputContent), aws.ToString(got.StandardErrorContent))
	}
	exec := func(args ...string) string {
		out, _ := p.local(p.url, append([]string{"exec", node, "--"}, args...)...).CombinedOutput() // the text says it
		return string(out)
	}
	if out := exec("id"); !strings.Contains(out, "put the account into the node's image") {
		t.Errorf("on a root that cannot be written: %s", out)
	}
	c.stop()

	for _, line := range [][2]string{{"passwd", "ssm-user:x:711:711::/tmp:/bin/sh\n"}, {"group", "ssm-user:x:711:\n"}} {
		f, err := os.OpenFile(filepath.Join(i.root, "etc", line[0]), os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(line[1])
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c = p.contain(i)
	c.line("control channel open")
	if out := exec("sh", "-c", "id; pwd"); out != "uid=711(ssm-user) gid=711(ssm-user) groups=711(ssm-user)\n/tmp\n" {
		t.Errorf("with an account of the image: %s", out)
	}
	c.stop()
}

// busyBox makes a root of it.
func busyBox(t *testing.T) (root string) {
	t.Helper()
	b, err := os.ReadFile("/bin/busybox")
	if err != nil {
		unable(t, "busybox-static: run `make test-install`, which installs it")
	}
	root = t.TempDir()
	for _, dir := range []string{"bin", "usr/bin", "etc", "proc", "sys", "dev"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"bin/busybox": string(b), "etc/passwd": "root:x:0:0::/root:/bin/sh\n", "etc/group": "root:x:0:\n"} {
		proctest.Plant(t, filepath.Join(root, name), []byte(text))
	}
	applets, err := exec.Command("/bin/busybox", "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(applets)) {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	return root
}
