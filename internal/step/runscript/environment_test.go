package runscript

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ssmagent/internal/step"
	"ssmagent/platform/proc"
)

func TestEnvironment(t *testing.T) {
	t.Parallel()
	p := Plugin{
		Interpreter: Shell("/bin/sh"),
		Env: func() []string {
			return []string{"PATH=/bin", "A=inherited", "B=inherited", "AWS_SECRET_ACCESS_KEY=s", "AWS_ACCESS_KEY_ID=k", "AWS_SESSION_TOKEN=t",
				"AWS_PROFILE=p", "NOTIFY_SOCKET=n", "WATCHDOG_PID=1", "WATCHDOG_USEC=2", "GOMEMLIMIT=1", "SSMAGENT_X=1", "broken", "=C:=C:\\"}
		},
		Extra: []string{"AWS_SSM_INSTANCE_ID=mi-1", "AWS_SSM_REGION_NAME=us-east-1"},
	}
	got := p.environment(step.Input{CommandID: "c", Env: map[string]string{"SSM_Message": "m", "B": "parameter"}},
		map[string]string{"A": "given", "SSM_COMMAND_ID": "spoof", "AWS_SSM_INSTANCE_ID": "spoof", "X=Y": "z", "AWS_SECRET_ACCESS_KEY": "users own"})
	slices.Sort(got)
	want := []string{"=C:=C:\\", "A=given", "AWS_PROFILE=p", "AWS_SECRET_ACCESS_KEY=users own", "AWS_SSM_INSTANCE_ID=mi-1", "AWS_SSM_REGION_NAME=us-east-1",
		"B=parameter", "PATH=/bin", "SSM_COMMAND_ID=c", "SSM_Message=m", "X=Y=z"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := p.environment(step.Input{}, nil); slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "SSM_COMMAND_ID") }) {
		t.Errorf("an association has no command id: %q", got)
	}
}

func TestPowerShellOnUnix(t *testing.T) {
	t.Parallel()
	p := Plugin{Interpreter: PowerShellCore("/x"), Env: func() []string { return []string{"HOME=/root", "XTERM_X=1", "TERM=xterm"} }}
	if got := p.environment(step.Input{}, nil); !slices.Equal(got, []string{"HOME=/", "TERM=xterm"}) {
		t.Errorf("%q", got)
	}
}

func TestNamesFoldOnWindows(t *testing.T) {
	t.Parallel()
	p := Plugin{Interpreter: WindowsPowerShell(`C:\p.exe`), Env: func() []string { return []string{"Path=a"} }}
	if got := p.environment(step.Input{}, map[string]string{"PATH": "b"}); !slices.Equal(got, []string{"PATH=b"}) {
		t.Errorf("%q", got)
	}
}

// TestInterpretersAreData shows what would be started elsewhere.
func TestInterpretersAreData(t *testing.T) {
	t.Parallel()
	exe := filepath.Join(t.TempDir(), "exe")
	if err := os.WriteFile(exe, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		i      Interpreter
		args   string
		script string
	}{
		{Shell(exe), "exe -c SCRIPT", "line\n"},
		{PowerShellCore("/nowhere/powershell", exe), exe + " -f SCRIPT", "line\n"},
		{WindowsPowerShell(exe), exe + " -InputFormat None -Noninteractive -NoProfile -ExecutionPolicy unrestricted -f SCRIPT", "\xEF\xBB\xBFline\n"},
	} {
		var got proc.Spec
		var script []byte
		dir := t.TempDir()
		p := Plugin{Interpreter: tc.i, Umask: 0o22, UmaskSet: true, Starter: func(s proc.Spec) (proc.Process, error) {
			got = s
			script, _ = os.ReadFile(s.Args[len(s.Args)-1])
			return nil, errors.New("not today")
		}}
		p.Run(t.Context(), at(dir, "s", "line"))
		want := strings.ReplaceAll(tc.args, "SCRIPT", filepath.Join(dir, "s", tc.i.ScriptName))
		if strings.Join(got.Args, " ") != want || got.Path != exe || string(script) != tc.script || !got.Group || got.Stdin != nil || !got.UmaskSet || got.Umask != 0o22 {
			t.Errorf("%q\nwant %q; script %q; %+v", got.Args, want, script, got)
		}
	}
}
