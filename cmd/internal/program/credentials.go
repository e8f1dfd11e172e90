package program

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"text/tabwriter"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/cmd/internal/connect"
	"ssmagent/internal/config"
	"ssmagent/internal/credentials"
	"ssmagent/internal/identity"
)

// explanation is what `ssm-cli credentials explain` tells.
type explanation struct {
	Identity string
	Sources  []explained
}

type explained struct {
	Source string
	Won    bool
	Why    string
}

// roleToken is the one source of a registered node.
const roleToken = "role token"

// credentialsMain is `ssm-cli credentials explain`. Its error is for standard
// error, so that JSON stays JSON.
func credentialsMain(ctx context.Context, s streams, root string, args []string) error {
	if len(args) == 0 || args[0] != "explain" {
		return errors.New("use: credentials explain")
	}
	fs := flag.NewFlagSet("ssm-cli credentials explain", flag.ContinueOnError)
	fs.SetOutput(s.err)
	output := fs.String("output", "table", "table or json")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	if fs.NArg() > 0 || *output != "table" && *output != "json" {
		return errors.New("use: credentials explain [-output table|json]")
	}
	e, failure := explain(ctx, s, root)
	if e == nil {
		return failure
	}
	if err := e.print(s, *output == "json"); err != nil {
		return err
	}
	return failure
}

// explain asks the sources of this node's identity as they are now.
func explain(ctx context.Context, s streams, root string) (*explanation, error) {
	p, err := pathsFor(root)
	if err != nil {
		return nil, err
	}
	cfg, err := loadConfig(s, p.ConfigFile)
	if err != nil {
		return nil, errors.New("without a configuration there is no identity")
	}
	cloud := connect.Cloud()
	id, _, err := identity.Resolve(ctx, cfg, openVault(root, p), cloud)
	switch {
	case errors.Is(err, identity.ErrNone):
		id = identity.Identity{}
	case err != nil:
		return nil, err
	}
	e := &explanation{Identity: "none; a registration with -role would use this:"}
	switch id.Type {
	case config.OnPrem:
		e.Identity = id.InstanceID + " in " + id.Region + ", registered"
		e.Sources = []explained{{roleToken, true, "a registered node always uses the token that the service gives for its private key"}}
		for _, source := range credentials.Sources() {
			e.Sources = append(e.Sources, explained{string(source), false, "not asked: a registered node does not use it"})
		}
		return e, nil
	case config.EC2:
		return explainCloud(ctx, id, credentials.InstanceProfile, cloud.InstanceProfile)
	case config.ECS:
		return explainCloud(ctx, id, credentials.Container, cloud.TaskRole)
	case config.Custom:
		e.Identity = id.InstanceID + " in " + id.Region + ", by Identity.CustomIdentities of " + p.ConfigFile
	}
	chain, err := connect.Credentials(credentials.Options{Region: id.Region})
	if err != nil {
		return nil, err
	}
	found, err := chain.Find(ctx)
	for _, r := range found.Reports {
		e.Sources = append(e.Sources, explained{string(r.Source), r.Won, r.Why})
	}
	return e, err
}

// explainCloud tells of a node that has one source of credentials.
func explainCloud(ctx context.Context, id identity.Identity, only credentials.Source, p aws.CredentialsProvider) (*explanation, error) {
	e := &explanation{Identity: id.InstanceID + " in " + id.Region + ", by " + id.Type}
	c, err := p.Retrieve(ctx)
	for _, source := range credentials.Sources() {
		x := explained{Source: string(source), Why: "not asked: a node of " + id.Type + " does not use it"}
		switch {
		case source == only && err != nil:
			x.Why = err.Error()
		case source == only:
			x.Won, x.Why = true, c.Source
		}
		e.Sources = append(e.Sources, x)
	}
	if id.Type == config.EC2 && err != nil {
		err = fmt.Errorf("%w; the agent falls back to default host management", err)
	}
	return e, err
}

func (e explanation) print(s streams, asJSON bool) error {
	if asJSON {
		j := json.NewEncoder(s.out)
		j.SetIndent("", "  ")
		return j.Encode(e)
	}
	fmt.Fprintf(s.out, "identity: %s\n\n", e.Identity)
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SOURCE\tRESULT\tWHY")
	for _, x := range e.Sources {
		result := "lost"
		if x.Won {
			result = "won"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", x.Source, result, x.Why)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "\nThe environment and home directory asked are those of this command; the agent's service may have others.")
	return nil
}
