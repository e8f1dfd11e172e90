// Package packages is the action aws:configurePackage: it installs packages and
// removes them, by the scripts that they bring along.
package packages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"ssmagent/internal/clock"
	"ssmagent/internal/depot"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/distro"
)

// Plugin installs packages. It is safe for concurrent use: a package's lock
// keeps a second command away.
type Plugin struct {
	Depot depot.Depot
	// Call calls an operation of Systems Manager, Refused is the code of a
	// refusal.
	Call    func(ctx context.Context, op string, in, out any) error
	Refused func(error) string
	// Fetch gets a file and hands its body to take, which may be called again.
	Fetch func(ctx context.Context, url string, take func(io.Reader) error) error
	// Scripts are the handlers of the packages' scripts.
	Scripts step.Set
	System  func() (distro.System, error)
	// Architecture is Go's word for it.
	Architecture       string
	InstanceID, Region string
	Env                []string // the agent's: proxies are taken from it
	Clock              clock.Clock
}

var _ step.Plugin = Plugin{}

// inputs are the members that count.
type inputs struct {
	Action           string          `json:"action"`
	Name             string          `json:"name"`
	Version          string          `json:"version"`
	InstallationType string          `json:"installationType"`
	Additional       json.RawMessage `json:"additionalArguments"`
	Repository       string          `json:"repository"`
	Source           string          `json:"source"`

	arguments map[string]string
}

// Values of the inputs.
const (
	install   = "Install"
	uninstall = "Uninstall"
	inPlace   = "In-place update"
	latest    = "latest"
	maxName   = 2048
)

// Run implements step.Plugin.
func (p Plugin) Run(ctx context.Context, in step.Input) step.Outcome {
	if ctx.Err() != nil {
		return step.Outcome{Status: doc.Cancelled, Code: 1}
	}
	i, err := decode(in.Properties)
	if err != nil {
		return step.Reject(in, err)
	}
	if err := i.check(); err != nil {
		return step.Fail(in, err)
	}
	if p.Depot.Dir == "" {
		return step.Fail(in, errors.New("the agent that accepted this command did not say where packages lie; send the command again"))
	}
	status, err := p.run(ctx, in, i)
	switch {
	case ctx.Err() != nil:
		return step.Stopped(ctx, in, err)
	case err != nil:
		return step.Fail(in, fmt.Errorf("configure the package %.200s: %w", i.Name, err))
	case status == doc.Success, status == doc.SuccessAndReboot:
		return step.Outcome{Status: status}
	}
	return step.Outcome{Status: doc.Failed, Code: 1}
}

func decode(properties any) (inputs, error) {
	i, err := step.Decode[inputs](properties, "all inputs must be strings")
	if err != nil {
		return inputs{}, err
	}
	if i.arguments, err = arguments(i.Additional); err != nil {
		return inputs{}, err
	}
	return i, nil
}

// arguments reads additionalArguments: text that holds an object of strings, or
// the object itself.
func arguments(raw json.RawMessage) (map[string]string, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		raw = json.RawMessage(strings.TrimSpace(text))
	}
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var all map[string]string
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, errors.New("additionalArguments must be a JSON object of strings, or text that holds one")
	}
	for name, value := range all {
		if !strings.HasPrefix(name, "SSM_") || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("additionalArguments has the name %.60q; names must begin with SSM_, and neither they nor their values hold NUL", name)
		}
	}
	return all, nil
}

func (i inputs) check() error {
	switch {
	case i.Action != install && i.Action != uninstall:
		return fmt.Errorf("action %.40q is neither Install nor Uninstall, in these letters", i.Action)
	case i.Name == "":
		return errors.New("name is missing: it is the package's name or ARN")
	case len(i.Name) > maxName || len(i.Version) > maxName || strings.ContainsRune(i.Name+i.Version, 0):
		return fmt.Errorf("name or version has more than %d bytes, or a NUL character", maxName)
	case i.Source != "":
		return errors.New("source must be empty: packages come from Systems Manager")
	}
	return nil
}

// latest says that no version in particular is asked for.
func (i inputs) latest() bool { return i.Version == "" || strings.EqualFold(i.Version, latest) }

// run finds the package, locks it and does what is asked for.
func (p Plugin) run(ctx context.Context, in step.Input, i inputs) (doc.Status, error) {
	system, err := p.System()
	if err != nil {
		return "", err
	}
	w := &work{Plugin: p, in: in, i: i, system: system, trace: newTrace(p.Clock)}
	end := w.trace.section("download manifest")
	w.source, err = p.find(ctx, i.Name, i.Version)
	if end(err); err != nil {
		return "", err
	}
	unlock, err := p.Depot.Lock(w.source.id)
	if err != nil {
		return "", err
	}
	defer unlock()
	w.state = p.Depot.State(w.source.id)
	w.resumed = w.trace.resume(p.Depot.Traces(w.source.id))
	previous := w.state.Installed(false)
	w.explain()
	var status doc.Status
	if i.Action == install {
		status, err = w.install(ctx)
	} else {
		status, err = w.uninstall(ctx)
	}
	if ctx.Err() != nil { // cut off: the state tells the next command
		return doc.Cancelled, err
	}
	if status == doc.SuccessAndReboot && err == nil {
		return status, p.Depot.KeepTraces(w.source.id, w.trace.encode())
	}
	if terr := p.Depot.KeepTraces(w.source.id, nil); err == nil {
		err = terr
	}
	w.report(ctx, previous, status == doc.Success && err == nil)
	return status, errors.Join(err, w.lost)
}
