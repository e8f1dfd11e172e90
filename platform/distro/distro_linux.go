package distro

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const maxFile = 64 << 10

func read() (System, error) { return readFrom("/") }

// readFrom looks at the files of the machine whose root directory this is, and
// runs nothing.
func readFrom(root string) (System, error) {
	for _, source := range []struct {
		file  string
		parse func(string) (name, version string)
	}{
		{"etc/os-release", parseOSRelease}, {"usr/lib/os-release", parseOSRelease}, {"etc/lsb-release", parseLSB},
		{"etc/redhat-release", parseRelease}, {"etc/system-release", parseRelease},
	} {
		text, err := head(filepath.Join(root, source.file))
		if err != nil {
			continue
		}
		if name, version := source.parse(text); name != "" {
			init, err := initSystem(root)
			if err != nil {
				return System{}, err
			}
			return known(name, version, init)
		}
	}
	return System{}, errors.New("which distribution this is cannot be told: there is no /etc/os-release")
}

// initSystem is the program that starts services here.
func initSystem(root string) (string, error) {
	if comm, err := head(filepath.Join(root, "proc/1/comm")); err == nil && strings.Contains(comm, "systemd") {
		return strings.TrimSpace(comm), nil
	}
	for _, probe := range [][2]string{
		{"run/systemd/system", "systemd"}, {".dockerenv", "docker"}, {"sbin/openrc", "openrc"}, {"sbin/initctl", "upstart"},
		{"usr/sbin/update-rc.d", "updatercd"}, {"sbin/chkconfig", "chkconfig"}, {"usr/sbin/chkconfig", "chkconfig"}, {"usr/bin/systemctl", "systemd"},
	} {
		if _, err := os.Stat(filepath.Join(root, probe[0])); err == nil {
			return probe[1], nil
		}
	}
	return "", errors.New("no init system is found that packages know: systemd, OpenRC, Upstart, update-rc.d or chkconfig")
}

func head(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	return string(b), err
}
