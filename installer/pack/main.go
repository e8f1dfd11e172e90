// Command pack makes the packages of ssmagent from built programs, the same
// bytes each time: deb, rpm and a tarball for Linux, msi and zip for Windows, and archives
// that updaters take.
//
//	pack -format deb -arch amd64 -bin bin/linux_amd64 -version 3.3.9000.0 -time 1700000000 -out FILE
//
// It runs in the repository's root. With -key FILE a package for Linux is signed
// with that OpenPGP secret key, and with -cert FILE as well the program and
// package for Windows with that certificate and its key; the key's passphrase is
// in PACKAGE_KEY_PASSPHRASE. -new-key FILE makes an OpenPGP key, and FILE.pub
// with its public half. An msi needs wixl and msitools, signing osslsigncode.
package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

func main() {
	var o options
	flag.StringVar(&o.format, "format", "", "deb, rpm, tar, msi, zip, update, or notices (the licences of ssm-setup-cli)")
	flag.StringVar(&o.platform, "platform", "", "of an update: linux, ubuntu or darwin")
	flag.StringVar(&o.arch, "arch", "", "GOARCH of the programs: amd64, 386, arm, arm64")
	flag.StringVar(&o.bin, "bin", "", "folder of the built program")
	flag.StringVar(&o.version, "version", "", "version, four numbers")
	flag.StringVar(&o.out, "out", "", "file to write")
	flag.StringVar(&o.key, "key", "", "secret key to sign with: OpenPGP for Linux, PEM for Windows")
	flag.StringVar(&o.cert, "cert", "", "certificate to sign with for Windows, and those between it and its root")
	flag.StringVar(&o.stampedBy, "timestamp", "", "URL of the service that stamps the time of a signature for Windows")
	at := flag.Int64("time", 0, "time of the files in the package, seconds since 1970")
	newKey := flag.String("new-key", "", "make an OpenPGP secret key in this file, and do nothing else")
	flag.Parse()
	o.time = time.Unix(*at, 0).UTC()
	run := o.run
	if *newKey != "" {
		run = func() error { return makeKey(*newKey) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

type options struct {
	format, arch, bin, version, out, key string
	cert, stampedBy, platform            string
	time                                 time.Time
}

const (
	name = "amazon-ssm-agent"
	docs = "/usr/share/doc/" + name + "/"

	maintainer = "ssmagent maintainers <maintainers@ssmagent.invalid>"
)

// links are the other names of the program.
var links = []string{"ssm-cli", "ssm-document-worker", "ssm-local", "ssm-session-worker"}

func (o options) run() error {
	kinds := map[string]func(scratch string) error{"deb": o.linux, "rpm": o.linux, "tar": o.tarball, "notices": o.setupNotices, "msi": o.msi, "zip": o.zip, "update": o.update}
	kind := kinds[o.format]
	if o.bin == "" || o.arch == "" || o.version == "" || o.out == "" || kind == nil {
		return errors.New("-format deb|rpm|tar|msi|zip|update|notices, -arch, -bin, -version and -out are needed")
	}
	scratch, err := os.MkdirTemp("", "pack")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if err := kind(scratch); err != nil {
		return fmt.Errorf("make %s: %w", o.out, err)
	}
	return nil
}

// linux makes a deb or an rpm.
func (o options) linux(scratch string) error {
	info, err := o.describe(scratch)
	if err != nil {
		return err
	}
	if err := nfpm.PrepareForPackager(info, o.format); err != nil {
		return err
	}
	p, err := nfpm.Get(o.format)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := p.Package(info, &b); err != nil {
		return err
	}
	return os.WriteFile(o.out, b.Bytes(), 0o644)
}

func (o options) describe(scratch string) (*nfpm.Info, error) {
	made := map[string]func() ([]byte, error){
		"copyright": o.copyright,
		"changelog": o.changelog,
	}
	for file, content := range made {
		b, err := content()
		if err == nil {
			err = os.WriteFile(filepath.Join(scratch, file), b, 0o644)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	arch := cmp.Or(map[string]string{"arm": "arm6"}[o.arch], o.arch)
	key := nfpm.PackageSignature{KeyFile: o.key, KeyPassphrase: os.Getenv("PACKAGE_KEY_PASSPHRASE")}
	info := &nfpm.Info{
		Name: name, Arch: arch, Platform: "linux", Version: o.version, VersionSchema: "none", Release: "1", MTime: o.time,
		Section: "admin", Priority: "optional", Maintainer: maintainer, Vendor: "ssmagent",
		License: "LicenseRef-ssmagent", Changelog: filepath.Join(scratch, "changelog"),
		Description: "agent for AWS Systems Manager\nRuns documents, opens audited shells and port tunnels, and keeps the identity\nof this machine as a node of AWS Systems Manager, or of the control plane\nssm-local that is part of the same program.",
	}
	info.Deb = nfpm.Deb{Compression: "xz", Signature: nfpm.DebSignature{PackageSignature: key, Type: "origin"}}
	info.RPM = nfpm.RPM{BuildHost: "localhost", Group: "System Environment/Daemons", Summary: "Agent for AWS Systems Manager", Compression: "xz", Signature: nfpm.RPMSignature{PackageSignature: key}}
	info.Contents = o.contents(scratch)
	info.Scripts = o.scripts()
	info.RPM.Scripts.PostTrans = "installer/rpm/posttrans"
	return nfpm.WithDefaults(info), nil
}

func (o options) scripts() nfpm.Scripts {
	dir := "installer/" + o.format + "/"
	if o.format == "rpm" {
		return nfpm.Scripts{PostInstall: dir + "post", PreRemove: dir + "preun", PostRemove: dir + "postun"}
	}
	return nfpm.Scripts{PreInstall: dir + "preinst", PostInstall: dir + "postinst", PreRemove: dir + "prerm", PostRemove: dir + "postrm"}
}

func (o options) contents(scratch string) files.Contents {
	file := func(from, to string, mode os.FileMode) *files.Content {
		return &files.Content{Source: from, Destination: to, FileInfo: &files.ContentFileInfo{Mode: mode, MTime: o.time, Owner: "root", Group: "root"}}
	}
	unit := file("service/"+name+".service", "/usr/lib/systemd/system/"+name+".service", 0o644)
	if o.format == "deb" { // a conffile, as in the stock package: dpkg changes the one for the other, and keeps edits
		unit.Destination, unit.Type = "/lib/systemd/system/"+name+".service", files.TypeConfig
	}
	all := files.Contents{
		file(filepath.Join(o.bin, name), "/usr/bin/"+name, 0o755),
		unit,
		file("installer/"+name+".json.template", "/etc/amazon/ssm/"+name+".json.template", 0o644),
	}
	for from, to := range map[string]string{
		filepath.Join(scratch, "copyright"): "copyright", "README.md": "README.md", "SECURITY.md": "SECURITY.md",
		"docs/configuration.md": "configuration.md", "docs/deviations.md": "deviations.md",
	} {
		f := file(from, docs+to, 0o644)
		if o.format == "rpm" {
			f.Type = files.TypeRPMDoc
		}
		all = append(all, f)
	}
	for _, l := range links {
		all = append(all, &files.Content{Type: files.TypeSymlink, Source: name, Destination: "/usr/bin/" + l, FileInfo: &files.ContentFileInfo{MTime: o.time}})
	}
	if o.format == "deb" {
		all = append(all, file("installer/deb/overrides", "/usr/share/lintian/overrides/"+name, 0o644))
	}
	return all
}

// changelog is the one entry that a package has, as nfpm reads it.
func (o options) changelog() ([]byte, error) {
	return fmt.Appendf(nil, "- semver: %s\n  date: %s\n  packager: %s\n  deb: {urgency: medium, distributions: [stable]}\n  changes:\n    - note: Version %s; README.md beside this file says what works.\n",
		o.version, o.time.Format(time.RFC3339), maintainer, o.version), nil
}
