// Command ssm-setup-cli installs the agent and registers the machine, in one
// line. It is a program of its own: what checks signatures would cost every
// start of the agent's workers.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"ssmagent/internal/clock"
	"ssmagent/internal/config"
	"ssmagent/internal/secret"
	"ssmagent/internal/setup"
	"ssmagent/internal/ssmclient"
	"ssmagent/platform"
	"ssmagent/platform/secfile"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// flags are the stock tool's, and -package, -key, -ca-bundle and
// -activation-code-file.
type flags struct {
	set                     *flag.FlagSet
	setup                   setup.Options
	env, code, codeFile, ca string
	artifacts               string
}

func newFlags(stderr io.Writer) *flags {
	f := &flags{set: flag.NewFlagSet("ssm-setup-cli", flag.ContinueOnError)}
	s, o := f.set, &f.setup
	s.SetOutput(stderr)
	s.StringVar(&f.env, "env", "onprem", "where the agent runs: onprem")
	s.StringVar(&o.Region, "region", "", "region of the registration")
	s.BoolVar(&o.Register, "register", false, "install the agent and register this machine as a managed node")
	s.StringVar(&f.code, "activation-code", "", "activation code; other users of the machine may see it in the list of processes")
	s.StringVar(&f.codeFile, "activation-code-file", "", "file that holds the activation code, - for standard input")
	s.StringVar(&o.ID, "activation-id", "", "activation id")
	s.StringVar(&o.Role, "role", "", "role name: register with this machine's AWS credentials instead of an activation")
	s.StringVar(&o.Tags, "tags", "", `tags of the node, JSON: [{"Key":"k","Value":"v"}]; only with -role`)
	s.BoolVar(&o.Override, "override", false, "register also where a registration is")
	s.BoolVar(&o.Install, "install", false, "install the agent, also without registering")
	s.BoolVar(&o.Shutdown, "shutdown", false, "stop the agent")
	s.StringVar(&o.Version, "version", "", `version to choose from the manifest: "stable" (as without), "latest" or a number`)
	s.BoolVar(&o.Downgrade, "downgrade", false, "install also an older version than the one that is here")
	s.StringVar(&o.Package, "package", "", "package to install, a deb, rpm, tar.gz or msi: a path, or a URL (https, http, file)")
	s.StringVar(&o.Manifest, "manifest-url", "", "list of releases to choose a package from: a URL")
	s.StringVar(&o.Key, "key", "", "file with the OpenPGP public keys of who may sign packages; without it ssm-setup-cli.asc beside this program")
	s.BoolVar(&o.SkipSignatures, "skip-signature-validation", false, "install whatever was fetched")
	s.StringVar(&f.ca, "ca-bundle", "", "file of certificates (PEM) to trust besides the system's when fetching")
	s.StringVar(&f.artifacts, "artifacts-dir", "", "folder of packages in Greengrass, where this agent does not run")
	return f
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, stderr io.Writer) int {
	f := newFlags(stderr)
	if len(args) == 0 {
		f.set.Usage()
		return 0
	}
	switch err := f.set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := f.run(ctx, in, out); err != nil {
		fmt.Fprintf(stderr, "ssm-setup-cli: %v\n", err)
		return 1
	}
	return 0
}

func (f *flags) run(ctx context.Context, in io.Reader, out io.Writer) error {
	if f.set.NArg() > 0 {
		return fmt.Errorf("%w - %q is no flag", setup.ErrParameters, f.set.Arg(0))
	}
	if !strings.EqualFold(f.env, "onprem") && f.env != "" {
		return fmt.Errorf("Invalid environment. - %s: onprem is known", f.env) //nolint:staticcheck // the stock tool's words
	}
	if f.artifacts != "" {
		return fmt.Errorf("%w - -artifacts-dir is of Greengrass, where this agent does not run; -package names a package", setup.ErrParameters)
	}
	if err := f.readCode(in); err != nil {
		return err
	}
	if err := f.setup.Check(); err != nil { // before anything is looked at
		return err
	}
	scratch, err := os.MkdirTemp("", "ssm_setup_cli_artifacts")
	if err != nil {
		return fmt.Errorf("make a folder for what is fetched: %w", err)
	}
	defer os.RemoveAll(scratch)
	m, err := f.machine(scratch, out)
	if err != nil {
		return err
	}
	return setup.Run(ctx, f.setup, m)
}

// maxCode bounds a file with an activation's code.
const maxCode = 250

// readCode finds the activation's code.
func (f *flags) readCode(in io.Reader) error {
	f.setup.Code = secret.Text(f.code)
	if f.codeFile == "" {
		return nil
	}
	if f.code != "" {
		return errors.New("-activation-code and -activation-code-file are given: use one of them")
	}
	b, err := io.ReadAll(io.LimitReader(in, maxCode))
	if f.codeFile != "-" {
		b, err = readFile(f.codeFile, maxCode)
	}
	if err != nil {
		return fmt.Errorf("-activation-code-file: %w", err)
	}
	f.setup.Code = secret.Text(strings.TrimSpace(string(b)))
	return nil
}

// machine is this one.
func (f *flags) machine(scratch string, out io.Writer) (setup.Machine, error) {
	p := platform.DefaultPaths()
	client, err := httpClient(f.ca, p.ConfigFile)
	if err != nil {
		return setup.Machine{}, err
	}
	exe, err := os.Executable()
	if err != nil {
		return setup.Machine{}, fmt.Errorf("find this program: %w", err)
	}
	return setup.Machine{
		OS: runtime.GOOS, Arch: runtime.GOARCH, FS: secfile.OS(), Clock: clock.Real{}, HTTP: client, ConfigFile: p.ConfigFile, Data: p.Data,
		Agent: agentProgram(), DefaultKey: filepath.Join(filepath.Dir(exe), "ssm-setup-cli.asc"), Scratch: scratch, Out: out,
		Elevated: elevated, Read: readFile, Find: exec.LookPath, Exec: execute, Service: tellService,
	}, nil
}

// httpClient trusts the system's certificates and those that are named here or
// in the configuration, and has the proxies of the environment.
func httpClient(bundle, configFile string) (*http.Client, error) {
	if bundle == "" {
		if cfg, _, err := config.LoadFile(configFile); err == nil { // the agent says what is wrong with it
			bundle = cfg.SSMAgent.CABundle
		}
	}
	var ca []byte
	if bundle != "" {
		var err error
		if ca, err = os.ReadFile(bundle); err != nil {
			return nil, fmt.Errorf("certificates to trust: %w", err)
		}
	}
	t, err := ssmclient.Transport(ca)
	if err != nil {
		return nil, fmt.Errorf("certificates to trust: %s: %w", bundle, err)
	}
	return &http.Client{Transport: t, CheckRedirect: secure}, nil
}

// maxHops is how many redirects are followed, as everywhere.
const maxHops = 10

// secure follows no redirect from https to anything that others can change.
func secure(to *http.Request, via []*http.Request) error {
	if len(via) >= maxHops {
		return fmt.Errorf("%s: more than %d redirects", via[0].URL, maxHops)
	}
	if via[0].URL.Scheme == "https" && to.URL.Scheme != "https" {
		return fmt.Errorf("%s leads to %s, which is not encrypted", via[0].URL.Host, to.URL)
	}
	return nil
}

// readFile reads a whole file of at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return b, nil
}

// execute runs a program with an environment that asks nobody.
func execute(ctx context.Context, stdin, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin, cmd.Env = strings.NewReader(stdin), append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("it did not end in time: %w", context.Cause(ctx))
	}
	return b.String(), err
}
