package domainjoin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"ssmagent/internal/clock"
	"ssmagent/internal/environ"
	"ssmagent/internal/step"
	"ssmagent/internal/step/tool"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
)

const helperName = "AWS.DomainJoin.exe"

// Helper joins by AWS's own program, whose source is not public. It is called
// as stock agents call it, but by itself: they have PowerShell read the inputs
// as a command line.
type Helper struct {
	Region string
	Dir    string   // where the program lies
	Env    []string // of the program; proxies are taken from it too
	Start  func(proc.Spec) (proc.Process, error)
	Clock  clock.Clock
}

var _ step.Plugin = Helper{}

// Run implements step.Plugin.
func (h Helper) Run(ctx context.Context, in step.Input) step.Outcome {
	if ctx.Err() != nil {
		return step.Outcome{Status: doc.Cancelled, Code: 1}
	}
	i, err := decode(in.Properties)
	if err != nil {
		return step.Reject(in, err)
	}
	args, err := i.helperArguments(h.Region, h.Env)
	if err != nil {
		return step.Fail(in, err)
	}
	program := filepath.Join(h.Dir, helperName)
	if info, err := os.Stat(program); err != nil || !info.Mode().IsRegular() {
		return step.Fail(in, fmt.Errorf("%s is not there: joining a domain is done by a program of AWS that only its own agent comes with; "+
			"copy the folder %s from a machine with the stock agent, or join by a script (Add-Computer)", program, h.Dir))
	}
	return run(ctx, in, h.Clock, tool.Spec{Path: program, Args: append([]string{program}, args...), Env: h.Env, Dir: h.Dir, Start: h.Start})
}

// helperArguments are in the stock agent's order. It passes over the inputs for
// Linux alone.
func (i inputs) helperArguments(region string, env []string) ([]string, error) {
	if i.DirectoryID == "" || i.DirectoryName == "" {
		return nil, errors.New("directoryId and directoryName are required")
	}
	args := []string{"--directory-id", i.DirectoryID, "--directory-name", i.DirectoryName, "--instance-region", region}
	for _, option := range [][2]string{
		{"--directory-ou", strings.Trim(i.DirectoryOU, `"`)}, {"--set-hostname", i.HostName},
		{"--proxy-address", environ.Get(env, "http_proxy")}, {"--no-proxy", environ.Get(env, "no_proxy")},
	} {
		if option[1] != "" {
			args = append(args, option[0], option[1])
		}
	}
	if len(i.DNSAddresses) > 0 {
		args = append(args, "--dns-addresses")
	}
	for _, a := range i.DNSAddresses {
		if _, err := netip.ParseAddr(a); err != nil {
			return nil, fmt.Errorf("dnsIpAddresses: %.60q is not an IP address", a)
		}
		args = append(args, a)
	}
	for _, v := range [][2]string{{"directoryId", i.DirectoryID}, {"directoryName", i.DirectoryName}, {"directoryOU", i.DirectoryOU}, {"hostName", i.HostName}} {
		if strings.HasPrefix(v[1], "-") || strings.ContainsFunc(v[1], func(r rune) bool { return r < ' ' }) {
			return nil, fmt.Errorf("%s begins with a dash or holds a control character, which it must not", v[0])
		}
	}
	return args, nil
}
