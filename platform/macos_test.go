package platform

import "testing"

func TestMacName(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{"15.1": "macOS", "11.0": "macOS", "10.15.7": "Mac OS X", "": "macOS"} {
		if got := macName(version); got != want {
			t.Errorf("%q: %s", version, got)
		}
	}
}

func TestMacPaths(t *testing.T) {
	t.Parallel()
	want := Paths{
		Root: "/", DefaultWorkDir: "/", ConfigFile: "/opt/aws/ssm/amazon-ssm-agent.json", Data: "/opt/aws/ssm/data",
		RuntimeConfig: "/opt/aws/ssm/runtimeconfig/identity_config.json", HostCredentials: "/opt/aws/ssm/data/credentials",
		Logs: "/var/log/amazon/ssm", LocalCommands: "/opt/aws/ssm/localcommands", IPC: "/opt/aws/ssm/data/ipc",
		Packages: "/opt/aws/ssm/packages", PackageLocks: "/opt/aws/ssm/locks/packages", PackageManifests: "/opt/aws/ssm/manifests",
		ControlPlane: "/opt/aws/ssm-local", Recordings: "/opt/aws/ssm/data/recordings", Audit: "/opt/aws/ssm/data/audit",
	}
	if got := macPaths("/"); got != want {
		t.Errorf("got %+v", got)
	}
}
