package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"ssmagent/internal/fsys"
	"ssmagent/internal/session/channel"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/mgs"
)

// connect opens the data channel in the background and asks the client in.
func (s *served) connect(life context.Context) error {
	g, err := s.gateway()
	if err != nil {
		return err
	}
	s.ch, err = channel.New(channel.Options{
		SessionID: s.req.ID, Clock: s.Clock, Log: s.log, Encryption: s.encryption(g),
		Open: func(ctx context.Context) (channel.Conn, error) { return s.open(ctx, g) },
	})
	if err != nil {
		return err
	}
	offer := channel.Offer{AgentVersion: s.req.Node.Version, SessionType: s.req.Type, Properties: s.req.Properties, StockPayload: s.req.Node.StockPayload}
	if s.req.Type == mgs.SessionNonInteractiveCommands {
		c, _ := s.req.Command() // what is wrong with it, prepare says
		offer.Apart = bool(c.SeparateOutputStream)
	}
	if err := s.ch.Ask(offer); err != nil {
		return err
	}
	run, leave := context.WithCancel(context.WithoutCancel(life))
	s.leave = leave
	s.wg.Go(func() { s.ch.Run(run) })
	return nil
}

// transport is the one of HTTP/1.1 that trusts what the configuration says.
func (s *served) transport() (*http.Transport, error) {
	n := s.req.Node
	var ca []byte
	if n.CABundle != "" {
		var err error
		if ca, err = fsys.ReadFile(s.FS, n.CABundle, 4<<20); err != nil {
			return nil, fmt.Errorf("ssmagent.CABundle of the configuration: %w", err)
		}
	}
	t, err := ssmclient.Transport(ca)
	if err != nil {
		return nil, fmt.Errorf("ssmagent.CABundle %s of the configuration: %w", n.CABundle, err)
	}
	// A few calls in a session's life are not worth a second protocol.
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	return t, nil
}

func (s *served) gateway() (ssmclient.Gateway, error) {
	n := s.req.Node
	t, err := s.transport()
	if err != nil {
		return ssmclient.Gateway{}, err
	}
	t.DisableKeepAlives = true
	skew := new(ssmclient.Skew)
	return ssmclient.Gateway{
		HTTP: &http.Client{Transport: t}, Endpoint: n.Endpoint, UserAgent: n.UserAgent, Clock: s.Clock, Skew: skew,
		Signer: ssmclient.CredentialsSigner{Credentials: s.agents, Region: n.Region, Clock: s.Clock, Skew: skew},
	}, nil
}

// open opens one connection.
func (s *served) open(ctx context.Context, g ssmclient.Gateway) (channel.Conn, error) {
	token, err := g.CreateDataChannel(ctx, s.req.ID)
	if err == nil {
		conn, derr := g.DialDataChannel(ctx, s.req.ID, token, s.req.Node.InstanceID)
		if derr == nil {
			return conn, nil
		}
		err = derr
	}
	if refusal, ok := errors.AsType[*ssmclient.Error](err); ok {
		if refusal.SessionOver {
			return nil, fmt.Errorf("%w: %w", channel.ErrGone, err)
		}
		if refusal.Status == http.StatusForbidden || refusal.Status == http.StatusUnauthorized || refusal.Status == http.StatusBadRequest {
			s.agents.Invalidate() // perhaps the credentials are to blame
		}
	}
	return nil, err
}
