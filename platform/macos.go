package platform

import (
	"path"
	"strconv"
	"strings"
)

// macName is what sw_vers calls the system of a version.
func macName(version string) string {
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < 11 {
		return "Mac OS X"
	}
	return "macOS"
}

// macPaths are the stock agent's places on macOS, below dir. What stock agents
// do not have lies in the same folders.
func macPaths(dir string) Paths {
	at := func(name string) string { return path.Join(dir, name) }
	return Paths{
		Root:            path.Clean(dir),
		ConfigFile:      at("opt/aws/ssm/amazon-ssm-agent.json"),
		Data:            at("opt/aws/ssm/data"),
		RuntimeConfig:   at("opt/aws/ssm/runtimeconfig/identity_config.json"),
		HostCredentials: at("opt/aws/ssm/data/credentials"),
		Logs:            at("var/log/amazon/ssm"),
		Recordings:      at("opt/aws/ssm/data/recordings"),
		Audit:           at("opt/aws/ssm/data/audit"),
		LocalCommands:   at("opt/aws/ssm/localcommands"),
		IPC:             at("opt/aws/ssm/data/ipc"),
		DefaultWorkDir:  path.Clean(dir),
		ControlPlane:    at("opt/aws/ssm-local"),

		Packages:         at("opt/aws/ssm/packages"),
		PackageLocks:     at("opt/aws/ssm/locks/packages"),
		PackageManifests: at("opt/aws/ssm/manifests"),
	}
}
