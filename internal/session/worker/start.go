package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"ssmagent/internal/environ"
	"ssmagent/internal/fsys"
	"ssmagent/internal/session/channel"
	"ssmagent/internal/session/terminal"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/words"
	"ssmagent/platform/proc"
)

// connect opens the data channel in the background and asks the client in.
func (s *served) connect(life context.Context) error {
	g, err := s.gateway()
	if err != nil {
		return err
	}
	s.ch, err = channel.New(channel.Options{
		SessionID: s.req.ID, Clock: s.Clock, Log: s.log,
		Open: func(ctx context.Context) (channel.Conn, error) { return s.open(ctx, g) },
	})
	if err != nil {
		return err
	}
	if err := s.ch.Ask(channel.Offer{AgentVersion: s.req.Node.Version, SessionType: s.req.Type, Properties: s.req.Properties}); err != nil {
		return err
	}
	run, leave := context.WithCancel(context.WithoutCancel(life))
	s.leave = leave
	s.wg.Go(func() { s.ch.Run(run) })
	return nil
}

func (s *served) gateway() (ssmclient.Gateway, error) {
	n := s.req.Node
	var ca []byte
	if n.CABundle != "" {
		var err error
		if ca, err = fsys.ReadFile(s.FS, n.CABundle, 4<<20); err != nil {
			return ssmclient.Gateway{}, fmt.Errorf("ssmagent.CABundle of the configuration: %w", err)
		}
	}
	t, err := ssmclient.Transport(ca)
	if err != nil {
		return ssmclient.Gateway{}, fmt.Errorf("ssmagent.CABundle %s of the configuration: %w", n.CABundle, err)
	}
	// Two calls in a session's life are not worth a second protocol.
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
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

// startTerminal starts the process that will hold the terminal, and says what
// it is to run once the client is there. The process's own environment is the
// program's: the session's user can read it.
func (s *served) startTerminal() (*terminal.Process, terminal.Spec, error) {
	var spec terminal.Spec
	command, elevated := "", false
	if s.req.Type != mgs.SessionStandardStream {
		c, err := s.req.Command()
		if err != nil {
			return nil, spec, err
		}
		command, elevated = c.Commands, c.RunAsElevated
	}
	account, err := s.Account(s.req.Node.AsInvoker || elevated)
	if err != nil {
		return nil, spec, err
	}
	env := environ.Inherited(s.Env)
	env = environ.Set(env, "TERM", "xterm-256color")
	if environ.Get(env, "LANG") == "" {
		env = environ.Set(env, "LANG", "C.UTF-8")
	}
	if account.Home != "" {
		env = environ.Set(env, "HOME", account.Home)
	}
	spec.Env, spec.Dir = env, account.Dir
	if spec.Args, err = s.words(command); err != nil {
		return nil, spec, err
	}
	if spec.Path, err = s.program(spec.Args[0], env, account.Dir); err != nil {
		return nil, spec, err
	}
	p, err := terminal.Start(s.Start, proc.Spec{
		Path: s.Executable, Args: []string{terminal.Name}, Env: env, Dir: account.Dir, Group: true, Principal: account.Principal,
	})
	return p, spec, err
}

// program is the file of a command's first word.
func (s *served) program(name string, env []string, dir string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	if filepath.Base(name) != name {
		return filepath.Join(dir, name), nil
	}
	return s.Program(name, env)
}

// words are the program and its arguments that the session's type makes of
// its command.
func (s *served) words(command string) ([]string, error) {
	switch {
	case s.req.Type == mgs.SessionStandardStream:
		return []string{"sh"}, nil
	case s.req.Type == mgs.SessionInteractiveCommands && !s.req.Node.Container:
		return []string{"sh", "-c", command}, nil
	}
	w, err := words.Split(command)
	if err != nil {
		return nil, fmt.Errorf("the session's command: %w", err)
	}
	return w, nil
}

// closeTerminal ends the terminal's process.
func (s *served) closeTerminal(p *terminal.Process) {
	ctx, done := context.WithTimeout(context.Background(), closeWithin)
	defer done()
	if err := p.Close(ctx); err != nil {
		s.log.Warn("end the terminal's process", "error", err)
	}
}
