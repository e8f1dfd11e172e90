package program

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strings"
	"time"

	"ssmagent/cmd/internal/connect"
	"ssmagent/internal/admin"
	"ssmagent/internal/clock"
	"ssmagent/internal/config"
	"ssmagent/internal/diagnostics"
	"ssmagent/internal/environ"
	"ssmagent/internal/identity"
	"ssmagent/platform"
	"ssmagent/service"
)

// diagnosticsMain is `ssm-cli get-diagnostics`. Its exit code does not depend on
// what is found, as with the stock program.
func diagnosticsMain(ctx context.Context, s streams, root string, args []string) int {
	fs := nodeFlags(s, "get-diagnostics")
	output := fs.String("output", "json", "json or table")
	if code, ok := parse(fs, args, 0); !ok {
		return code
	}
	if *output != "json" && *output != "table" {
		s.failf("ssm-cli", "--output is %q; use json or table", *output)
		return exitCommand
	}
	if root == "" && !elevated() {
		fmt.Fprintln(s.out, notElevated)
		return exitOK
	}
	results, err := diagnose(ctx, root)
	switch {
	case err != nil:
		return s.told(err)
	case *output == "table":
		return s.told(diagnostics.Table(s.out, results, lineEnd))
	}
	return s.told(printJSON(s.out, map[string][]diagnostics.Result{"DiagnosticsOutput": results}))
}

// diagnose makes all checks, the stock agent's first and in its order.
func diagnose(ctx context.Context, root string) ([]diagnostics.Result, error) {
	p, err := pathsFor(root)
	if err != nil {
		return nil, err
	}
	agent, err := adminClient(root)
	if err != nil {
		return nil, err
	}
	proxies := adoptProxies(ctx, agent)
	cfg, _, err := config.LoadFile(p.ConfigFile) // its faults are a check of their own
	if err != nil {
		cfg = config.Default()
	}
	cfg = switched(cfg, os.Getenv)
	id, _, err := identity.Resolve(ctx, cfg, openVault(root, p), connect.Cloud())
	if err != nil {
		id = identity.Identity{}
	}
	node := thisNode(root, p, id, agent, proxies)
	h, roots, err := trusting(cfg)
	if err != nil {
		h, roots = &http.Client{Timeout: askWithin}, nil // the configuration's check says so
	}
	net := diagnostics.Network{
		Dial: new(net.Dialer).DialContext, Lookup: lookup, Proxy: http.ProxyFromEnvironment, Roots: roots, Clock: clock.Real{},
	}
	endpoints := serviceEndpoints(cfg, id.Region)
	checks := []diagnostics.Check{node.Metadata(), node.Registration()}
	checks = append(checks, net.Connectivity(endpoints)...)
	checks = append(checks, node.Credentials(), node.Running(), node.ProxyVariables())
	checks = append(checks, imageState()...)
	checks = append(checks, node.AgentVersion(),
		node.Heartbeat(), net.ClockSkew(h, endpoints[0].URL), net.Names(endpoints), net.Proxies(endpoints), net.Certificates(endpoints),
		node.Disk(), node.Configuration())
	return diagnostics.Run(ctx, checks), nil
}

// thisNode is what the checks of this machine ask.
func thisNode(root string, p platform.Paths, id identity.Identity, agent admin.Client, proxies map[string]string) diagnostics.Node {
	n := diagnostics.Node{
		InstanceID: id.InstanceID, Region: id.Region, OnPrem: id.Type == config.OnPrem, Version: version, User: serviceUser,
		Instance: func(ctx context.Context) (string, string, error) {
			i, err := connect.Cloud().Instance(ctx)
			return i.InstanceID, i.Region, err
		},
		Agent: agent.Status,
		Caller: func(ctx context.Context) (string, time.Time, error) {
			c, err := agent.Caller(ctx)
			return c.Arn, c.Expires, err
		},
		Service: serviceNote,
		Config: func() (texts []string, err error) {
			cfg, warnings, err := config.LoadFile(p.ConfigFile)
			for _, w := range warnings {
				texts = append(texts, fmt.Sprint(w))
			}
			if err == nil {
				_, err = httpClient(cfg) // the file of certificates
			}
			return texts, err
		},
		Proxies: proxies, Space: platform.SpaceAt, Dirs: []string{p.Data, p.Logs}, Now: time.Now,
	}
	if root != "" {
		n.User = userName()
	}
	return n
}

// userName is who this process runs as.
func userName() string {
	u, err := user.Current()
	if err != nil {
		return fmt.Sprint("user ", os.Geteuid())
	}
	return u.Username
}

// serviceNote is what the service manager says of an agent that does not
// answer, in the stock agent's words.
func serviceNote() string {
	state, err := service.State(service.Default())
	switch {
	case errors.Is(err, service.ErrNotInstalled), errors.Is(err, errors.ErrUnsupported):
		return "Unable to find ssm agent on this instance"
	case err != nil:
		return err.Error()
	case state == service.Running:
		return "Agent service is running but does not answer; it may have another -root, or has just started"
	}
	return stoppedService
}

// adoptProxies takes over the running agent's way to the services, and returns
// the variables without a password. It comes before anything asks the network.
func adoptProxies(ctx context.Context, agent admin.Client) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	shown := map[string]string{}
	given, err := agent.Proxies(ctx)
	if err != nil { // it does not run: what it would have
		useProxies(slog.New(slog.DiscardHandler))
		env := os.Environ()
		given = admin.Proxies{HTTP: proxyVariable(env, "http_proxy"), HTTPS: proxyVariable(env, "https_proxy"), No: proxyVariable(env, "no_proxy")}
	}
	for name, value := range map[string]string{"http_proxy": given.HTTP, "https_proxy": given.HTTPS, "no_proxy": given.No} {
		_ = errors.Join(os.Unsetenv(strings.ToUpper(name)), os.Setenv(name, value)) // a value with NUL is nobody's
		if name != "no_proxy" {
			value = shownProxy(value)
		}
		shown[name] = value
	}
	return shown
}

// shownProxy is the address of a proxy without its password; it may lack the
// scheme, as in the variables.
func shownProxy(address string) string {
	if address == "" {
		return ""
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		u, err = url.Parse("http://" + address)
	}
	if err != nil {
		return "(not a URL)"
	}
	return u.Redacted()
}

// proxyVariable is that of env, in small letters or capitals.
func proxyVariable(env []string, name string) string {
	if v := environ.Get(env, name); v != "" {
		return v
	}
	return environ.Get(env, strings.ToUpper(name))
}

// serviceEndpoints are those that the stock agent tries; without a URL where
// the region is not known.
func serviceEndpoints(cfg config.Config, region string) []diagnostics.Endpoint {
	var all []diagnostics.Endpoint
	first, err := cfg.Endpoint(config.ServiceSSM, region)
	ofAWS := err == nil && config.OfAWS(first)
	for _, name := range []string{config.ServiceSSM, config.ServiceMDS, config.ServiceMGS, config.ServiceS3, config.ServiceKMS, config.ServiceLogs, "monitoring"} {
		e := diagnostics.Endpoint{Service: name}
		text, err := cfg.Endpoint(name, region)
		switch {
		case err != nil || region == "":
		case name == "monitoring" && !ofAWS:
			e.Why = diagnostics.Skip("Not used with a service of one's own")
		default:
			e.URL, _ = url.Parse(text) // nil: not known
		}
		all = append(all, e)
	}
	return all
}

// trusting is a client with the certificates that the agent trusts, and those.
func trusting(cfg config.Config) (*http.Client, *x509.CertPool, error) {
	h, err := httpClient(cfg)
	if err != nil {
		return nil, nil, err
	}
	t, ok := h.Transport.(*http.Transport)
	if !ok {
		return nil, nil, errors.New("the transport is not HTTP's")
	}
	return h, t.TLSClientConfig.RootCAs, nil
}
