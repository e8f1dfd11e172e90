package platform

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDistribution(t *testing.T) {
	t.Parallel()
	const osRelease = "NAME=\"Os\"\nVERSION_ID=\"1\"\n"
	for _, c := range []struct {
		name          string
		files         map[string]string
		want, version string
	}{
		{"os-release", map[string]string{"etc/os-release": osRelease, "etc/system-release": "Sys release 9"}, "Os", "1"},
		{"CentOS first", map[string]string{"etc/os-release": osRelease, "etc/centos-release": "CentOS Linux release 7.9.2009 (Core)"}, "CentOS Linux", "7.9.2009"},
		{"Bottlerocket", map[string]string{"etc/os-release": osRelease, "etc/bottlerocket-release": "NAME=Bottlerocket\nVERSION_ID=\"1.14\""}, "Bottlerocket", "1.14"},
		{"redhat last", map[string]string{"etc/redhat-release": "Red Hat release 5.1 (x)"}, "Red Hat", "5.1"},
		{"empty falls through", map[string]string{"etc/centos-release": "", "usr/lib/os-release": osRelease}, "Os", "1"},
		{"nothing", nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for name, text := range c.files {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if name, version := distribution(root); name != c.want || version != c.version {
				t.Errorf("%q %q", name, version)
			}
		})
	}
}

func TestStockPlaces(t *testing.T) {
	t.Parallel()
	want := Paths{
		ConfigFile: "/etc/amazon/ssm/amazon-ssm-agent.json", Data: "/var/lib/amazon/ssm", RuntimeConfig: "/var/lib/amazon/ssm/runtimeconfig/identity_config.json", HostCredentials: "/var/lib/amazon/ssm/credentials", Logs: "/var/log/amazon/ssm",
		LocalCommands: "/var/lib/amazon/ssm/localcommands",
		Packages:      "/var/lib/amazon/ssm/packages", PackageLocks: "/var/lib/amazon/ssm/locks/packages", PackageManifests: "/var/lib/amazon/ssm/manifests",
		IPC: "/var/lib/amazon/ssm/ipc", DefaultWorkDir: "/usr/bin",
		ControlPlane: "/var/lib/ssm-local", Recordings: "/var/lib/amazon/ssm/recordings", Audit: "/var/lib/amazon/ssm/audit",
	}
	if got := DefaultPaths(); got != want {
		t.Errorf("got %+v", got)
	}
}
