// Package applications is the action aws:applications: it has the Windows
// Installer install, repair or uninstall a package.
package applications

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"ssmagent/internal/clock"
	"ssmagent/internal/step"
	"ssmagent/internal/step/artifact"
	"ssmagent/internal/step/tool"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
	"ssmagent/platform/software"
)

// Exit codes of the Windows Installer.
const (
	unknownProduct  = 1605
	rebootInitiated = 1641
	rebootRequired  = 3010
)

const (
	maxParameters = 8 << 10
	// maxPath is what the Windows Installer takes for a path.
	maxPath   = 259
	logEnding = ".msiexec.log.txt"
)

// Plugin runs msiexec. It is safe for concurrent use: where another one runs,
// the Windows Installer says so.
type Plugin struct {
	Program string // msiexec, absolute
	Env     []string
	Start   func(proc.Spec) (proc.Process, error)
	Fetch   artifact.Fetch
	// ProductCode reads the product's code out of a package, Installed is
	// software.List.
	ProductCode func(file string) (string, error)
	Installed   func() ([]software.Program, error)
	Clock       clock.Clock
}

var _ step.Plugin = Plugin{}

type inputs struct {
	ID         string `json:"id"`
	Action     string `json:"action"`
	Parameters string `json:"parameters"`
	Source     string `json:"source"`
	SourceHash string `json:"sourceHash"`
}

// Run implements step.Plugin.
func (p Plugin) Run(ctx context.Context, in step.Input) step.Outcome {
	if ctx.Err() != nil {
		return step.Outcome{Status: doc.Cancelled, Code: 1}
	}
	i, err := step.Decode[inputs](in.Properties, "all inputs must be strings")
	if err != nil {
		return step.Reject(in, err)
	}
	option, err := i.check()
	if err != nil {
		return step.Fail(in, err)
	}
	if _, err := io.WriteString(in.Stdout, i.Source); err != nil {
		return step.Fail(in, err)
	}
	in.StepDir = filepath.Join(in.StepDir, doc.PropertyDir(i.ID))
	file, err := artifact.Get(ctx, artifact.Source{Address: i.Source, SHA256: i.SourceHash}, in, p.Fetch)
	if err != nil {
		return over(ctx, in, err)
	}
	o := p.install(ctx, in, i, option, file.Path)
	if err := file.Remove(); err != nil && o.Error == "" {
		o.Error = fmt.Sprintf("the fetched package cannot be removed: %v", err)
	}
	return o
}

func over(ctx context.Context, in step.Input, err error) step.Outcome {
	if ctx.Err() != nil {
		return step.Stopped(ctx, in, err)
	}
	return step.Fail(in, err)
}

// check also says how msiexec is told the action.
func (i inputs) check() (option string, err error) {
	switch i.Action {
	case "Install":
		option = "/i"
	case "Uninstall":
		option = "/x"
	case "Repair":
		option = "/fa"
	default:
		return "", fmt.Errorf("action %.40q is not known; use Install, Uninstall or Repair, in these letters", i.Action)
	}
	switch {
	case len(i.Parameters) > maxParameters || len(i.Source) > maxParameters:
		return "", fmt.Errorf("parameters or source has more than %d bytes", maxParameters)
	case strings.ContainsFunc(i.Parameters+i.Source, func(r rune) bool { return r < ' ' }):
		return "", errors.New("parameters and source must not hold line breaks or other control characters")
	case strings.Count(i.Parameters, `"`)%2 != 0:
		return "", errors.New("parameters has a quotation mark too many, or one is missing")
	case strings.ContainsRune(i.Source, '"'):
		return "", errors.New("source must not hold a quotation mark")
	}
	return option, nil
}

// commandLine is what msiexec reads. It has rules of its own: a property's value
// is quoted behind its name (NAME="a value"), so that the parameters stay as
// they are.
func (p Plugin) commandLine(option, file, log, parameters string) string {
	line := fmt.Sprintf(`"%s" %s "%s" /quiet /norestart /log "%s"`, p.Program, option, file, log)
	if parameters = strings.TrimSpace(parameters); parameters != "" {
		line += " " + parameters
	}
	return line
}

func (p Plugin) install(ctx context.Context, in step.Input, i inputs, option, file string) step.Outcome {
	dir, err := artifact.MakeDir(in)
	if err != nil {
		return step.Fail(in, fmt.Errorf("make the step's directory: %w", err))
	}
	if err := dir.Close(); err != nil {
		return step.Fail(in, err)
	}
	log := filepath.Join(in.StepDir, filepath.Base(file)+logEnding)
	if len(file) > maxPath || len(log) > maxPath {
		return step.Fail(in, fmt.Errorf("the Windows Installer takes no path of more than %d characters, and %s has more: give the step a shorter name", maxPath, log))
	}
	r, err := tool.RunWithin(ctx, p.Clock, doc.DefaultTimeout, tool.Spec{
		Path: p.Program, Args: []string{p.Program}, CommandLine: p.commandLine(option, file, log, i.Parameters),
		Env: p.Env, Dir: filepath.Dir(p.Program), Start: p.Start,
	})
	_, werr := io.WriteString(in.Stdout, r.Stdout)
	switch {
	case ctx.Err() != nil:
		return step.Stopped(ctx, in, err)
	case errors.Is(err, tool.ErrLate):
		return step.Outcome{Status: doc.TimedOut, Code: 1, Error: err.Error()}
	case err != nil:
		return step.Fail(in, err)
	case werr != nil:
		return step.Fail(in, werr)
	}
	return p.outcome(in, i, file, log, r.State.Code)
}

// outcome reads the exit code. What is not a success is told in the stock
// agent's words, with what the code means and where the log lies.
func (p Plugin) outcome(in step.Input, i inputs, file, log string, code int) step.Outcome {
	switch {
	case code == 0, code == unknownProduct && i.Action == "Uninstall" && !p.installed(file):
		return step.Outcome{Status: doc.Success}
	case code == rebootInitiated, code == rebootRequired:
		return step.Outcome{Status: doc.SuccessAndReboot, Code: code}
	}
	out := step.Fail(in, fmt.Errorf("Action:{%s}; Status:{%s}; ErrorCode:{%d}; ErrorMsg:{%s}; Description:{%s}; Source:{%s};", //nolint:staticcheck // the stock agent's words
		i.Action, doc.Failed, code, fmt.Sprintf("exit status %d", code), meaning(code)+"; its log is "+log, i.Source))
	out.Code = code
	return out
}

// installed says whether the product of a package is on the machine; when that
// cannot be told, it is: what the Windows Installer does not know of then was not
// uninstalled.
func (p Plugin) installed(file string) bool {
	code, err := p.ProductCode(file)
	if err != nil {
		return true
	}
	all, err := p.Installed()
	return err != nil || software.Has(all, code)
}

// meaning is what the Windows Installer's documentation says of a code.
func meaning(code int) string {
	switch code {
	case 1601:
		return "the Windows Installer service cannot be reached"
	case 1602:
		return "the installation was cancelled"
	case 1603:
		return "the installation met an error and was rolled back"
	case unknownProduct:
		return "the product is not installed"
	case 1612:
		return "the source that the product was installed from is not there"
	case 1618:
		return "another installation is running; try again when it is over"
	case 1619:
		return "the package cannot be opened: it is missing, or not readable by the agent's account"
	case 1620:
		return "the package is no package of the Windows Installer, or a damaged one"
	case 1622:
		return "the log cannot be written"
	case 1625:
		return "a policy of the machine forbids the installation"
	case 1633:
		return "the package is for another kind of processor"
	case 1638:
		return "another version of the product is installed; uninstall it first"
	case 1639:
		return "parameters has something that msiexec does not understand"
	}
	return "the Windows Installer failed"
}
