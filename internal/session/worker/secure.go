package worker

import (
	"context"

	"ssmagent/internal/datakey"
	"ssmagent/internal/session/channel"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/kms"
)

// encryption is how the session is encrypted, nil when its document does not
// ask for it. KMS is reached as the gateway is, with the node's credentials.
func (s *served) encryption(g ssmclient.Gateway) *channel.Encryption {
	id := s.req.Inputs.KMSKeyId
	if id == "" {
		return nil
	}
	n := s.req.Node
	c := &ssmclient.Client{
		HTTP: g.HTTP, Endpoint: n.KMS.Endpoint, Service: kms.Service, TargetPrefix: kms.TargetPrefix, UserAgent: n.UserAgent,
		Signer: ssmclient.CredentialsSigner{Credentials: s.agents, Region: n.KMS.Region, Clock: s.Clock, Skew: g.Skew},
		Clock:  s.Clock, Log: s.log, Skew: g.Skew,
	}
	return &channel.Encryption{
		KeyID: id, Acknowledge: n.KMS.Acknowledge,
		Open: func(ctx context.Context, sealed []byte, challenge string) ([]byte, error) {
			return datakey.Open(ctx, c, datakey.Session{KeyID: id, SessionID: s.req.ID, TargetID: n.InstanceID, Challenge: challenge}, sealed)
		},
	}
}
