package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/creack/pty"
)

// person works a client of a shell: types, and looks at what comes.
type person struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File // nil when the client has pipes
	in   io.WriteCloser
	done chan struct{} // closed: the client has ended and all output is here

	mu     sync.Mutex
	out    []byte
	seen   int           // what was looked at
	change chan struct{} // closed and replaced at every output
}

// sit starts a client on a terminal of its own.
func sit(t *testing.T, cmd *exec.Cmd, cols, rows uint16) *person {
	t.Helper()
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: cols, Rows: rows})
	if err != nil {
		t.Fatal(err)
	}
	return watch(t, &person{t: t, cmd: cmd, tty: tty, in: tty}, tty)
}

// script starts a client with pipes instead of a terminal.
func script(t *testing.T, cmd *exec.Cmd) *person {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return watch(t, &person{t: t, cmd: cmd, in: in}, out)
}

func watch(t *testing.T, pe *person, out *os.File) *person {
	pe.done, pe.change = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(pe.done)
		buf := make([]byte, 64<<10)
		for {
			n, err := out.Read(buf)
			pe.mu.Lock()
			pe.out = append(pe.out, buf[:n]...)
			close(pe.change)
			pe.change = make(chan struct{})
			pe.mu.Unlock()
			if err != nil { // EIO is how a terminal ends
				break
			}
		}
		_ = pe.cmd.Wait()
		out.Close()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-pe.cmd.Process.Pid, syscall.SIGKILL)
		pe.ends()
		if t.Failed() {
			t.Logf("%s showed (the last of %d bytes):\n%q", filepath.Base(pe.cmd.Path), len(pe.out), pe.out[max(0, len(pe.out)-2000):])
		}
	})
	return pe
}

// types types.
func (pe *person) types(text string) {
	pe.t.Helper()
	if _, err := io.WriteString(pe.in, text); err != nil {
		pe.t.Fatalf("type %.40q: %v", text, err)
	}
}

// sees waits for output that fits the expression, after what was seen before,
// and returns the match and its groups.
func (pe *person) sees(expr string) []string {
	pe.t.Helper()
	re := regexp.MustCompile(expr)
	deadline := time.After(patience)
	for ended := false; ; {
		pe.mu.Lock()
		if at := re.FindSubmatchIndex(pe.out[pe.seen:]); at != nil {
			m := re.FindSubmatch(pe.out[pe.seen:])
			pe.seen += at[1]
			pe.mu.Unlock()
			var groups []string
			for _, g := range m {
				groups = append(groups, string(g))
			}
			return groups
		}
		change := pe.change
		pe.mu.Unlock()
		if ended {
			pe.t.Fatalf("the client ended and never showed %q", expr)
		}
		select {
		case <-change:
		case <-pe.done:
			ended = true
		case <-deadline:
			pe.t.Fatalf("%q was not shown", expr)
		}
	}
}

// ends waits until the client has ended and returns its exit code.
func (pe *person) ends() int {
	pe.t.Helper()
	select {
	case <-pe.done:
		return pe.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		pe.t.Errorf("%s did not end", pe.cmd.Path)
		return -1
	}
}

// resizes changes the size of the terminal.
func (pe *person) resizes(cols, rows uint16) {
	pe.t.Helper()
	if err := pty.Setsize(pe.tty, &pty.Winsize{Cols: cols, Rows: rows}); err != nil {
		pe.t.Fatal(err)
	}
}

// shell is the command line of our client; url is where it finds the plane.
func (p *plane) shell(url, node string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, "ssm-local"), append([]string{"shell", "-endpoint-url", url, "-region", "us-east-1"}, append(args, node)...)...)
	cmd.Env = environment(p.t, "AWS_SHARED_CREDENTIALS_FILE="+p.creds, "TERM=xterm")
	return cmd
}

// tools is where the makefile puts what only tests need.
func tools(t *testing.T, name string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", "build", "tools"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
		t.Fatalf("needs %s: run `make test-e2e`, which makes it: %v", name, err)
	}
	return dir
}

// stock is the command line of the AWS CLI with the official plugin.
func (p *plane) stock(node string, args ...string) *exec.Cmd {
	p.t.Helper()
	dir := tools(p.t, "session-manager-plugin")
	cmd := exec.Command("/usr/bin/aws", append([]string{"ssm", "start-session", "--target", node, "--endpoint-url", p.url}, args...)...)
	for _, e := range environment(p.t, "AWS_SHARED_CREDENTIALS_FILE="+p.creds, "AWS_DEFAULT_REGION=us-east-1", "TERM=xterm") {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			e = "PATH=" + dir + ":" + path
		}
		cmd.Env = append(cmd.Env, e)
	}
	return cmd
}

// sessions lists sessions of the node.
func (p *plane) sessions(state types.SessionState, node string) []types.Session {
	p.t.Helper()
	out, err := p.sdk().DescribeSessions(p.t.Context(), &ssm.DescribeSessionsInput{State: state,
		Filters: []types.SessionFilter{{Key: types.SessionFilterKeyTargetId, Value: aws.String(node)}}})
	if err != nil {
		p.t.Fatal(err)
	}
	return out.Sessions
}

// connected waits until the node's control channel is there, or is not.
func (p *plane) connected(n *node, want types.ConnectionStatus) {
	p.t.Helper()
	eventually(p.t, n.id+" to be "+string(want), func() bool {
		out, err := p.sdk().GetConnectionStatus(p.t.Context(), &ssm.GetConnectionStatusInput{Target: &n.id})
		return err == nil && out.Status == want
	})
}

// terminate ends a session by the API.
func (p *plane) terminate(id string) {
	p.t.Helper()
	if _, err := p.sdk().TerminateSession(p.t.Context(), &ssm.TerminateSessionInput{SessionId: &id}); err != nil {
		p.t.Fatal(err)
	}
}

// history waits until the node has n sessions, all over and each one listed
// once, and returns them by id.
func (p *plane) history(node string, n int) map[string]types.Session {
	p.t.Helper()
	var got map[string]types.Session
	eventually(p.t, fmt.Sprintf("%d sessions to have ended", n), func() bool {
		list := p.sessions(types.SessionStateHistory, node)
		got = map[string]types.Session{}
		for _, s := range list {
			if s.Status == types.SessionStatusTerminating {
				return false
			}
			got[*s.SessionId] = s
		}
		if len(list) != len(got) || len(got) > n {
			p.t.Fatalf("%d entries for %d sessions, want %d", len(list), len(got), n)
		}
		return len(got) == n
	})
	if active := p.sessions(types.SessionStateActive, node); len(active) != 0 {
		p.t.Errorf("ended and active at once: %v", active)
	}
	return got
}

// noShells checks that no process of the agent's sessions is left, the shells
// with the given process ids among them.
func (n *node) noShells(pids ...string) {
	n.t.Helper()
	eventually(n.t, "the processes of the sessions to be gone", func() bool {
		for _, pid := range pids {
			if alive(pid) {
				return false
			}
		}
		for _, pid := range processes(n.root) {
			if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.Contains(string(b), "session") {
				return false
			} else if err != nil && !errors.Is(err, os.ErrNotExist) {
				return false
			}
		}
		return true
	})
}
