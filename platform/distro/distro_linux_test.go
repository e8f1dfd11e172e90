package distro

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadFrom(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		files map[string]string
		want  System
		fails string
	}{
		{files: map[string]string{"etc/os-release": "ID=debian\nVERSION_ID=12\n", "proc/1/comm": "systemd\n"}, want: System{"debian", "12", "debian", "apt", "systemd"}},
		{files: map[string]string{"etc/lsb-release": "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=22.04\n", "proc/1/comm": "sh\n", ".dockerenv": ""}, want: System{"ubuntu", "22.04", "debian", "apt", "docker"}},
		{files: map[string]string{"etc/redhat-release": "CentOS release 6.10 (Final)", "sbin/initctl": ""}, want: System{"centos", "6.10", "rhel", "yum", "upstart"}},
		{files: map[string]string{"etc/os-release": "ID=flatcar", "proc/1/comm": "systemd\n"}, fails: "none that packages"},
		{files: map[string]string{"etc/os-release": "ID=debian", "proc/1/comm": "sh\n"}, fails: "no init system"},
		{fails: "cannot be told"},
	} {
		root := t.TempDir()
		for name, text := range tc.files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := readFrom(root)
		if tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)) || tc.fails == "" && (err != nil || s != tc.want) {
			t.Errorf("%v: %+v %v", tc.files, s, err)
		}
	}
}
