package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"

	"ssmagent/platform"
)

// agentFlags are the stock agent's flags and ours (-root, -check-config, -code-file).
type agentFlags struct {
	set                                     *flag.FlagSet
	register, clear, fingerprint, yes       bool
	version, disableSimilarity, checkConfig bool
	code, id, region, role, tags, root      string
	codeFile                                string
	threshold                               int
}

func newAgentFlags(s streams) *agentFlags {
	f := &agentFlags{set: flag.NewFlagSet("amazon-ssm-agent", flag.ContinueOnError)}
	fs := f.set
	fs.SetOutput(s.err)
	fs.BoolVar(&f.register, "register", false, "register this machine as a managed node")
	fs.StringVar(&f.code, "code", "", "activation code; other users of the machine may see it in the list of processes")
	fs.StringVar(&f.codeFile, "code-file", "", "file that holds the activation code, - for standard input")
	fs.StringVar(&f.id, "id", "", "activation id")
	fs.StringVar(&f.region, "region", "", "region of the registration")
	fs.StringVar(&f.role, "role", "", "role name: register with this machine's AWS credentials instead of an activation")
	fs.StringVar(&f.tags, "tags", "", `tags of the node, JSON: [{"Key":"k","Value":"v"}]; only with -role`)
	fs.BoolVar(&f.disableSimilarity, "disableSimilarityCheck", false, "do not compare the hardware later")
	fs.BoolVar(&f.clear, "clear", false, "with -register alone: forget the registration")
	fs.BoolVar(&f.fingerprint, "fingerprint", false, "set the hardware similarity threshold")
	fs.IntVar(&f.threshold, "similarityThreshold", 40, "new threshold in percent, 1 to 100, or -1 for no check")
	fs.BoolVar(&f.yes, "y", false, "answer yes")
	fs.BoolVar(&f.version, "version", false, "print the version")
	fs.BoolVar(&f.checkConfig, "check-config", false, "read the configuration file and say what is wrong with it")
	fs.StringVar(&f.root, "root", "", "keep every file of the agent below this folder and run commands as the invoking user")
	return f
}

// given counts the flags on the command line, -root aside: the stock agent
// decides by their number, and -root only says where.
func (f *agentFlags) given() (n int) {
	f.set.Visit(func(fl *flag.Flag) {
		if fl.Name != "root" {
			n++
		}
	})
	return n
}

// paths are the places that the flags name.
func (f *agentFlags) paths() (platform.Paths, error) { return pathsFor(f.root) }

// pathsFor are the system's places, or those below root.
func pathsFor(root string) (platform.Paths, error) {
	if root == "" {
		return platform.DefaultPaths(), nil
	}
	abs, err := filepath.Abs(root)
	if err != nil {
		return platform.Paths{}, fmt.Errorf("-root %s: %w", root, err)
	}
	return platform.PathsBelow(abs), nil
}

// parse parses args, of which at most rest may be no flags (-1: any number).
// When it returns false the program ends with the code.
func parse(fs *flag.FlagSet, args []string, rest int) (code int, ok bool) {
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK, false
	case err != nil:
		return exitUsage, false
	case rest >= 0 && fs.NArg() > rest:
		fmt.Fprintf(fs.Output(), "%s: unexpected %q\n", fs.Name(), strings.Join(fs.Args()[rest:], " "))
		return exitUsage, false
	}
	return exitOK, true
}

// agentMain decides as the stock agent does: what the flags ask for, and without
// any it serves.
func agentMain(ctx context.Context, s streams, args []string) int {
	if verb, rest, ok := managing(args); ok {
		return manage(s, verb, rest)
	}
	f := newAgentFlags(s)
	if code, ok := parse(f.set, args, -1); !ok {
		return code
	}
	switch n := f.given(); {
	case n == 1 && f.version:
		fmt.Fprintf(s.out, "SSM Agent version: %s\n", version)
		return exitOK
	case n == 1 && f.checkConfig:
		return checkConfig(s, f)
	case n > 0 && f.register:
		return register(ctx, s, f)
	case n > 0 && f.fingerprint:
		return setThreshold(ctx, s, f)
	case n > 0:
		fmt.Fprintln(s.err, "amazon-ssm-agent: these flags do nothing together")
		f.set.Usage()
		return exitFailed
	}
	return serveAgent(ctx, s, f)
}
