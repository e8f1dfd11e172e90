package program

import (
	"ssmagent/internal/edition"
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

// uninstallService removes the service, and the copies of this program.
func uninstallService(s streams, o service.Options) error {
	if err := service.Uninstall(o); err != nil {
		return err
	}
	return sweepEditions(s)
}

// sweepEditions removes the copies of this program but those that an agent, sessions
// or commands still run from.
func sweepEditions(s streams) error {
	dir := platform.DefaultPaths().Editions
	running, err := edition.Shelf{FS: secfile.Programs(), Dir: dir}.Sweep("")
	if running > 0 {
		s.failf("amazon-ssm-agent", "%d of the programs in %s are in use; they can be removed when the agent, sessions and commands have ended", running, dir)
	}
	return err
}

// protectData gives the folder of all data its rights, whatever they are.
func protectData(s streams) error {
	links, err := secfile.Protect(platform.DefaultPaths().Home)
	tellLinks(s, links)
	return err
}

// claimData does it where somebody else may have made the folder. What is below
// -root is whoever's started us.
func claimData(s streams, p platform.Paths) error {
	if p.Root != "" {
		return nil
	}
	links, err := secfile.Claim(p.Home)
	tellLinks(s, links)
	return err
}

// tellLinks names links among the data, which somebody may have put there to have
// the agent write elsewhere. They are left: nothing of ours follows them.
func tellLinks(s streams, links []string) {
	for _, l := range links {
		s.failf("amazon-ssm-agent", "%s is a link, which the agent does not follow; remove it", l)
	}
}
