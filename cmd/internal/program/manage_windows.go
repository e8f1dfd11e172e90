package program

import (
	"path/filepath"

	"ssmagent/platform"
	"ssmagent/platform/secfile"
	"ssmagent/service"
)

// installService registers the service, and protects its data first.
func installService(s streams, o service.Options) error {
	if err := protectData(s); err != nil {
		return err
	}
	return service.Install(o)
}

// configureService does the same for a service that an installer registered.
func configureService(s streams, o service.Options) error {
	if err := protectData(s); err != nil {
		return err
	}
	return service.Configure(o)
}

// protectData gives the folder of all data its rights. Links in it, which
// somebody may have put there to have the agent write elsewhere, are told and
// left: nothing of ours follows them.
func protectData(s streams) error {
	links, err := secfile.Protect(filepath.Dir(platform.DefaultPaths().Data))
	for _, l := range links {
		s.failf("amazon-ssm-agent", "%s is a link, which the agent does not follow; remove it", l)
	}
	return err
}
