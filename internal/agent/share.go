package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/config"
	"ssmagent/internal/identity"
	"ssmagent/internal/sharing"
)

// shared is the file that a registered node's credentials are shared in; empty:
// none.
func (a *Agent) shared(id identity.Identity) string {
	if !a.cfg.Profile.ShareCreds || id.Type != config.OnPrem {
		return ""
	}
	return a.opt.Machine.SharedCredentials
}

// share writes the credentials of id for other programs.
func (a *Agent) share(id identity.Identity) func(aws.Credentials, time.Time) error {
	s := sharing.Shared{
		FS: a.opt.Machine.FS, File: a.shared(id), Profile: a.cfg.Profile.ShareProfile, Force: a.cfg.Profile.ForceUpdateCreds,
		Runtime: a.opt.Machine.Paths.RuntimeConfig, InstanceID: id.InstanceID, IdentityType: id.Type, Log: a.log,
	}
	return func(c aws.Credentials, retrieved time.Time) error {
		s, host := s, a.opt.Machine.Paths.HostCredentials
		switch {
		case id.Type != config.EC2:
		case c.Source == identity.SourceSSM:
			// Default host management: as in the stock agent, whatever ShareCreds says.
			s.File, s.Profile = host, ""
		default: // the instance profile works: what is there is out of date
			if err := a.opt.Machine.FS.Remove(host); err == nil {
				a.log.Info("removed the credentials of default host management: the instance profile is in use", "file", host)
			} else if !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove the credentials of default host management: %w", err)
			}
		}
		return s.Write(c, c.Source, retrieved)
	}
}
