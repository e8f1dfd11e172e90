package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"ssmagent/internal/client/clienttest"
)

// local is ssm-local against this plane, or against what stands in for its URL.
func (p *plane) local(url string, args ...string) *exec.Cmd {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), filepath.Join(bin, "ssm-local"), append(args[:1:1], append([]string{"-endpoint-url", url}, args[1:]...)...)...)
	cmd.Env = environment(p.t, "AWS_SHARED_CREDENTIALS_FILE="+p.creds, "AWS_REGION=us-east-1")
	cmd.Cancel = func() error { return cmd.Process.Kill() }
	return cmd
}

// ends runs cmd to its end and returns what it said and its exit code.
func ends(t *testing.T, cmd *exec.Cmd, in io.Reader) (stdout, stderr string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// noise is n bytes that differ with every seed.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0] = byte(seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TestExec: what a command says, on both of its outputs, and how it ends.
func TestExec(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	for _, tc := range []struct {
		command  string
		code     int
		out, err string
	}{
		{"exit 0", 0, "", ""},
		{"echo out; echo err >&2; exit 1", 1, "out\n", "err\n"},
		{"exit 42", 42, "", ""},
		{"exit 255", 255, "", ""},
		{"kill -9 $$", 137, "", "exec: the command was ended by SIGKILL (signal 9)\n"},
		{"kill -TERM $$", 143, "", "exec: the command was ended by SIGTERM (signal 15)\n"},
		{`printf "%s|" "$0" "$@"`, 0, "a b|it's|*||", ""},
		{"tr a-z A-Z", 0, "INPUT\xff", ""},
	} {
		o, e, code := ends(t, p.local(p.url, "exec", n.id, "--", "sh", "-c", tc.command, "a b", "it's", "*", ""), strings.NewReader("input\xff"))
		if code != tc.code || o != tc.out || e != tc.err {
			t.Errorf("%s: exit %d, %q, %q", tc.command, code, o, e)
		}
	}
	in := noise(1, 24<<20)
	o, e, code := ends(t, p.local(p.url, "exec", n.id, "--", "tee", "/dev/stderr"), bytes.NewReader(in))
	if code != 0 || digest([]byte(o)) != digest(in) || digest([]byte(e)) != digest(in) {
		t.Errorf("exit %d, %d and %d bytes of %d", code, len(o), len(e), len(in))
	}
	_, e, code = ends(t, p.local(p.url, "exec", n.id, "--", "there-is-no-such-program"), nil)
	if code != 127 || !strings.Contains(e, "there-is-no-such-program") {
		t.Errorf("exit %d, %q", code, e)
	}
	_, e, code = ends(t, p.local(p.url, "exec", "mi-00000000000000000", "--", "true"), nil)
	if code != 255 || !strings.Contains(e, "not connected") {
		t.Errorf("exit %d, %q", code, e)
	}
}

// TestExecInterrupted: ^C is the command's, whose code comes through.
func TestExecInterrupted(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	pe := script(t, p.local(p.url, "exec", n.id, "--", "sh", "-c", "trap 'echo caught; exit 9' INT; echo $$ ready; while :; do sleep 0.02; done"))
	pid := pe.sees(`(\d+) ready\n`)[1]
	if err := pe.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	pe.sees(`caught\n`)
	if code := pe.ends(); code != 9 {
		t.Errorf("exit %d", code)
	}
	n.noShells(pid)
}

// TestCopy: folders and large files, both ways, while both sides' connections
// are cut again and again.
func TestCopy(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	agent := p.through(n, 5)
	client := clienttest.NewProxy(t, strings.TrimPrefix(p.url, "http://"), 6)
	dir := t.TempDir()
	content := noise(2, 64<<20)
	if err := os.MkdirAll(filepath.Join(dir, "folder", "deep"), 0o750); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"deep/big": content, "deep/empty": nil, "ü 1": []byte("small"), "run.sh": []byte("#!/bin/sh\n")} {
		if err := os.WriteFile(filepath.Join(dir, "folder", name), b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "folder", "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*clienttest.Proxy{agent, client} {
		x.CutEvery(16<<10, 128<<10, 1<<20) // from the next connection on
	}
	for _, c := range [][2]string{
		{filepath.Join(dir, "folder"), n.id + ":" + filepath.Join(dir, "up")},
		{n.id + ":" + filepath.Join(dir, "folder"), filepath.Join(dir, "down")},
	} {
		o, e, code := ends(t, p.local("http://"+client.Addr(), "cp", "-output", "json", c[0], c[1]), nil)
		var report struct{ Files, Bytes, Failed int64 }
		if err := json.Unmarshal([]byte(o), &report); err != nil || code != 0 || report.Files != 4 || report.Bytes < 64<<20 || report.Failed != 0 {
			t.Fatalf("cp %s: exit %d, %s%s", c, code, o, e)
		}
	}
	for _, copied := range []string{"up", "down"} {
		out, err := exec.Command("diff", "-r", filepath.Join(dir, "folder"), filepath.Join(dir, copied)).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", copied, err, out)
		}
		if fi, err := os.Stat(filepath.Join(dir, copied, "run.sh")); err != nil || fi.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", copied, fi, err)
		}
	}
	if a, c := agent.Cuts(), client.Cuts(); a+c < 20 {
		t.Errorf("%d and %d cuts", a, c)
	}
}

// TestCopyGoesOn: the client is killed in mid-copy; the next one takes what is
// there.
func TestCopyGoesOn(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	dir := t.TempDir()
	content := noise(3, 96<<20)
	if err := os.WriteFile(filepath.Join(dir, "big"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{filepath.Join(dir, "big"), n.id + ":" + filepath.Join(dir, "up")}, {n.id + ":" + filepath.Join(dir, "big"), filepath.Join(dir, "down")}} {
		cmd := p.local(p.url, "cp", c[0], c[1])
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a part of "+c[1], func() bool {
			parts, _ := filepath.Glob(filepath.Join(dir, ".ssm-part-*"))
			for _, f := range parts {
				if fi, err := os.Stat(f); err == nil && fi.Size() > 8<<20 {
					return true
				}
			}
			return false
		})
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err == nil {
			t.Fatal("the copy was over too soon")
		}
		o, e, code := ends(t, p.local(p.url, "cp", "-output", "json", c[0], c[1]), nil)
		var report struct{ Files, Resumed int64 }
		if err := json.Unmarshal([]byte(o), &report); err != nil || code != 0 || report.Files != 1 || report.Resumed < 4<<20 {
			t.Fatalf("exit %d, %s%s", code, o, e)
		}
		_, file, _ := strings.Cut(":"+c[1], ":")
		if _, after, ok := strings.Cut(file, ":"); ok {
			file = after
		}
		if b, err := os.ReadFile(file); err != nil || !bytes.Equal(b, content) {
			t.Errorf("%s: %d bytes, %v", file, len(b), err)
		}
	}
	_, e, code := ends(t, p.local(p.url, "cp", n.id+":"+filepath.Join(dir, "none"), dir), nil)
	if code != 255 || !strings.Contains(e, "no such file") {
		t.Errorf("exit %d, %s", code, e)
	}
	_, e, code = ends(t, p.local(p.url, "cp", n.id+":/dev/null", fmt.Sprint(dir, "/x")), nil)
	if code != 255 || !strings.Contains(e, "neither a file nor a folder") {
		t.Errorf("exit %d, %s", code, e)
	}
}
