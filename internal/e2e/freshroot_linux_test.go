package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// freshRoot is a root of its own over the machine's, with the real tools and
// an agent that is registered and has no -root.
type freshRoot struct {
	*plane
	t   *testing.T
	pid string
	id  string
}

// freshRoot makes one; its agent runs with umask, and change is a script that
// runs in it before.
func (p *plane) freshRoot(umask, change string, settings map[string]any) *freshRoot {
	p.t.Helper()
	if os.Geteuid() != 0 {
		unable(p.t, "root, for a root file system of its own")
	}
	for _, tool := range []string{"visudo", "useradd", "unshare", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			unable(p.t, tool+": run `make test-install`, which installs it")
		}
	}
	script, err := filepath.Abs("../../scripts/fresh-root.sh")
	if err != nil {
		p.t.Fatal(err)
	}
	program, err := filepath.EvalSymlinks(filepath.Join(bin, "amazon-ssm-agent"))
	if err != nil {
		p.t.Fatal(err)
	}
	f := &freshRoot{plane: p, t: p.t}
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", script, program)
	cmd.Stderr = p.t.Output()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if f.pid, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		p.t.Fatalf("no fresh root: %v", err)
	}
	f.pid = strings.TrimSpace(f.pid)
	if _, err := os.Stat(f.in("/.fresh-root")); err != nil {
		p.t.Fatalf("this is not the fresh root: %v", err)
	}
	f.configure(f.in("/"), settings)
	code, id := f.activation(&ssm.CreateActivationInput{})
	f.sh("amazon-ssm-agent -register -code " + code + " -id " + id + " -region us-east-1 -y")
	var reg struct{ ManagedInstanceID string }
	if err := json.Unmarshal([]byte(f.file("/var/lib/amazon/ssm/registration")), &reg); err != nil {
		p.t.Fatal(err)
	}
	f.id = reg.ManagedInstanceID
	if change != "" {
		f.sh(change)
	}
	startAs(p.t, f.command("umask "+umask+"; exec amazon-ssm-agent"))
	f.online(f.id)
	return f
}

// in is a path of the root as we see it.
func (f *freshRoot) in(path string) string { return filepath.Join("/proc", f.pid, "root", path) }

// command is a script in the root, as root.
func (f *freshRoot) command(script string) *exec.Cmd {
	cmd := exec.Command("nsenter", "-t", f.pid, "-m", "-p", "-r", "-w", "--", "/bin/sh", "-c", script)
	cmd.Env = environment(f.t)
	return cmd
}

// sh runs a script in the root and returns what it printed.
func (f *freshRoot) sh(script string) string {
	f.t.Helper()
	out, err := f.command(script).CombinedOutput()
	if err != nil {
		f.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

func (f *freshRoot) file(path string) string {
	f.t.Helper()
	b, err := os.ReadFile(f.in(path))
	if err != nil {
		f.t.Fatal(err)
	}
	return string(b)
}

// exec runs a command in a session of our client; code is its exit code.
func (f *freshRoot) exec(args ...string) (out string, code int) {
	f.t.Helper()
	cmd := f.local(f.url, append([]string{"exec", f.id, "--"}, args...)...)
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		f.t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// refuses checks that both clients are told why there is no session.
func (f *freshRoot) refuses(want string) {
	f.t.Helper()
	out, code := f.exec("id")
	if code == 0 || !strings.Contains(out, want) {
		f.t.Errorf("our client ended with %d and was told\n%s\nwant %q", code, out, want)
	}
	pe := script(f.t, f.stock(f.id))
	pe.ends()
	if !strings.Contains(string(pe.out), want) {
		f.t.Errorf("the stock client was told\n%s\nwant %q", pe.out, want)
	}
	f.t.Log(fmt.Sprint(strings.TrimSpace(out)))
}
