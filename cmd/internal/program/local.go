package program

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"ssmagent/cmd/internal/connect"
	"ssmagent/internal/operator"
	"ssmagent/internal/wire/ssm"
)

const localHelp = `ssm-local is an AWS Systems Manager control plane for one machine or one site,
and a client for it and for AWS.

  ssm-local serve                 run the control plane
  ssm-local activate              make a hybrid activation and print how to use it
  ssm-local node-config           print the configuration for nodes
  ssm-local nodes                 list the managed nodes
  ssm-local rotate-key NODE       have a node replace its key
  ssm-local run NODE -- COMMAND…  run a shell command on a node
  ssm-local shell NODE            open a shell on a node
  ssm-local exec NODE -- COMMAND  run a command on a node as if it were here
  ssm-local ssh-proxy NODE [PORT] carry SSH to a node, as ProxyCommand of OpenSSH
  ssm-local cp SOURCE DESTINATION copy files and folders; one of both is NODE:PATH
  ssm-local forward NODE PORT…    carry connections to ports of a node, or beyond it
  ssm-local demo                  the main job on this machine, below one folder

Each takes -h. Clients find the control plane by -root or -endpoint-url; without
either they look for one on this machine and else go to AWS with your ordinary
credentials.
`

// localMain is ssm-local.
func localMain(ctx context.Context, s streams, args []string) int {
	verbs := map[string]entry{"serve": serveMain, "activate": activateMain, "node-config": nodeConfigMain, "nodes": nodesMain, "rotate-key": rotateKeyMain, "run": runMain, "shell": shellMain, "exec": execMain, "forward": forwardMain, "ssh-proxy": sshProxyMain, "cp": copyMain, "demo": demoMain}
	if len(args) == 0 {
		fmt.Fprint(s.err, localHelp)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(s.out, localHelp)
		return exitOK
	case "version", "-version", "--version":
		fmt.Fprintf(s.out, "ssm-local %s (%s)\n", version, commit)
		return exitOK
	}
	verb, ok := verbs[args[0]]
	if !ok {
		s.failf("ssm-local", "there is no %q; `ssm-local help` lists what there is", args[0])
		return exitUsage
	}
	return verb(ctx, s, args[1:])
}

// clientFlags are the flags of every client verb.
type clientFlags struct {
	*flag.FlagSet
	target connect.Target
	root   string
	output string
}

func newClientFlags(s streams, name, usage string) *clientFlags {
	f := &clientFlags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError)}
	f.SetOutput(s.err)
	f.Usage = func() { fmt.Fprintf(s.err, "usage: %s\n", usage); f.PrintDefaults() }
	f.StringVar(&f.root, "root", "", "the folder given to `ssm-local serve -root`")
	f.StringVar(&f.target.Endpoint, "endpoint-url", "", "URL of the service")
	f.StringVar(&f.target.Region, "region", "", "AWS region")
	f.StringVar(&f.target.Profile, "profile", "", "profile of your AWS configuration")
	f.StringVar(&f.output, "output", "table", "table or json")
	return f
}

// open checks the flags and connects.
func (f *clientFlags) open() (*operator.Client, error) {
	if f.output != "table" && f.output != "json" {
		return nil, fmt.Errorf("-output %s: use table or json", f.output)
	}
	p, err := pathsFor(f.root)
	if err != nil {
		return nil, err
	}
	return connect.Operator(p, f.target, userAgent())
}

func nodesMain(ctx context.Context, s streams, args []string) int {
	f := newClientFlags(s, "ssm-local nodes", "ssm-local nodes [flags]")
	if code, ok := parse(f.FlagSet, args, 0); !ok {
		return code
	}
	c, err := f.open()
	if err == nil {
		var nodes []ssm.InstanceInformation
		if nodes, err = c.Nodes(ctx); err == nil {
			if f.output == "json" {
				err = printJSON(s.out, nodes)
			} else {
				printNodes(s.out, nodes)
			}
		}
	}
	if err != nil {
		s.failf("nodes", "%v", err)
		return exitFailed
	}
	return exitOK
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printNodes(out io.Writer, nodes []ssm.InstanceInformation) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tNAME\tSTATUS\tLAST PING\tPLATFORM\tADDRESS\tAGENT")
	for _, n := range nodes {
		ping := "never"
		if n.LastPingDateTime != nil {
			ping = n.LastPingDateTime.Local().Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.InstanceId, dash(n.Name), n.PingStatus, ping,
			dash(strings.TrimSpace(n.PlatformName+" "+n.PlatformVersion)), dash(n.IPAddress), dash(n.AgentVersion))
	}
	w.Flush()
	for _, n := range nodes {
		if n.CloneWarning != "" {
			fmt.Fprintf(out, "%s %s\n", n.InstanceId, n.CloneWarning)
		}
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// runMain is `ssm-local run`: its exit code is the remote one; 255 is ours.
func runMain(ctx context.Context, s streams, args []string) int {
	f := newClientFlags(s, "ssm-local run", "ssm-local run [flags] NODE -- COMMAND…")
	quiet := f.Bool("quiet", false, "print the command's output only")
	if code, ok := parse(f.FlagSet, args, -1); !ok {
		return code
	}
	node, command, err := nodeAndCommand(f.FlagSet)
	if err != nil {
		s.failf("run", "%v", err)
		return exitUsage
	}
	c, err := f.open()
	if err != nil {
		s.failf("run", "%v", err)
		return exitLost
	}
	inv, err := c.RunShell(ctx, node, []string{command}, func(status string) {
		if !*quiet && f.output == "table" {
			fmt.Fprintf(s.err, "%s: %s\n", node, status)
		}
	})
	if err != nil {
		s.failf("run", "%v", err)
		return exitLost
	}
	if f.output == "json" {
		if err := printJSON(s.out, inv); err != nil {
			s.failf("run", "%v", err)
			return exitLost
		}
		return remoteCode(inv)
	}
	fmt.Fprint(s.out, inv.StandardOutputContent)
	fmt.Fprint(s.err, inv.StandardErrorContent)
	if n := len(inv.StandardErrorContent); n > 0 && inv.StandardErrorContent[n-1] != '\n' {
		fmt.Fprintln(s.err) // the failure text has no line end of its own
	}
	return remoteCode(inv)
}

// nodeAndCommand takes NODE [--] COMMAND… from what flags left. Several words
// are joined as ssh joins them.
func nodeAndCommand(fs *flag.FlagSet) (node, command string, err error) {
	words := fs.Args()
	if len(words) > 1 && words[1] == "--" {
		words = append(words[:1:1], words[2:]...)
	}
	if len(words) < 2 {
		return "", "", errors.New("name a node and, after --, the command: ssm-local run mi-0123456789abcdef0 -- uptime")
	}
	return words[0], strings.Join(words[1:], " "), nil
}

// remoteCode is the exit code for an invocation that is over.
func remoteCode(inv ssm.GetCommandInvocationOutput) int {
	switch {
	case inv.Status == "Success":
		return exitOK
	case inv.ResponseCode > 0 && inv.ResponseCode <= 254:
		return inv.ResponseCode
	case inv.ResponseCode < 0 || inv.Status != "Failed":
		return exitLost // it never came to a code
	}
	return exitFailed
}

// tagList collects -tag KEY=VALUE flags.
type tagList []ssm.Tag

func (l *tagList) String() string { return fmt.Sprint([]ssm.Tag(*l)) }

func (l *tagList) Set(v string) error {
	key, value, ok := strings.Cut(v, "=")
	if !ok || key == "" {
		return errors.New("write it as KEY=VALUE")
	}
	*l = append(*l, ssm.Tag{Key: key, Value: value})
	return nil
}

func activateMain(ctx context.Context, s streams, args []string) int {
	f := newClientFlags(s, "ssm-local activate", "ssm-local activate [flags]")
	var tags tagList
	in := ssm.CreateActivationInput{}
	f.StringVar(&in.IamRole, "iam-role", "ssm-local", "role of the nodes (against AWS: one that Systems Manager may assume)")
	f.StringVar(&in.DefaultInstanceName, "name", "", "name of the nodes")
	f.IntVar(&in.RegistrationLimit, "limit", 1, "how many nodes it admits")
	expires := f.Duration("expires", 24*time.Hour, "how long it is valid, 30 days at most")
	f.Var(&tags, "tag", "tag of the nodes, KEY=VALUE; may be repeated")
	if code, ok := parse(f.FlagSet, args, 0); !ok {
		return code
	}
	in.Tags, in.ExpirationDate = tags, &ssm.Time{Time: time.Now().Add(*expires)}
	c, err := f.open()
	var out ssm.CreateActivationOutput
	if err == nil {
		out, err = c.CreateActivation(ctx, in)
	}
	if err != nil {
		s.failf("activate", "%v", err)
		return exitFailed
	}
	if f.output == "json" {
		if err := printJSON(s.out, out); err != nil {
			return exitFailed
		}
		return exitOK
	}
	fmt.Fprintf(s.out, "amazon-ssm-agent -register -region %s -id %s -code %s\n", c.Region(), out.ActivationId, string(out.ActivationCode))
	if p, err := pathsFor(f.root); err == nil && f.target.Endpoint == "" {
		if _, err := connect.ControlPlane(p); err == nil {
			fmt.Fprintln(s.err, "The node needs the configuration that `ssm-local node-config` prints.")
		}
	}
	return exitOK
}
