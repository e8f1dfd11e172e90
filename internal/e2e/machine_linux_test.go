package e2e

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// machine is a Debian with a systemd of its own in a container. It shares the
// network of the test, which is a namespace with a loopback only.
type machine struct {
	*program // its first process
	t        *testing.T
	leader   string // pid of its systemd
}

// boot starts the image of the folder, which stays as it is. /packages in it
// is the other folder.
func boot(t *testing.T, image, packages string) *machine {
	t.Helper()
	dir, err := os.MkdirTemp("", "boot") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "n"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	t.Cleanup(func() { forgetPayload(t) })
	m := &machine{t: t}
	m.program = startAs(t, exec.Command("env", "NOTIFY_SOCKET="+filepath.Join(dir, "n"), "systemd-nspawn", "--quiet", "--register=no", "--keep-unit",
		"--directory="+image, "--volatile=overlay", "--boot", "--notify-ready=yes", "--console=pipe", "--link-journal=no", "--bind-ro="+packages+":/packages"))
	t.Cleanup(m.off)
	said := make(chan string)
	go func() {
		defer close(said)
		for b := make([]byte, 4096); ; {
			n, err := ready.Read(b)
			if err != nil {
				return
			}
			said <- string(b[:n])
		}
	}()
	pid := regexp.MustCompile(`X_NSPAWN_LEADER_PID=(\d+)`)
	for up := false; !up || m.leader == ""; {
		select {
		case s := <-said:
			up = up || strings.Contains(s, "READY=1")
			if g := pid.FindStringSubmatch(s); g != nil {
				m.leader = g[1]
			}
		case <-m.done:
			t.Fatalf("the machine did not start: %v\n%s", m.err, m.output())
		}
	}
	m.write("/etc/hosts", "127.0.0.1 localhost "+strings.TrimSpace(m.do("hostname"))+"\n") // for sudo
	return m
}

// off ends the machine with all its processes, which end with their first.
func (m *machine) off() {
	if pid, err := strconv.Atoi(m.leader); err == nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		m.wait()
	}
}

// forgetPayload removes the control groups that containers leave, once nothing
// runs in them.
func forgetPayload(t *testing.T) {
	for _, at := range []string{"/sys/fs/cgroup/systemd/payload", "/sys/fs/cgroup/unified/payload", "/sys/fs/cgroup/payload"} {
		eventually(t, at+" to be empty", func() bool {
			var dirs []string
			_ = filepath.WalkDir(at, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			for _, d := range slices.Backward(dirs) {
				if os.Remove(d) != nil {
					return false
				}
			}
			return true
		})
	}
}

// command is a command line inside of the machine.
func (m *machine) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(m.t.Context(), "nsenter", append([]string{"--target", m.leader, "--mount", "--uts", "--ipc", "--pid", "--root", "--wd", "--"}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"}
	return cmd
}

// try runs a command inside and returns what it printed and its exit code.
func (m *machine) try(args ...string) (out string, code int) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	cmd := m.command(args...)
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		m.t.Fatal(err)
	}
	return strings.TrimSpace(b.String()), cmd.ProcessState.ExitCode()
}

// do runs a command inside, which must succeed.
func (m *machine) do(args ...string) string {
	m.t.Helper()
	out, code := m.try(args...)
	if code != 0 {
		m.t.Fatalf("%s: exit %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// root is where the machine's files are seen from here.
func (m *machine) root() string { return "/proc/" + m.leader + "/root" }

// write makes a file inside.
func (m *machine) write(name, text string) {
	m.t.Helper()
	file := filepath.Join(m.root(), name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// exists says whether something is at a path inside.
func (m *machine) exists(name string) bool {
	_, err := os.Lstat(filepath.Join(m.root(), name))
	return err == nil
}

// unit is a property of the agent's unit.
func (m *machine) unit(property string) string {
	m.t.Helper()
	return m.do("systemctl", "show", "--value", "--property="+property, "amazon-ssm-agent")
}

// agent is the pid of the agent as the machine counts, 0 when it does not run.
func (m *machine) agent() int {
	m.t.Helper()
	pid, err := strconv.Atoi(m.unit("MainPID"))
	if err != nil {
		m.t.Fatal(err)
	}
	return pid
}
