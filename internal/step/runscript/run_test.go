package runscript

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
)

func sh() Plugin { return Plugin{Interpreter: Shell("/bin/sh")} }

func text(in step.Input) (stdout, stderr string) {
	return in.Stdout.(*bytes.Buffer).String(), in.Stderr.(*bytes.Buffer).String()
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		script, stdout, stderr string
		status                 doc.Status
		code                   int
	}{
		{"true", "", "", doc.Success, 0},
		{"printf a; printf b >&2", "a", "b", doc.Success, 0},
		{"printf e >&2; exit 5", "", "efailed to run commands: exit status 5", doc.Failed, 5},
		{"exit 168", "", "failed to run commands: exit status 168", doc.Failed, 168},
		{"exit 169", "", "failed to run commands: exit status 169", doc.Failed, 169},
		{"exit 194", "", "", doc.SuccessAndReboot, 194},
		{"exit 137", "", "", doc.TimedOut, 137},
		{"exit 255", "", "failed to run commands: exit status 255", doc.Failed, 255},
		{"kill -KILL 0", "", "failed to run commands: signal: killed", doc.Failed, -1},
		{"false; true", "", "", doc.Success, 0},
		{"cat; echo end", "end\n", "", doc.Success, 0}, // no standard input
		{"#!/usr/bin/env cat", "#!/usr/bin/env cat\n", "", doc.Success, 0},
		{"echo one >/dev/stderr; echo two >/dev/stderr; echo three >>/dev/stdout", "three\n", "one\ntwo\n", doc.Success, 0},
	} {
		t.Run(tc.script, func(t *testing.T) {
			t.Parallel()
			in := at(t.TempDir(), "s", tc.script)
			out := sh().Run(t.Context(), in)
			stdout, stderr := text(in)
			if out.Status != tc.status || out.Code != tc.code || out.Error != "" || stdout != tc.stdout || stderr != tc.stderr {
				t.Errorf("%+v %q %q", out, stdout, stderr)
			}
		})
	}
}

// TestWindowsForms: what differs on Windows and needs none.
func TestWindowsForms(t *testing.T) {
	t.Parallel()
	for code, want := range map[uint32]string{0: "exit status 0", 3010: "exit status 3010", 65535: "exit status 65535", 65536: "exit status 0x10000", 0xc0000005: "exit status 0xc0000005"} {
		if got := exitStatus(int(code)); got != want {
			t.Errorf("%d: %q, want %q", code, got, want)
		}
	}
	i := WindowsPowerShell(`C:\p.exe`)
	deep := `C:\` + strings.Repeat("d", 256)
	for script, want := range map[string]string{
		deep[:259]: deep[:259], deep + "e": `\\?\` + deep + "e", `\\?\` + deep: `\\?\` + deep, `\\host\` + deep: `\\host\` + deep,
	} {
		if got := i.argv(`C:\p.exe`, script); got[len(got)-1] != want {
			t.Errorf("%d characters: %q", len(script), got)
		}
	}
}

func TestNoInputsAreAnEmptyScript(t *testing.T) {
	t.Parallel()
	in := at(t.TempDir(), "s")
	in.Properties = nil
	if out := sh().Run(t.Context(), in); out.Status != doc.Success {
		t.Errorf("%+v", out)
	}
}

func TestInputsOfTheWrongType(t *testing.T) {
	t.Parallel()
	for _, properties := range []any{
		"echo", []any{}, map[string]any{"runCommand": "echo"}, map[string]any{"RUNCOMMAND": []any{[]any{"nested"}}},
		map[string]any{"environment": map[string]any{"N": 1.0}}, map[string]any{"environment": map[string]any{"N": "a\x00b"}},
		map[string]any{"workingDirectory": 5.0}, map[string]any{"environment": map[string]any{"": "x"}},
	} {
		in := at(t.TempDir(), "s")
		in.Properties = properties
		out := sh().Run(t.Context(), in)
		if _, stderr := text(in); out.Status != doc.Failed || out.Code != 1 || out.Reason != step.ReasonInput || stderr == "" {
			t.Errorf("%v: %+v %q", properties, out, stderr)
		}
	}
}

func TestScriptFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tc := range []struct{ id, want string }{
		{"", "s/_script.sh"}, {"0.aws:runShellScript", "s/0.awsrunShellScript/_script.sh"}, {"../../x", "s/_script.sh"}, {"a/../../b", "s/_script.sh"},
	} {
		in := at(dir, "s", "echo 1", "echo 2")
		in.Properties.(map[string]any)["id"] = tc.id
		for range 2 { // written afresh
			if out := sh().Run(t.Context(), in); out.Status != doc.Success {
				t.Fatalf("%+v", out)
			}
		}
		name := filepath.Join(dir, tc.want)
		b, err := os.ReadFile(name)
		info, serr := os.Stat(name)
		if err != nil || serr != nil || string(b) != "echo 1\necho 2\n" || info.Mode().Perm() != 0o700 {
			t.Errorf("%q: %q %v %v", tc.id, b, info, err)
		}
		if d, err := os.Stat(filepath.Dir(name)); err != nil || d.Mode().Perm() != 0o700 {
			t.Errorf("%v %v", d, err)
		}
	}
}

func TestScriptDoesNotFollowLinks(t *testing.T) {
	t.Parallel()
	dir, out := t.TempDir(), t.TempDir()
	if err := os.Symlink(out, filepath.Join(dir, "s")); err != nil {
		t.Fatal(err)
	}
	in := at(dir, "s", "echo 1")
	if o := sh().Run(t.Context(), in); o.Status != doc.Failed {
		t.Errorf("%+v", o)
	}
	if left, _ := os.ReadDir(out); len(left) > 0 {
		t.Error("wrote through a link")
	}
	in.StepDir = filepath.Join(dir, "..", "elsewhere")
	if o := sh().Run(t.Context(), in); o.Status != doc.Failed {
		t.Errorf("%+v", o)
	}
}

func TestPathWithBlanksAndQuotes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a b'c $(touch x);\"d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	in := at(dir, "my step", "echo it works")
	if out := sh().Run(t.Context(), in); out.Status != doc.Success {
		t.Errorf("%+v", out)
	}
	if stdout, stderr := text(in); stdout != "it works\n" || stderr != "" {
		t.Errorf("%q %q", stdout, stderr)
	}
}

func TestWorkingDirectory(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, given, def, want string }{
		{"absolute", "/", "", "/"},
		{"default", "", "/usr", "/usr"},
		{"relative below downloads", "sub", "/usr", "CMD/downloads/sub"},
		{"relative elsewhere", "nothing", "/usr", "/usr"},
		{"upward", "../downloads", "/usr", "/usr"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if strings.Contains(tc.name, "relative") {
				os.MkdirAll(filepath.Join(dir, "downloads", "sub"), 0o700)
			}
			p := sh()
			p.DefaultDir = tc.def
			in := at(dir, "s", "pwd")
			in.Properties.(map[string]any)["workingDirectory"] = tc.given
			p.Run(t.Context(), in)
			if stdout, _ := text(in); strings.TrimSpace(stdout) != strings.ReplaceAll(tc.want, "CMD", dir) {
				t.Errorf("%q", stdout)
			}
		})
	}
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "downloads"), 0o700)
	in := at(dir, "s", "pwd")
	sh().Run(t.Context(), in)
	if stdout, _ := text(in); stdout != dir+"/downloads\n" {
		t.Errorf("after a download: %q", stdout)
	}
}

func TestWhatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	missing := Plugin{Interpreter: PowerShellCore("/nowhere/powershell", "/nowhere/pwsh")}
	in := at(t.TempDir(), "s", "x")
	out := missing.Run(t.Context(), in)
	if _, stderr := text(in); out.Status != doc.Failed || out.Code != 1 || !strings.Contains(stderr, "/nowhere/powershell or /nowhere/pwsh is not installed") {
		t.Errorf("%+v %q", out, stderr)
	}
	in = at(t.TempDir(), "s", "x")
	in.Properties.(map[string]any)["workingDirectory"] = "/nowhere/at/all"
	out = sh().Run(t.Context(), in)
	if _, stderr := text(in); out.Status != doc.Failed || out.Code != 1 || !strings.Contains(stderr, "/nowhere/at/all") {
		t.Errorf("%+v %q", out, stderr)
	}
	in = at(t.TempDir(), "s", "x")
	p := sh()
	p.Starter = func(proc.Spec) (proc.Process, error) { return nil, syscall.ENOSPC }
	out = p.Run(t.Context(), in)
	if _, stderr := text(in); out.Status != doc.Failed || !strings.Contains(stderr, "free space") {
		t.Errorf("%+v %q", out, stderr)
	}
}

// fullWriter takes n bytes and then no more.
type fullWriter struct {
	bytes.Buffer
	n int
}

func (w *fullWriter) Write(b []byte) (int, error) {
	if w.n -= len(b); w.n < 0 {
		return 0, syscall.ENOSPC
	}
	return w.Buffer.Write(b)
}

func TestFullDiskDoesNotStopTheScript(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := at(dir, "s", "head -c 1000000 /dev/zero", "touch "+dir+"/end")
	in.Stdout = &fullWriter{n: 100 << 10}
	out := sh().Run(t.Context(), in)
	if out.Status != doc.Failed || !strings.Contains(out.Error, "not complete") || !strings.Contains(out.Error, "free space") {
		t.Errorf("%+v", out)
	}
	if _, err := os.Stat(dir + "/end"); err != nil {
		t.Error(err)
	}
}

// seen is a clock whose timers for the grace of the output expire when the
// output has come.
type seen struct {
	clock.Real
	come chan struct{}
}

func (s seen) NewTimer(d time.Duration) clock.Timer {
	if d != defaultGrace {
		return s.Real.NewTimer(d)
	}
	c := make(chan time.Time)
	go func() { <-s.come; close(c) }()
	return seenTimer{c}
}

type seenTimer struct{ c chan time.Time }

func (t seenTimer) C() <-chan time.Time        { return t.c }
func (t seenTimer) Stop() bool                 { return true }
func (t seenTimer) Reset(_ time.Duration) bool { return true }

// ready runs a script and calls then once it has written "ready".
func ready(ctx context.Context, t *testing.T, p Plugin, then func(), lines ...string) (step.Outcome, string, string) {
	t.Helper()
	in := at(t.TempDir(), "s", lines...)
	stdout := &onText{text: "ready", then: then}
	in.Stdout = stdout
	out := p.Run(ctx, in)
	return out, stdout.String(), in.Stderr.(*bytes.Buffer).String()
}

func TestCancelAndShutdown(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		cause  error
		status doc.Status
		stderr string
	}{
		{step.ErrCancelled, doc.Cancelled, ""},
		{step.ErrShutdown, doc.Failed, "failed to run commands: exit status 137"},
	} {
		t.Run(tc.cause.Error(), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			out, stdout, stderr := ready(ctx, t, sh(), func() { cancel(tc.cause) }, "echo ready; sleep 1000; echo no")
			if out.Status != tc.status || out.Code != 137 || stdout != "ready\n" || stderr != tc.stderr {
				t.Errorf("%+v %q %q", out, stdout, stderr)
			}
			out = sh().Run(ctx, at(t.TempDir(), "s", "echo"))
			if out.Status != doc.Cancelled || out.Code != 1 {
				t.Errorf("not begun: %+v", out)
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	fake := clock.NewFake(time.Unix(0, 0))
	p := sh()
	p.Clock = fake
	expire := func() {
		if fake.Await(t.Context(), 1) == nil { // the output can come before the timer is set
			fake.Advance(time.Hour)
		}
	}
	out, stdout, stderr := ready(t.Context(), t, p, expire, "echo ready; sleep 1000")
	if out.Status != doc.TimedOut || out.Code != 137 || stdout != "ready\n" || stderr != "" {
		t.Errorf("%+v %q %q", out, stdout, stderr)
	}
}

func TestBackgroundProcessIsLeftAlone(t *testing.T) {
	t.Parallel()
	p := sh()
	come := make(chan struct{})
	p.Clock = seen{come: come}
	in := at(t.TempDir(), "s", "sleep 1000 & echo $!")
	printed := &onText{text: "\n", then: sync.OnceFunc(func() { close(come) })}
	in.Stdout = printed
	out := p.Run(t.Context(), in)
	stdout := printed.String()
	pid, err := strconv.Atoi(strings.TrimSpace(stdout))
	if out.Status != doc.Success || err != nil {
		t.Fatalf("%+v %q", out, stdout)
	}
	if err := kill(pid); err != nil {
		t.Errorf("the background process is gone: %v", err)
	}
}

func TestLateOutputIsReadWithinTheGrace(t *testing.T) {
	t.Parallel()
	in := at(t.TempDir(), "s", "(sleep 0.2; echo late) & echo early")
	out := sh().Run(t.Context(), in)
	if stdout, _ := text(in); out.Status != doc.Success || stdout != "early\nlate\n" {
		t.Errorf("%+v %q", out, stdout)
	}
}

// TestTreeIsEnded has a second process of this program as the worker.
func TestTreeIsEnded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), workerVar+"="+dir)
	cmd.Stderr = t.Output()
	b, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var out step.Outcome
	if err := json.Unmarshal(b, &out); err != nil || out.Status != doc.Cancelled || out.Code != 137 || out.Error != "" {
		t.Fatalf("%+v %v", out, err)
	}
	if tree := pids(t, dir+"/tree"); len(tree) != 4 || slices.ContainsFunc(tree, alive) {
		t.Errorf("of the tree %v some are left", tree)
	}
	kept := pids(t, dir+"/kept")
	if len(kept) != 1 || !alive(kept[0]) {
		t.Fatalf("what an earlier step left running is gone: %v", kept)
	}
	kill(kept[0])
}

// kill ends a process that must be there.
func kill(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}

func pids(t *testing.T, name string) (all []int) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range strings.Fields(string(b)) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pid)
	}
	return all
}

func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

func TestKillThatCannotBeDoneIsSaid(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	p := sh()
	p.Snapshot = func() ([]proc.ID, error) { return []proc.ID{{PID: 1, Start: 1}, {PID: 2, Start: 1 << 60}}, nil }
	var kept []proc.ID
	p.KillTree = func(_ context.Context, keep []proc.ID) error { kept = keep; return errors.New("no rights") }
	out, _, _ := ready(ctx, t, p, func() { cancel(step.ErrCancelled) }, "echo ready; sleep 1000")
	if out.Status != doc.Failed || out.Code != 137 || !strings.Contains(out.Error, "no rights") {
		t.Errorf("%+v", out)
	}
	if len(kept) != 1 || kept[0].PID != 1 {
		t.Errorf("kept %v", kept)
	}
}
