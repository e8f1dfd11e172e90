package agent

import (
	"context"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/config"
	"ssmagent/internal/control"
	"ssmagent/internal/identity"
	"ssmagent/internal/link"
	"ssmagent/internal/outbox"
	"ssmagent/internal/record/audit"
	"ssmagent/internal/session"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mgs"
	"ssmagent/users"
)

// sessions is the part that serves what people open on this node.
func (a *Agent) sessions(dir string, id identity.Identity, creds aws.CredentialsProvider, box *outbox.Outbox, log *audit.Log, values doc.ParameterStore) (*session.Manager, error) {
	node, err := a.sessionNode(filepath.Dir(dir), id)
	if err != nil {
		return nil, err
	}
	m := a.opt.Machine
	return session.New(session.Options{
		Dir: dir, FS: m.FS, Clock: a.opt.Clock, Log: a.log, Outbox: box, Channel: control.ChannelMGS,
		Node: node, Limit: a.cfg.Mgs.SessionWorkersLimit, Audit: log, Store: values,
		Credentials: func(ctx context.Context) (link.Credentials, error) { return link.Borrow(ctx, creds) },
		Executable:  m.Executable, Env: m.Env, Stderr: m.Stderr, Start: m.Start, Enter: m.Enter, Find: m.Find, Dial: m.Dial, Settle: m.Settle,
	}), nil
}

// sessionNode is what sessions have to know of this node; dir is theirs.
func (a *Agent) sessionNode(dir string, id identity.Identity) (session.Node, error) {
	endpoint, err := a.cfg.Endpoint(config.ServiceMGS, id.Region)
	if err != nil {
		return session.Node{}, err
	}
	keys, err := a.cfg.Endpoint(config.ServiceKMS, id.Region)
	if err != nil {
		return session.Node{}, err
	}
	logging, err := a.logging(filepath.Join(dir, a.cfg.Agent.OrchestrationRootDir), id)
	if err != nil {
		return session.Node{}, err
	}
	m, u := a.opt.Machine, a.cfg.SSMAgent.SessionUser
	return session.Node{
		InstanceID: id.InstanceID, Region: a.cfg.SigningRegion(config.ServiceMGS, id.Region), Endpoint: endpoint,
		CABundle: a.cfg.SSMAgent.CABundle, UserAgent: a.userAgent(), Version: a.cfg.Agent.Version,
		Platform: osName(m.Info()), Container: a.cfg.Agent.ContainerMode,
		Records: a.records(), Denied: a.cfg.Mgs.DeniedPortForwardingRemoteIPs, StockPayload: a.stockPayload(endpoint),
		Logging:   logging,
		AsInvoker: m.Paths.Root != "" || a.cfg.Agent.ContainerMode,
		Data:      m.Paths.Data, LoginShells: a.cfg.SSMAgent.LoginShells,
		User: users.Wish{UID: u.UID, GID: u.GID, System: u.System, Home: u.Home, Shell: u.Shell, Groups: u.Groups, Sudo: u.Sudo},
		KMS:  session.KMS{Endpoint: keys, Region: a.cfg.SigningRegion(config.ServiceKMS, id.Region), Acknowledge: a.cfg.Kms.RequireKMSChallengeResponse},
	}, nil
}

// stockPayload is the size of payloads of port sessions towards stock clients,
// which take any. Through AWS's gateway it is what stock agents send, unless
// the configuration says that larger ones may be tried there.
func (a *Agent) stockPayload(endpoint string) int {
	if config.OfAWS(endpoint) && !a.cfg.SSMAgent.LargePayloads {
		return 0
	}
	return mgs.StockPayload
}

// logging is where what sessions print goes: dir for local copies.
func (a *Agent) logging(dir string, id identity.Identity) (session.Logging, error) {
	s3, err := a.cfg.BucketEndpoint(id.Region)
	if err != nil {
		return session.Logging{}, err
	}
	logs, err := a.cfg.Endpoint(config.ServiceLogs, id.Region)
	if err != nil {
		return session.Logging{}, err
	}
	return session.Logging{
		Dir: dir, Keep: a.cfg.Ssm.SessionLogsDestination == "disk", Retention: time.Duration(a.cfg.Ssm.SessionLogsRetentionDurationHours) * time.Hour,
		Region: id.Region, S3: s3, Logs: logs,
	}, nil
}
