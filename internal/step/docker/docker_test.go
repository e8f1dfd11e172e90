package docker

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ssmagent/internal/step"
	"ssmagent/internal/step/runscript"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc/proctest"
)

// lab is a machine whose programs note how they are called.
type lab struct{ dir, bin string }

func newLab(t *testing.T, programs map[string]string) lab {
	t.Helper()
	l := lab{dir: t.TempDir(), bin: t.TempDir()}
	for name, body := range programs {
		text := fmt.Sprintf("#!/bin/sh\n{ printf %s; printf ' <%%s>' \"$@\"; echo; } >>%s/calls\n%s\n", name, l.bin, body)
		proctest.Plant(t, filepath.Join(l.bin, name), []byte(text))
	}
	return l
}

func (l lab) find(name string) (string, error) {
	file := filepath.Join(l.bin, name)
	_, err := os.Stat(file)
	return file, err
}

func (l lab) calls() string {
	b, _ := os.ReadFile(filepath.Join(l.bin, "calls"))
	return string(b)
}

func (l lab) scripts() runscript.Plugin {
	return runscript.Plugin{Interpreter: runscript.Shell("/bin/sh")}
}

func (l lab) run(ctx context.Context, p step.Plugin, properties map[string]any) (out step.Outcome, stdout, stderr string) {
	var o, e bytes.Buffer
	out = p.Run(ctx, step.Input{CommandID: "c", CommandDir: l.dir, StepDir: filepath.Join(l.dir, "s"), Properties: properties, Stdout: &o, Stderr: &e})
	return out, o.String(), e.String()
}

func TestArguments(t *testing.T) {
	t.Parallel()
	all := inputs{Container: "web", Image: "registry/nginx:1.2", Cmd: "sh -c x", Memory: "64m", CPUShares: "/512", Volume: []string{"/a:/b", "/c:/d"}, Env: "A=b c", User: "ada", Publish: "80:8080/tcp"}
	for action, want := range map[string]string{
		"Create": "create|--volume|/a:/b|/c:/d|--name|web|--memory|64m|--cpu-shares|/512|--publish|80:8080/tcp|--env|A=b c|--user|ada|registry/nginx:1.2|sh -c x",
		"Run":    "run|-d|--volume|/a:/b|/c:/d|--name|web|--memory|64m|--cpu-shares|/512|--publish|80:8080/tcp|--env|A=b c|--user|ada|registry/nginx:1.2|sh -c x",
		"Start":  "start|web", "Stop": "stop|web", "Rm": "rm|web", "Logs": "logs|web",
		"Exec":    "exec|--user|ada|web|sh -c x",
		"Inspect": "inspect|web|registry/nginx:1.2",
		"Ps":      "ps|--all", "Stats": "stats|--no-stream|web", "Images": "images",
		"Pull": "pull|registry/nginx:1.2", "Rmi": "rmi|registry/nginx:1.2",
	} {
		i := all
		i.Action = action
		if args, err := i.arguments(); err != nil || strings.Join(args, "|") != want {
			t.Errorf("%s: %q %v", action, args, err)
		}
	}
	if args, err := (inputs{Action: "Run", Image: "i"}).arguments(); err != nil || !slices.Equal(args, []string{"run", "-d", "i", ""}) {
		t.Errorf("%q %v", args, err)
	}
	if args, err := (inputs{Action: "Stats"}).arguments(); err != nil || !slices.Equal(args, []string{"stats", "--no-stream"}) {
		t.Errorf("%q %v", args, err)
	}
	for want, bad := range map[string]inputs{
		"needs image":               {Action: "Run"},
		"needs container, ":         {Action: "Stop"},
		"needs container and cmd":   {Action: "Exec", Container: "c"},
		"needs container or image":  {Action: "Inspect"},
		"Pull needs image":          {Action: "Pull", Container: "c"},
		`action "run" is not`:       {Action: "run", Image: "i"},
		`container "a b" holds ' '`: {Action: "Ps", Container: "a b"},
		`image "a$" holds '$'`:      {Action: "Ps", Image: "a$"},
		"user \"a\\n\" holds":       {Action: "Ps", User: "a\n"},
		`volume "a;b" holds ';'`:    {Action: "Ps", Volume: []string{"ok", "a;b"}},
		"cpuShares \"/1\"":          {Action: "Ps", CPUShares: "//1"},
		"memory \"1gb\"":            {Action: "Ps", Memory: "1gb"},
		"publish \"_\"":             {Action: "Ps", Publish: "_"},
		"env holds":                 {Action: "Ps", Env: "a|b"},
		"cmd holds":                 {Action: "Ps", Cmd: "a & b"},
	} {
		if args, err := bad.arguments(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %q %v, want %q", bad, args, err, want)
		}
	}
}

func TestAction(t *testing.T) {
	t.Parallel()
	l := newLab(t, map[string]string{"docker": `echo "id ${SSM_COMMAND_ID-none} $PWD"; case $1 in rm) echo no >&2; exit 3 ;; esac`})
	p := Action{Exec: l.scripts().Exec, FindProgram: l.find}
	out, stdout, stderr := l.run(t.Context(), p, map[string]any{"ACTION": "Run", "image": "nginx", "volume": []string{"/a:/b"}, "workingDirectory": l.bin, "timeoutSeconds": "60"})
	if out.Status != doc.Success || stdout != "pluginInput.Volume:1id none "+l.bin+"\n" || stderr != "" {
		t.Errorf("%+v %q %q", out, stdout, stderr)
	}
	out, _, stderr = l.run(t.Context(), p, map[string]any{"action": "Rm", "container": "web"})
	if out.Status != doc.Failed || out.Code != 3 || stderr != "no\nfailed to run commands: exit status 3" {
		t.Errorf("%+v %q", out, stderr)
	}
	if got := l.calls(); got != "docker <run> <-d> <--volume> </a:/b> <nginx> <>\ndocker <rm> <web>\n" {
		t.Errorf("%q", got)
	}
	if out, _, stderr = l.run(t.Context(), p, map[string]any{"action": "Ps", "volume": "one"}); out.Reason != step.ReasonInput || out.Code != 1 || !strings.Contains(stderr, "volume is a JSON string") {
		t.Errorf("%+v %q", out, stderr)
	}
	if out, _, stderr = l.run(t.Context(), p, map[string]any{"action": "Up"}); out.Status != doc.Failed || !strings.Contains(stderr, "not known") {
		t.Errorf("%+v %q", out, stderr)
	}
	p.FindProgram = newLab(t, nil).find
	if out, _, stderr = l.run(t.Context(), p, map[string]any{"action": "Ps"}); out.Status != doc.Failed || !strings.Contains(stderr, "install Docker first") {
		t.Errorf("%+v %q", out, stderr)
	}
	over, cancel := context.WithCancelCause(t.Context())
	cancel(step.ErrCancelled)
	for _, p := range []step.Plugin{p, Configure{}} {
		if out, _, _ = l.run(over, p, nil); out.Status != doc.Cancelled || out.Code != 1 {
			t.Errorf("%+v", out)
		}
	}
}

func TestConfigure(t *testing.T) {
	t.Parallel()
	quiet := map[string]string{"yum": "echo chatter", "service": "", "systemctl": "", "yum-config-manager": ""}
	for _, tc := range []struct{ platform, action, calls, said string }{
		{"Amazon Linux AMI", "Install", "yum <install> <-y> <docker>\nyum <update> <-y> <docker>\nservice <docker> <start>\n", "Installing docker\nUpdating docker\nStarting docker\nDocker is installed.\n"},
		{"Amazon Linux", "Uninstall", "yum <remove> <-y> <docker>\n", "Removing docker\nDocker is removed.\n"},
		{"Red Hat Enterprise Linux", "Install", "yum <install> <-y> <yum-utils>\nyum-config-manager <--add-repo> <" + repository + ">\nyum <install> <-y> <docker-ce>\nsystemctl <start> <docker>\n",
			"Adding the package repository of docker\nInstalling docker-ce\nStarting docker\nDocker is installed.\n"},
		{"Red Hat Enterprise Linux", "Uninstall", "yum <remove> <-y> <docker-engine>\n", "Removing docker-engine\nDocker is removed.\n"},
	} {
		l := newLab(t, quiet)
		out, stdout, stderr := l.run(t.Context(), Configure{Exec: l.scripts().Exec, FindProgram: l.find, Platform: tc.platform}, map[string]any{"action": tc.action})
		if out.Status != doc.Success || stdout != tc.said || stderr != "" || l.calls() != tc.calls {
			t.Errorf("%+v: %+v %q %q %q", tc, out, stdout, stderr, l.calls())
		}
	}
	l := newLab(t, map[string]string{"yum": "echo chatter; echo no network >&2; exit 194", "service": ""})
	p := Configure{Exec: l.scripts().Exec, FindProgram: l.find, Platform: "Amazon Linux"}
	out, stdout, stderr := l.run(t.Context(), p, map[string]any{"action": "Install"})
	if out.Status != doc.Failed || out.Code != 194 || stdout != "Installing docker\n" || !strings.Contains(stderr, "no network\n") || !strings.Contains(stderr, "yum install -y docker failed:\nchatter") || l.calls() != "yum <install> <-y> <docker>\n" {
		t.Errorf("%+v %q %q %q", out, stdout, stderr, l.calls())
	}
	for want, platform := range map[string]string{"not \"Ubuntu\"": "Ubuntu", "not \"Debian GNU/Linux\"": "Debian GNU/Linux", "neither Install": ""} {
		action := "Install"
		if platform == "" {
			action = "install"
		}
		p.Platform = platform
		if out, _, stderr = l.run(t.Context(), p, map[string]any{"action": action}); out.Status != doc.Failed || out.Code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%+v %q", out, stderr)
		}
	}
	if out, _, _ = l.run(t.Context(), p, map[string]any{"action": 7}); out.Reason != step.ReasonInput {
		t.Errorf("%+v", out)
	}
	p.Platform = "Amazon Linux"
	p.FindProgram = newLab(t, nil).find
	if out, _, _ = l.run(t.Context(), p, map[string]any{"action": "Install"}); out.Status != doc.Failed {
		t.Errorf("%+v", out)
	}
}

// onWrite calls then at the first write.
type onWrite struct{ then func() }

func (w onWrite) Write(b []byte) (int, error) { w.then(); return len(b), nil }

// TestConfigureIsCancelled: stock agents neither bound nor cancel the commands.
func TestConfigureIsCancelled(t *testing.T) {
	t.Parallel()
	l := newLab(t, map[string]string{"yum": "echo ready >&2; sleep 1000"})
	ctx, cancel := context.WithCancelCause(t.Context())
	p := Configure{Exec: l.scripts().Exec, FindProgram: l.find, Platform: "Amazon Linux"}
	out := p.Run(ctx, step.Input{CommandDir: l.dir, Properties: map[string]any{"action": "Install"}, Stdout: &bytes.Buffer{},
		Stderr: onWrite{func() { cancel(step.ErrCancelled) }}})
	if out.Status != doc.Cancelled || l.calls() != "yum <install> <-y> <docker>\n" {
		t.Errorf("%+v %q", out, l.calls())
	}
}
