package packages

import (
	"context"
	"errors"

	"ssmagent/internal/depot"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/distro"
)

// work is one run of the step with a package that is locked.
type work struct {
	Plugin

	in      step.Input
	i       inputs
	system  distro.System
	source  source
	state   depot.State // at the start
	resumed bool        // after a restart that a script asked for
	trace   *trace
	lost    error // of the step's output
}

// explain tells of an earlier run that was cut off.
func (w *work) explain() {
	if w.state.Phase.Unfinished() && !w.resumed {
		w.say("An earlier command was interrupted in state %s of %s %s; it is gone on with.", w.state.Phase, w.source.id, w.state.Version)
	}
}

// install makes the version of the source the one that is installed.
func (w *work) install(ctx context.Context) (doc.Status, error) {
	target, installed := w.source.version, w.state.Installed(true)
	if err := w.Depot.SetState(w.source.id, target, depot.New); err != nil {
		return "", err
	}
	failed := w.state.Phase == depot.Failed && w.state.Version == target
	if failed || !w.source.same && !w.resumed || w.Depot.Check(w.source.id, target) != nil {
		end := w.trace.section("download package")
		err := w.fetch(ctx, &w.source)
		if end(err); err != nil {
			return "", err
		}
	} else if installed == target {
		if status, done, err := w.already(ctx, target); done || err != nil {
			return status, err
		}
	}
	old := ""
	if installed != "" && (installed != target || !w.source.same) && w.prepare(ctx, installed) == nil {
		old = installed
	}
	if status, done, err := w.resume(ctx, target, old); done || err != nil {
		return status, err
	}
	return w.execute(ctx, target, old)
}

// prepare makes the content of another version available.
func (w *work) prepare(ctx context.Context, version string) error {
	if w.Depot.Check(w.source.id, version) == nil {
		return nil
	}
	s, err := w.find(ctx, w.i.Name, version)
	if err == nil && (s.id != w.source.id || s.version != version) {
		err = errors.New("the version that is installed is not to be had any more")
	}
	if err != nil {
		return err
	}
	return w.fetch(ctx, &s)
}

// already ends the step when the version is installed and valid. done: it is.
func (w *work) already(ctx context.Context, target string) (status doc.Status, done bool, err error) {
	if w.state.Phase != depot.Installed && w.state.Phase != depot.Unknown {
		return "", false, nil
	}
	status, err = w.validate(ctx, target)
	switch {
	case err != nil || ctx.Err() != nil:
		return status, true, err
	case status == doc.Success:
		w.say("%s %s is already installed", w.source.id, target)
		return status, true, w.Depot.SetState(w.source.id, target, depot.Installed)
	}
	return status, status == doc.SuccessAndReboot, nil
}

// resume goes on after a restart: what the script has done before it asked for
// one counts, if the package calls it valid. Without a restart an unfinished
// installation was cut off, and nothing of it counts.
func (w *work) resume(ctx context.Context, target, old string) (status doc.Status, done bool, err error) {
	if !w.resumed {
		return "", false, nil
	}
	switch {
	case (w.state.Phase == depot.Installing || w.state.Phase == depot.Updating) && w.state.Version == target:
		if status, err = w.validate(ctx, target); err != nil || status != doc.Success {
			return status, status == doc.SuccessAndReboot, err
		}
		return status, true, w.done(target, old)
	case w.state.Phase == depot.RollbackInstall && old != "":
		if status, err = w.validate(ctx, old); err != nil || status != doc.Success {
			return status, status == doc.SuccessAndReboot, err
		}
		return doc.Failed, true, w.settle(old, target)
	}
	return "", false, nil
}

// validate asks the version's own script, if it has one.
func (w *work) validate(ctx context.Context, version string) (doc.Status, error) {
	status, err := w.script(ctx, version, "validate")
	if errors.Is(err, errNoScript) {
		return doc.Success, nil
	}
	return status, err
}

// execute does what the state asks for.
func (w *work) execute(ctx context.Context, target, old string) (doc.Status, error) {
	switch p := w.state.Phase; {
	case p == depot.Installing || p == depot.Updating:
		return w.put(ctx, target, old)
	case p == depot.RollbackInstall && old != "":
		return w.restore(ctx, target, old)
	case p == depot.RollbackUninstall && old != "":
		return w.rollback(ctx, target, old)
	}
	if old != "" && w.i.InstallationType != inPlace {
		status, err := w.take(ctx, old, target, depot.Upgrading)
		if err != nil || status == doc.SuccessAndReboot || ctx.Err() != nil {
			return status, err
		}
		if status == doc.Failed {
			w.complain("%s %s could not be uninstalled; the installation goes on", w.source.id, old)
		}
	}
	return w.put(ctx, target, old)
}

// put installs the target, or updates to it in place; old is what a failure
// goes back to, empty for nothing.
func (w *work) put(ctx context.Context, target, old string) (doc.Status, error) {
	deed, phase := "install", depot.Installing
	if w.i.InstallationType == inPlace && w.state.Installed(false) != "" {
		deed, phase = "update", depot.Updating
	}
	if err := w.Depot.SetState(w.source.id, target, phase); err != nil {
		return "", err
	}
	status, err := w.script(ctx, target, deed)
	if errors.Is(err, errNoScript) {
		w.complain("the package has no script %s", deed)
		return doc.Failed, w.Depot.SetState(w.source.id, target, depot.Failed)
	}
	if err == nil && status == doc.Success {
		status, err = w.validate(ctx, target)
	}
	switch {
	case err != nil || ctx.Err() != nil || status == doc.SuccessAndReboot:
		return status, err
	case status == doc.Success:
		return status, w.done(target, old)
	case old == "" || old == target:
		w.complain("%s %s could not be installed", w.source.id, target)
		return doc.Failed, w.Depot.SetState(w.source.id, target, depot.Failed)
	}
	w.complain("%s %s could not be installed; %s is installed again", w.source.id, target, old)
	return w.rollback(ctx, target, old)
}

// done is settle for the version that was asked for. Its manifest is kept only
// now: until then the next command takes the package for changed.
func (w *work) done(target, old string) error {
	if err := w.Depot.KeepManifest(w.source.id, w.source.cacheAs, w.source.raw); err != nil {
		return err
	}
	return w.settle(target, old)
}

// settle makes a version the one that is installed; the content of the other
// is removed, unless that is the same.
func (w *work) settle(version, other string) error {
	w.say("Successfully installed %s %s", w.source.id, version)
	if err := w.Depot.SetState(w.source.id, version, depot.Installed); err != nil {
		return err
	}
	if other == "" || other == version {
		return nil
	}
	return w.Depot.Remove(w.source.id, other)
}

// rollback takes the target away and installs what was there before.
func (w *work) rollback(ctx context.Context, target, old string) (doc.Status, error) {
	status, err := w.take(ctx, target, target, depot.RollbackUninstall)
	if err != nil || status == doc.SuccessAndReboot || ctx.Err() != nil {
		return status, err
	}
	return w.restore(ctx, target, old)
}

// restore installs what was there before. The step has failed all the same.
func (w *work) restore(ctx context.Context, target, old string) (doc.Status, error) {
	if err := w.Depot.SetState(w.source.id, old, depot.RollbackInstall); err != nil {
		return "", err
	}
	status, err := w.script(ctx, old, "install")
	if err == nil && status == doc.Success {
		status, err = w.validate(ctx, old)
	}
	switch {
	case ctx.Err() != nil || status == doc.SuccessAndReboot || err != nil && !errors.Is(err, errNoScript):
		return status, err
	case status == doc.Success:
		return doc.Failed, w.settle(old, target)
	}
	w.complain("%s %s could not be installed again", w.source.id, old)
	return doc.Failed, w.Depot.SetState(w.source.id, target, depot.Failed)
}

// take uninstalls a version; the state names the version about, in this phase.
func (w *work) take(ctx context.Context, version, about string, phase depot.Phase) (doc.Status, error) {
	if err := w.Depot.SetState(w.source.id, about, phase); err != nil {
		return "", err
	}
	status, err := w.script(ctx, version, "uninstall")
	if errors.Is(err, errNoScript) {
		return doc.Success, nil
	}
	return status, err
}

// uninstall removes what is installed, if it is what is asked for.
func (w *work) uninstall(ctx context.Context) (doc.Status, error) {
	installed, version := w.state.Installed(false), w.source.version
	if w.i.latest() {
		version = installed
	}
	if installed == "" || version != installed {
		w.say("%s %s is not installed", w.source.id, version)
		return doc.Success, nil
	}
	if err := w.prepare(ctx, version); err != nil {
		return "", err
	}
	status, err := w.take(ctx, version, version, depot.Uninstalling)
	switch {
	case err != nil || ctx.Err() != nil || status == doc.SuccessAndReboot:
		return status, err
	case status != doc.Success:
		w.complain("%s %s could not be uninstalled", w.source.id, version)
		return doc.Failed, w.Depot.SetState(w.source.id, version, depot.Failed)
	}
	// Content without a state would count as an installation.
	if err := w.Depot.SetState(w.source.id, version, depot.None); err != nil {
		return "", err
	}
	w.say("Successfully uninstalled %s %s", w.source.id, version)
	return doc.Success, w.Depot.Remove(w.source.id, version)
}
