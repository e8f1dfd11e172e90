// Package domainjoin is the action aws:domainJoin, which joins the machine to a
// directory of AWS Directory Service: on Linux by a script of ours, on Windows by
// the program that comes with the stock agent.
package domainjoin

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"ssmagent/internal/clock"
	"ssmagent/internal/step"
	"ssmagent/internal/step/artifact"
	"ssmagent/internal/step/tool"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
)

const (
	scriptName = "aws_domainjoin.sh"
	maxDigits  = 5
	maxHost    = 15
)

//go:embed aws_domainjoin.sh
var script []byte

// Plugin joins by the script.
type Plugin struct {
	Region string
	Env    []string // of the script
	Shell  string   // absolute path
	Start  func(proc.Spec) (proc.Process, error)
	Clock  clock.Clock

	script []byte // of tests; nil: ours
}

var _ step.Plugin = Plugin{}

type inputs struct {
	DirectoryID    string   `json:"directoryId"`
	DirectoryName  string   `json:"directoryName"`
	DirectoryOU    string   `json:"directoryOU"`
	DNSAddresses   []string `json:"dnsIpAddresses"`
	HostName       string   `json:"hostName"`
	HostNameDigits string   `json:"hostNameNumAppendDigits"`
	KeepHostName   bool     `json:"keepHostName"`
}

// Run implements step.Plugin.
func (p Plugin) Run(ctx context.Context, in step.Input) step.Outcome {
	if ctx.Err() != nil {
		return step.Outcome{Status: doc.Cancelled, Code: 1}
	}
	i, err := decode(in.Properties)
	if err != nil {
		return step.Reject(in, err)
	}
	args, err := i.arguments(p.Region)
	if err != nil {
		return step.Fail(in, err)
	}
	text := p.script
	if text == nil {
		text = script
	}
	file, err := writeScript(in, text)
	if err != nil {
		return step.Fail(in, fmt.Errorf("write the script: %w", err))
	}
	return p.join(ctx, in, append([]string{file}, args...))
}

func (p Plugin) join(ctx context.Context, in step.Input, argv []string) step.Outcome {
	return run(ctx, in, p.Clock, tool.Spec{Path: p.Shell, Args: append([]string{"sh"}, argv...), Env: p.Env, Dir: filepath.Dir(argv[0]), Start: p.Start})
}

// run runs what joins, and reads the outcome from what it prints.
func run(ctx context.Context, in step.Input, c clock.Clock, spec tool.Spec) step.Outcome {
	r, err := tool.RunWithin(ctx, c, doc.DefaultTimeout, spec)
	_, oerr := io.WriteString(in.Stdout, r.Stdout)
	_, eerr := io.WriteString(in.Stderr, r.Stderr)
	lost := errors.Join(oerr, eerr)
	said := r.Stdout + r.Stderr
	switch {
	case ctx.Err() != nil:
		return step.Stopped(ctx, in, err)
	case errors.Is(err, tool.ErrLate):
		return step.Outcome{Status: doc.TimedOut, Code: 1, Error: err.Error()}
	case err == nil && lost != nil:
		return step.Outcome{Status: doc.Failed, Code: 1, Error: fmt.Sprintf("the step's output is not complete: %v", lost)}
	case err != nil:
		return step.Fail(in, fmt.Errorf("%w\nDomain join failed.", err)) //nolint:staticcheck // the text that stock agents end with
	case r.State.Code != 0:
		out := step.Fail(in, errors.New("Domain join failed.")) //nolint:staticcheck // see above
		out.Code = r.State.Code
		return out
	case strings.Contains(said, string(doc.SuccessAndReboot)), strings.Contains(said, string(doc.PassedAndReboot)):
		return step.Outcome{Status: doc.SuccessAndReboot}
	}
	if _, err := io.WriteString(in.Stdout, "Domain join succeeded."); err != nil {
		return step.Fail(in, err)
	}
	return step.Outcome{Status: doc.Success}
}

func decode(properties any) (inputs, error) {
	return step.Decode[inputs](properties, "dnsIpAddresses must be a list of strings, keepHostName a boolean, the others strings")
}

// arguments are what the script is given, in the stock agent's order.
func (i inputs) arguments(region string) ([]string, error) {
	if err := i.check(); err != nil {
		return nil, err
	}
	args := []string{"--directory-id", i.DirectoryID, "--directory-name", i.DirectoryName, "--instance-region", region}
	if ou := strings.Trim(i.DirectoryOU, `"`); ou != "" {
		args = append(args, "--directory-ou", ou)
	}
	if i.HostName != "" {
		args = append(args, "--set-hostname", i.HostName)
		if i.HostNameDigits != "" {
			args = append(args, "--set-hostname-append-num-digits", i.HostNameDigits)
		}
	}
	if i.KeepHostName {
		args = append(args, "--keep-hostname")
	}
	if len(i.DNSAddresses) > 0 {
		args = append(args, "--dns-addresses", strings.Join(i.DNSAddresses, ","))
	}
	return args, nil
}

func (i inputs) check() error {
	if i.DirectoryID == "" || i.DirectoryName == "" {
		return errors.New("directoryId and directoryName are required")
	}
	for _, v := range [][2]string{{"directoryId", i.DirectoryID}, {"directoryName", i.DirectoryName}, {"directoryOU", i.DirectoryOU}, {"hostName", i.HostName}} {
		if strings.ContainsAny(v[1], "$`;|&\x00\r\n") {
			return fmt.Errorf("%s holds one of $ ` ; | & or a line break, which it must not", v[0])
		}
	}
	for _, name := range []string{i.DirectoryName, i.HostName} {
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != "" {
			return errors.New("directoryName and hostName must be made of letters, digits and any of . - _")
		}
	}
	d := i.HostNameDigits
	if d != "" && (len(d) != 1 || d[0] < '1' || d[0] > '0'+maxDigits) {
		return fmt.Errorf("hostNameNumAppendDigits %.20q must be a digit from 1 to %d", d, maxDigits)
	}
	if d != "" && len(i.HostName)+int(d[0]-'0') > maxHost || len(i.HostName) > maxHost {
		return fmt.Errorf("hostName and its digits have more than %d characters", maxHost)
	}
	for _, a := range i.DNSAddresses {
		if ip, err := netip.ParseAddr(a); err != nil || !ip.Is4() {
			return fmt.Errorf("dnsIpAddresses: %.60q is not an IPv4 address", a)
		}
	}
	return nil
}

// writeScript puts the script into the step's directory, out of which no link
// leads.
func writeScript(in step.Input, text []byte) (string, error) {
	root, err := artifact.MakeDir(in)
	if err != nil {
		return "", err
	}
	defer root.Close()
	if err := root.Remove(scriptName); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	return filepath.Join(in.StepDir, scriptName), root.WriteFile(scriptName, text, 0o700)
}
