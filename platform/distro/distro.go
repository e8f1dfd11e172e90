// Package distro is the seam for which distribution a machine runs, in the
// words that packages use: its name, family, package manager and init system.
package distro

import (
	"fmt"
	"strings"
)

// System is a distribution. A name that packages do not know is an error of
// Read.
type System struct {
	Name    string // "debian"
	Version string // "12"
	Family  string // "debian"
	Manager string // of packages: "apt"
	Init    string // "systemd"
}

// Read finds out what this machine runs.
func Read() (System, error) { return read() }

// families are the package managers and families of the names.
func families() map[string][2]string {
	return map[string][2]string{
		"ubuntu": {"debian", "apt"}, "debian": {"debian", "apt"}, "raspbian": {"debian", "apt"},
		"redhat": {"rhel", "yum"}, "centos": {"rhel", "yum"}, "amazon": {"rhel", "yum"}, "oracle": {"rhel", "yum"}, "rocky": {"rhel", "yum"}, "almalinux": {"rhel", "yum"},
		"fedora": {"fedora", "dnf"},
		"suse":   {"suse", "zypper"}, "opensuse": {"suse", "zypper"}, "opensuseleap": {"suse", "zypper"},
		"alpine": {"alpine", "alpine"}, "arch": {"arch", "pacman"}, "gentoo": {"gentoo", "emerge"},
		"windows": {"windows", "windows"}, "mac_os_x": {"mac_os_x", "mac_os_x"},
	}
}

// known fills in family and package manager.
func known(name, version, init string) (System, error) {
	f, ok := families()[name]
	if !ok {
		return System{}, fmt.Errorf("the distribution %.60q is none that packages are made for", name)
	}
	return System{Name: name, Version: version, Family: f[0], Manager: f[1], Init: init}, nil
}

// parseOSRelease reads ID and VERSION_ID of an os-release file and gives the
// name that packages have for it.
func parseOSRelease(text string) (name, version string) {
	values := assignments(text)
	id := strings.ToLower(values["ID"])
	switch {
	case id == "rhel":
		id = "redhat"
	case id == "ol":
		id = "oracle"
	case id == "amzn":
		id = "amazon"
	case id == "sles":
		id = "suse"
	case strings.HasPrefix(id, "opensuse"):
		id = "opensuse"
		if strings.Contains(strings.ToLower(values["NAME"]), "leap") {
			id = "opensuseleap"
		}
	}
	return id, values["VERSION_ID"]
}

// parseLSB reads /etc/lsb-release.
func parseLSB(text string) (name, version string) {
	values := assignments(text)
	return strings.ToLower(values["DISTRIB_ID"]), values["DISTRIB_RELEASE"]
}

// parseRelease reads the one line of a redhat-release kind of file:
// "CentOS Linux release 7.9.2009 (Core)".
func parseRelease(text string) (name, version string) {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	before, rest, ok := strings.Cut(strings.ToLower(line), " release ")
	if f := strings.Fields(rest); ok && len(f) > 0 {
		version = f[0]
	}
	for _, w := range [][2]string{{"red hat", "redhat"}, {"centos", "centos"}, {"amazon", "amazon"}, {"oracle", "oracle"}, {"rocky", "rocky"}, {"almalinux", "almalinux"}, {"fedora", "fedora"}} {
		if strings.Contains(before, w[0]) {
			return w[1], version
		}
	}
	return "", version
}

// assignments are the NAME=value lines of a text, without quotes.
func assignments(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			values[k] = strings.Trim(v, `"'`)
		}
	}
	return values
}
