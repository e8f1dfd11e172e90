// Package setup installs the agent from a package that somebody trusted has
// signed, and registers the machine: what ssm-setup-cli does.
package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/identity"
	"ssmagent/internal/secret"
	"ssmagent/internal/vault"
)

// Options are what is asked for: the stock tool's flags, and ours.
type Options struct {
	Region         string
	Register       bool
	Code           secret.Text
	ID             string
	Role, Tags     string // instead of an activation: the machine's AWS credentials
	Override       bool   // register also where a registration is
	Install        bool   // install, also without registering
	Shutdown       bool   // stop the agent, and nothing else
	Version        string // "stable", "latest" or a number; with Manifest
	Downgrade      bool
	Manifest       string // URL of the list of releases
	Package        string // URL or path of one package
	Key            string // path of the public keys that are trusted
	SkipSignatures bool
}

// Machine is the system as far as it is needed.
type Machine struct {
	OS, Arch   string // as Go names them
	FS         fsys.FS
	Clock      clock.Clock
	HTTP       *http.Client
	ConfigFile string
	Data       string // the data store
	Agent      string // path of the agent's program
	DefaultKey string // path of the keys that are trusted when none are named
	Scratch    string // an empty folder for root only; the caller removes it
	Out        io.Writer

	// Elevated is nil for who may install.
	Elevated func() error
	// Read reads a local file of at most limit bytes; a link is followed.
	Read func(name string, limit int64) ([]byte, error)
	// Find is the path of a program; an error where there is none.
	Find func(program string) (string, error)
	// Exec runs a program to its end and returns what it printed on both
	// outputs, also with an error.
	Exec func(ctx context.Context, stdin, program string, args ...string) (string, error)
	// Service tells the service manager "start", "stop" or "restart".
	// ErrNoManager where there is none.
	Service func(deed string) error
}

// ErrNoManager says that nothing runs services here.
var ErrNoManager = errors.New("no service manager runs here")

// ErrParameters is wrapped by what is wrong with Options.
var ErrParameters = errors.New("Invalid parameters") //nolint:staticcheck // the stock tool's words

// Time limits, of which the stock tool has shorter ones.
const (
	fetchWithin    = 30 * time.Minute
	installWithin  = 5 * time.Minute
	registerWithin = 2 * time.Minute
	queryWithin    = 30 * time.Second
)

// Check says what is missing, in the stock tool's words where it has some.
func (o Options) Check() error {
	var faults []string
	miss := func(bad bool, text string) {
		if bad {
			faults = append(faults, text)
		}
	}
	miss(!o.Register && !o.Install && !o.Shutdown, "Action required (install|register|shutdown). ")
	if o.Register && o.Role == "" {
		switch {
		case o.Code == "" && o.ID == "":
			miss(true, "Activation id/code required for on-prem registration. ")
		case o.Code == "":
			miss(true, "Activation code required for on-prem registration. ")
		default:
			miss(o.ID == "", "Activation id required for on-prem registration. ")
		}
	}
	miss(o.Register && o.Role != "" && (o.Code != "" || o.ID != ""), "A role and an activation exclude each other. ")
	miss(o.Region == "" && (o.Register || o.Install), "Region required. ")
	miss(o.Region != "" && !regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`).MatchString(o.Region), fmt.Sprintf("%.80q is no region. ", o.Region))
	miss(o.Package != "" && o.Manifest != "", "A package and a manifest exclude each other. ")
	miss(o.Package != "" && o.Version != "", "A package has one version; a version is chosen from a manifest. ")
	miss(o.SkipSignatures && o.Key != "", "A key and -skip-signature-validation exclude each other. ")
	miss(o.SkipSignatures && strings.HasPrefix(o.Package+o.Manifest, "http://"), "Without validation of signatures only https:// and files are taken. ")
	if len(faults) > 0 {
		return fmt.Errorf("%w - %s", ErrParameters, strings.Join(faults, ""))
	}
	return nil
}

// run is one set-up.
type run struct {
	Options
	Machine
}

// Run does what is asked for. A package that could not be fetched, is not
// trusted or cannot be installed leaves nothing behind; a registration that
// failed leaves the package, and the error says how to go on.
func Run(ctx context.Context, o Options, m Machine) error {
	if err := o.Check(); err != nil {
		return err
	}
	if err := m.Elevated(); err != nil {
		return fmt.Errorf("Please run as root/admin. Err: %w", err) //nolint:staticcheck // the stock tool's words
	}
	r := run{o, m}
	if o.Shutdown {
		return r.service("stop")
	}
	if err := r.install(ctx); err != nil {
		return err
	}
	if !o.Register {
		return nil
	}
	return r.register(ctx)
}

func (r run) say(format string, args ...any) { fmt.Fprintf(r.Out, format+"\n", args...) }

// register registers the machine and has the agent run as what it became.
func (r run) register(ctx context.Context) error {
	v := vault.New(r.FS, r.Data)
	id, is, err := identity.Registered(v)
	if err != nil && !r.Override {
		return fmt.Errorf("%w; -override registers anew", err)
	}
	if is && !r.Override {
		r.say("The machine is registered as %s; -override registers it anew.", id.InstanceID)
		return r.service("start")
	}
	if err := r.onPremises(); err != nil {
		return err
	}
	if err := r.enrol(ctx); err != nil {
		return err
	}
	if id, is, err = identity.Registered(v); err != nil {
		return err
	}
	if !is {
		return fmt.Errorf("the agent says that it has registered, but no registration is in %s; is that the agent's data store?", r.Data)
	}
	r.say("The machine is registered as %s.", id.InstanceID)
	return r.service("restart")
}

// enrol has the installed agent register. The code is in no list of processes.
func (r run) enrol(ctx context.Context) error {
	args, again := []string{"-register", "-y", "-region", r.Region}, "-register -region "+r.Region
	if r.Role != "" {
		args, again = append(args, "-role", r.Role), again+" -role "+r.Role
		if r.Tags != "" {
			args = append(args, "-tags", r.Tags)
		}
	} else {
		args, again = append(args, "-id", r.ID, "-code-file", "-"), again+" -id "+r.ID+" -code …"
	}
	ctx, cancel := context.WithTimeout(ctx, registerWithin)
	defer cancel()
	out, err := r.Exec(ctx, string(r.Code), r.Agent, args...)
	if err != nil {
		return fmt.Errorf("the agent is installed, but the machine is not registered: %s\nWhen that is mended, go on with: amazon-ssm-agent %s, then restart the service amazon-ssm-agent", said(out, err), again)
	}
	return nil
}

// service tells the service manager. Where there is none, people are told.
func (r run) service(deed string) error {
	err := r.Service(deed)
	switch {
	case errors.Is(err, ErrNoManager) && deed == "stop":
		return fmt.Errorf("stop the agent: %w; end the process amazon-ssm-agent", err)
	case errors.Is(err, ErrNoManager):
		r.say("No service manager runs here: have %s run as root, and run again when it ends.", r.Agent)
		return nil
	case err != nil:
		return fmt.Errorf("the agent is installed, but does not %s: %w", deed, err)
	}
	r.say("The agent: %s, done.", deed)
	return nil
}

// said is what a program printed about its failure, else the failure.
func said(out string, err error) string {
	if out = strings.TrimSpace(out); out != "" {
		return out
	}
	return err.Error()
}
