package program

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"ssmagent/cmd/internal/connect"
	"ssmagent/platform"
)

// nodeConfig is the configuration of a node of a control plane of one's own;
// ca is the file of its certificate on the node, "" for none.
func nodeConfig(url, ca string) ([]byte, error) {
	gateway := url
	if rest, plain := strings.CutPrefix(url, "http://"); plain {
		gateway = "ws://" + rest // http:// means TLS to agents, of the gateway only
	}
	at := func(url string) map[string]string { return map[string]string{"Endpoint": url} }
	own := map[string]string{"LogsEndpoint": url}
	if ca != "" {
		own["CABundle"] = ca
	}
	return json.MarshalIndent(map[string]any{
		"Ssm": at(url), "Mds": at(url), "Mgs": at(gateway), "Kms": at(url), "S3": at(url), "ssmagent": own,
	}, "", "  ")
}

// nodeConfigMain is `ssm-local node-config`.
func nodeConfigMain(_ context.Context, s streams, args []string) int {
	f := newClientFlags(s, "ssm-local node-config", "ssm-local node-config [flags] > amazon-ssm-agent.json")
	here := f.Bool("here", false, "for a node on this machine: by plain HTTP on its loopback address")
	ca := f.String("ca", "", "where the node will have the certificate of the control plane (default beside its configuration)")
	if code, ok := parse(f.FlagSet, args, 0); !ok {
		return code
	}
	b, note, err := f.nodeConfig(*here, *ca)
	if err != nil {
		s.failf("node-config", "%v", err)
		return exitFailed
	}
	fmt.Fprintf(s.out, "%s\n", b)
	fmt.Fprint(s.err, note)
	return exitOK
}

func (f *clientFlags) nodeConfig(here bool, ca string) (config []byte, note string, err error) {
	p, err := pathsFor(f.root)
	if err != nil {
		return nil, "", err
	}
	plane, err := connect.ControlPlane(p)
	if err != nil {
		return nil, "", err
	}
	if here {
		config, err = nodeConfig(plane.URL, "")
		return config, "", err
	}
	if plane.TLSURL == "" {
		return nil, "", fmt.Errorf("the control plane has no HTTPS address for other machines: start it with `ssm-local serve -tls-listen ADDRESS -tls-name NAME`, or give -here for a node on this machine")
	}
	there := platform.DefaultPaths().ConfigFile
	if ca == "" {
		ca = filepath.Join(filepath.Dir(there), "ssm-local-ca.pem")
	}
	config, err = nodeConfig(plane.TLSURL, ca)
	return config, fmt.Sprintf("On the node: this as %s, and %s of this machine as %s.\n", there, plane.CA, ca), err
}
