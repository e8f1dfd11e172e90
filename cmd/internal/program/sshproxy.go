package program

import (
	"context"
	"encoding/json"
	"errors"
	"os/signal"
	"syscall"

	"ssmagent/internal/client"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

// documentSSH is the service's document for SSH.
const documentSSH = "AWS-StartSSHSession"

// sshProxyMain is `ssm-local ssh-proxy`, a ProxyCommand of OpenSSH. Standard
// output is the server's alone.
func sshProxyMain(ctx context.Context, s streams, args []string) int {
	f := newClientFlags(s, "ssm-local ssh-proxy", "ssm-local ssh-proxy [flags] NODE [PORT]\n"+
		"As in ~/.ssh/config: Host mi-* i-*\n  ProxyCommand ssm-local ssh-proxy %h %p")
	document := f.String("document", documentSSH, "session document")
	if code, ok := parse(f.FlagSet, args, 2); !ok {
		return code
	}
	in := ssm.StartSessionInput{Target: f.Arg(0), DocumentName: *document, Parameters: map[string][]string{"portNumber": {"22"}}}
	if f.NArg() > 1 {
		in.Parameters["portNumber"] = []string{f.Arg(1)}
	}
	if in.Target == "" || !port(in.Parameters["portNumber"][0], 1) {
		s.failf("ssh-proxy", "name a node and perhaps a port: ssh -o 'ProxyCommand ssm-local ssh-proxy %%h %%p' mi-0123456789abcdef0")
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // by which ssh ends us
	defer stop()
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	c, err := f.open()
	if err != nil {
		s.failf("ssh-proxy", "%v", err)
		return exitLost
	}
	return proxySSH(ctx, s, c, in)
}

// oneConnection refuses sessions that are not for one connection.
func oneConnection(sessionType string, properties json.RawMessage) error {
	if sessionType != mgs.SessionPort {
		return errors.New("the document opens no port")
	}
	p, err := mgs.Decode[mgs.PortProperties](properties)
	if err == nil && p.Type == mgs.LocalPortForwarding {
		err = errors.New("the document is for many connections; use ssm-local forward")
	}
	return err
}

// proxySSH carries one connection between our standard streams and the node.
func proxySSH(ctx context.Context, s streams, c sessions, in ssm.StartSessionInput) int {
	p := &piped{s: s, verb: "ssh-proxy"}
	var err error
	if p.session, err = openSession(ctx, c, in, oneConnection, p.told); err != nil {
		s.failf("ssh-proxy", "%v", err)
		return exitLost
	}
	p.begin = func(client.Peer) bool { return true }
	// Whoever started us has gone, or has said all: what it said gets there,
	// then the connection is closed.
	p.inputEnd = func(ctx context.Context) { p.flag(ctx, mgs.FlagTerminateSession) }
	if p.ended(p.run(ctx)) {
		return exitLost
	}
	return exitOK
}
