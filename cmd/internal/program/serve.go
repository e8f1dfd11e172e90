package program

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"strings"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane"
	"ssmagent/internal/fsys"
	"ssmagent/platform/quickio"
	"ssmagent/platform/secfile"
)

// readyAt precedes the URL in the line that says that the control plane is up.
const readyAt = "ready at "

// nameList collects -tls-name flags.
type nameList []string

func (l *nameList) String() string     { return strings.Join(*l, ",") }
func (l *nameList) Set(v string) error { *l = append(*l, v); return nil }

// serveMain is `ssm-local serve`.
func serveMain(ctx context.Context, s streams, args []string) int {
	fs := flag.NewFlagSet("ssm-local serve", flag.ContinueOnError)
	fs.SetOutput(s.err)
	root := fs.String("root", "", "keep everything below this folder")
	o := controlplane.Options{Quick: quickio.Listener}
	off := fs.Duration("test-clock-offset", 0, "for tests: how far its clock is ahead of the machine's")
	var names nameList
	fs.StringVar(&o.Listen, "listen", "127.0.0.1:8180", "loopback address of plain HTTP; port 0 takes a free one")
	fs.StringVar(&o.TLSListen, "tls-listen", "", "address of HTTPS, for nodes elsewhere")
	fs.Var(&names, "tls-name", "name or address by which nodes reach it; may be repeated")
	fs.StringVar(&o.Region, "region", controlplane.DefaultRegion, "the region that it plays")
	fs.StringVar(&o.Account, "account", controlplane.DefaultAccount, "the account that it plays, 12 digits")
	fs.StringVar(&o.RunAs, "run-as", "", "the operator's tag SSMSessionRunAs: account on the node of sessions whose document has runAsEnabled")
	gateway := fs.Bool("gateway", true, "serve control channels; without it nodes poll ec2messages")
	level := fs.String("log-level", "info", "debug, info, warn or error")
	if code, ok := parse(fs, args, 0); !ok {
		return code
	}
	p, err := pathsFor(*root)
	if err != nil {
		s.failf("serve", "%v", err)
		return exitFailed
	}
	log, err := logger(s.err, *level)
	if err != nil {
		s.failf("serve", "%v", err)
		return exitUsage
	}
	disk := fileSystem(*root)
	o.Clock = clock.Off{By: *off}
	o.Dir, o.Names, o.Log, o.FS, o.NoGateway = p.ControlPlane, names, log, disk, !*gateway
	o.WriteSecret = func(path string, data []byte) error { return fsys.WriteFile(disk, path, data, 0o600) }
	srv, err := controlplane.New(o)
	if err != nil {
		s.failf("serve", "%v", err)
		return exitFailed
	}
	if err = srv.Listen(); err == nil {
		announce(s, srv, *root)
		err = srv.Run(ctx)
	}
	if closeErr := srv.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		s.failf("serve", "%v", err)
		return exitFailed
	}
	return exitOK
}

// announce says where the control plane is and how to use it.
func announce(s streams, srv *controlplane.Server, root string) {
	e := srv.Endpoint()
	fmt.Fprintf(s.out, "ssm-local %s is %s%s\n", version, readyAt, e.URL)
	fmt.Fprintf(s.out, "operators:  export AWS_SHARED_CREDENTIALS_FILE=%s AWS_DEFAULT_REGION=%s\n", e.Credentials, e.Region)
	fmt.Fprintf(s.out, "            aws ssm describe-instance-information --endpoint-url %s\n", e.URL)
	if root != "" {
		root = " -root " + root
	}
	if e.TLSURL != "" {
		fmt.Fprintf(s.out, "nodes:      %s ; copy %s to each (stock agents: name it in SSL_CERT_FILE)\n", e.TLSURL, e.CA)
		fmt.Fprintf(s.out, "            their configuration: ssm-local node-config%s\n", root)
	} else {
		fmt.Fprintf(s.out, "nodes:      on this machine only; their configuration: ssm-local node-config -here%s\n", root)
	}
	fmt.Fprintf(s.out, "activation: ssm-local activate%s\n", root)
}

// logger is the text log of a program.
func logger(w interface{ Write([]byte) (int, error) }, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("-log-level %s: use debug, info, warn or error", level)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}

// fileSystem is the disk; below -root files belong to whoever runs us.
func fileSystem(root string) fsys.FS {
	if root != "" {
		return secfile.ForUser()
	}
	return secfile.OS()
}

// userAgent is what our client calls itself.
func userAgent() string { return "ssm-local/" + version }
