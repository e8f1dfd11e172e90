package platform

import "path/filepath"

func read() Info {
	i := Info{Type: "Linux", ComputerName: computerName("/etc/hosts"), IPAddress: interfaceAddress()}
	i.Name, i.Version = distribution("/")
	return i
}

// distribution looks where stock agents do; the first readable file wins.
func distribution(root string) (name, version string) {
	sources := []struct {
		path  string
		parse func(string) (string, string)
	}{
		{"etc/centos-release", parseRelease},
		{"etc/bottlerocket-release", parseOSRelease},
		{"etc/os-release", parseOSRelease},
		{"usr/lib/os-release", parseOSRelease},
		{"etc/system-release", parseRelease},
		{"etc/redhat-release", parseRelease},
	}
	for _, s := range sources {
		text, err := readSmall(filepath.Join(root, s.path))
		if err != nil {
			continue
		}
		if name, version = s.parse(text); name != "" {
			return name, version
		}
	}
	return "", ""
}

func defaultPaths() Paths {
	p := pathsBelow("/")
	p.Root = ""
	// Where the stock unit's WorkingDirectory puts scripts.
	p.DefaultWorkDir = "/usr/bin"
	return p
}

func pathsBelow(dir string) Paths {
	at := func(path string) string { return filepath.Join(dir, path) }
	return Paths{
		Root:            filepath.Clean(dir),
		ConfigFile:      at("etc/amazon/ssm/amazon-ssm-agent.json"),
		Data:            at("var/lib/amazon/ssm"),
		RuntimeConfig:   at("var/lib/amazon/ssm/runtimeconfig/identity_config.json"),
		HostCredentials: at("var/lib/amazon/ssm/credentials"),
		Logs:            at("var/log/amazon/ssm"),
		Recordings:      at("var/lib/amazon/ssm/recordings"),
		Audit:           at("var/lib/amazon/ssm/audit"),
		LocalCommands:   at("var/lib/amazon/ssm/localcommands"),
		IPC:             at("var/lib/amazon/ssm/ipc"),
		DefaultWorkDir:  filepath.Clean(dir),
		ControlPlane:    at("var/lib/ssm-local"),

		Packages:         at("var/lib/amazon/ssm/packages"),
		PackageLocks:     at("var/lib/amazon/ssm/locks/packages"),
		PackageManifests: at("var/lib/amazon/ssm/manifests"),
	}
}
