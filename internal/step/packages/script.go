package packages

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"ssmagent/internal/depot"
	"ssmagent/internal/environ"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
)

// maxKept is how much of a script's output is kept of each stream.
const maxKept = 24 << 10

// interpreter is how the scripts of one ending are run.
type interpreter struct {
	ending, action string
	lines          func(name string) []string
}

func interpreters() []interpreter {
	return []interpreter{
		{".sh", "aws:runShellScript", func(n string) []string { return []string{"echo Running sh " + n, "sh " + n} }},
		{".ps1", "aws:runPowerShellScript", func(n string) []string {
			return []string{"echo 'Running " + n + "'", `.\` + n + "; exit $LASTEXITCODE"}
		}},
	}
}

// errNoScript: the package has no script for the deed.
var errNoScript = errors.New("the package has no such script")

var errFailed = errors.New("the script failed")

// script runs a script of a version, as a step of its own would run it.
func (w *work) script(ctx context.Context, version, deed string) (doc.Status, error) {
	dir := w.Depot.Path(w.source.id, version)
	var found []interpreter
	for _, i := range interpreters() {
		if info, err := os.Lstat(filepath.Join(dir, deed+i.ending)); err == nil && info.Mode().IsRegular() {
			found = append(found, i)
		}
	}
	switch {
	case len(found) == 0:
		return doc.Failed, errNoScript
	case len(found) > 1:
		w.complain("the package has both %s.sh and %s.ps1; which one is meant cannot be told", deed, deed)
		return doc.Failed, nil
	}
	i := found[0]
	plugin, ok := w.Scripts[i.action]
	if !ok {
		w.complain("%s%s cannot be run: there is no %s on this system", deed, i.ending, i.action)
		return doc.Failed, nil
	}
	end := w.trace.section(deed)
	w.say("Initiating %s %s %s", w.source.id, version, deed)
	var stdout, stderr kept
	out := plugin.Run(ctx, step.Input{
		StepID: w.in.StepID, CommandID: w.in.CommandID, CommandDir: w.in.CommandDir,
		StepDir: filepath.Join(w.in.StepDir, depot.DirName(version), deed), Stdout: &stdout, Stderr: &stderr,
		Properties: map[string]any{"runCommand": i.lines(deed + i.ending), "workingDirectory": dir, "environment": w.environment(deed), "timeoutSeconds": "3600"},
	})
	w.say("Plugin %s ResultStatus %s", i.action, out.Status)
	w.tell(w.say, deed+" output: ", stdout.String())
	w.tell(w.complain, deed+" errors: ", stderr.String()+out.Error)
	if out.Status != doc.Success && out.Status != doc.SuccessAndReboot {
		end(errFailed)
		return doc.Failed, nil
	}
	end(nil)
	return out.Status, nil
}

func (w *work) tell(say func(string, ...any), what, text string) {
	if text = strings.TrimRight(text, "\n"); text != "" {
		say("%s%s", what, text)
	}
}

// environment is what scripts are told.
func (w *work) environment(deed string) map[string]string {
	env := map[string]string{
		"BWS_ACTION_NAME": deed, "BWS_PLATFORM_NAME": w.system.Name, "BWS_PLATFORM_VERSION": w.system.Version, "BWS_PLATFORM_FAMILY": w.system.Family,
		"BWS_ARCHITECTURE": architecture(w.Architecture), "BWS_INIT_SYSTEM": w.system.Init, "BWS_PACKAGE_MANAGER": w.system.Manager,
		"BWS_INSTANCE_ID": w.InstanceID, "BWS_INSTANCE_TYPE": "", "BWS_REGION": w.Region, "BWS_AVAILABILITY_ZONE": "", "BWS_ACCOUNT_ID": "",
	}
	for _, name := range []string{"https_proxy", "http_proxy", "no_proxy"} {
		env[name] = environ.Get(w.Env, name)
	}
	for name, value := range w.i.arguments {
		env[name] = value
	}
	return env
}

// kept keeps the beginning of what is written.
type kept struct{ bytes.Buffer }

func (k *kept) Write(b []byte) (int, error) {
	_, _ = k.Buffer.Write(b[:min(len(b), max(maxKept-k.Len(), 0))]) // never fails
	return len(b), nil
}
