package setup_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/setup"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/vault"
)

const (
	agent = "/usr/bin/amazon-ssm-agent"
	node  = "mi-0a1b2c3d4e5f60718"
	code  = "aB3dE6gH9jK2mN5pQ8rT"
)

// place is a machine, a bucket, and what was done.
type place struct {
	t       *testing.T
	disk    *fsystest.Disk
	m       setup.Machine
	out     bytes.Buffer
	bucket  map[string][]byte
	url     string
	key     *openpgp.Entity
	missing string   // a program that is not here
	have    string   // version of the package that is installed
	inside  string   // what the tool says of the package
	refuse  string   // what the agent says of the registration
	calls   []string // programs with their arguments
	stdin   string
	deeds   []string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{t: t, disk: fsystest.NewDisk(), bucket: map[string][]byte{}, inside: "amazon-ssm-agent amd64 3.3.9001.0-1"}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := p.bucket[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	p.url = s.URL
	var trusted []byte
	p.key, trusted = signer(t)
	for _, dir := range []string{"/scratch", "/data"} {
		if err := fsys.MkdirAll(p.disk, dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p.m = setup.Machine{
		OS: "linux", Arch: "amd64", FS: p.disk, Clock: clock.Real{}, HTTP: s.Client(), ConfigFile: "/etc/amazon/ssm/amazon-ssm-agent.json", Data: "/data",
		Agent: agent, DefaultKey: "/opt/ssm-setup-cli.asc", Scratch: "/scratch", Out: &p.out,
		Elevated: func() error { return nil }, Exec: p.exec,
		Read: func(name string, _ int64) ([]byte, error) {
			if name == "/keys" {
				return trusted, nil
			}
			if b, ok := p.bucket[name]; ok {
				return b, nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
		Find: func(program string) (string, error) {
			if program == p.missing || program == agent && p.have == "" {
				return "", fmt.Errorf("%s: %w", program, fs.ErrNotExist)
			}
			return program, nil
		},
		Service: func(deed string) error { p.deeds = append(p.deeds, deed); return nil },
	}
	return p
}

// signer is somebody with a key.
func signer(t *testing.T) (*openpgp.Entity, []byte) {
	t.Helper()
	e, err := openpgp.NewEntity("somebody", "", "", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	var b bytes.Buffer
	if err == nil {
		err = e.Serialize(&b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e, b.Bytes()
}

// files are those of a package.
const files = "all the files!"

// deb is a package that somebody has signed.
func (p *place) deb(by *openpgp.Entity, data string) []byte {
	p.t.Helper()
	members := [][2]string{{"debian-binary", "2.0\n"}, {"control.tar.gz", "control!"}, {"data.tar.xz", data}}
	if by != nil {
		var s bytes.Buffer
		if err := openpgp.ArmoredDetachSign(&s, by, strings.NewReader("2.0\ncontrol!"+data), nil); err != nil {
			p.t.Fatal(err)
		}
		members = append(members, [2]string{"_gpgorigin", s.String()})
	}
	b := []byte("!<arch>\n")
	for _, m := range members {
		b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", m[0], 0, 0, 0, "100644", len(m[1]), m[1])
		b = append(b, strings.Repeat("\n", len(m[1])%2)...)
	}
	return b
}

// exec stands in for the system's programs and the agent.
func (p *place) exec(_ context.Context, stdin, program string, args ...string) (string, error) {
	p.calls = append(p.calls, strings.Join(append([]string{filepath.Base(program)}, args...), " "))
	failed := errors.New("exit status 1")
	switch {
	case program == "dpkg-query" && p.have == "":
		return "", failed
	case program == "dpkg-query":
		return "installed " + p.have + "-1", nil
	case program == "dpkg-deb":
		return p.inside, nil
	case program == "dpkg":
		if !p.there(args[len(args)-1]) {
			p.t.Errorf("%v without the package", args)
		}
		p.have = strings.TrimSuffix(strings.Fields(p.inside)[2], "-1")
	case program == agent && args[0] == "-version":
		return "SSM Agent version: " + p.have + "\n", nil
	case program == agent && p.refuse != "":
		return p.refuse, failed
	case program == agent:
		p.stdin = stdin
		p.registered()
	default:
		p.t.Errorf("%s %v was run", program, args)
	}
	return "", nil
}

func (p *place) there(name string) bool {
	_, err := p.disk.Lstat(name)
	return err == nil
}

// registered leaves the registration that the agent makes.
func (p *place) registered() {
	p.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		p.t.Fatal(err)
	}
	text, err := sigv4.EncodePrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	b, err := json.Marshal(map[string]string{"instanceID": node, "region": "eu-west-1", "privateKey": text, "privateKeyType": "Rsa"})
	if err == nil {
		err = vault.New(p.disk, "/data").Put(vault.RegistrationKey, b)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// options install and register.
func (p *place) options() setup.Options {
	return setup.Options{Register: true, Region: "eu-west-1", Code: code, ID: "6f1c9f2e", Package: p.url + "/a.deb", Key: "/keys"}
}

func TestInstallAndRegister(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.bucket["/a.deb"] = p.deb(p.key, files)
	if err := setup.Run(t.Context(), p.options(), p.m); err != nil {
		t.Fatal(err)
	}
	want := []string{"dpkg-deb -W --showformat ${Package} ${Architecture} ${Version} /scratch/amazon-ssm-agent.deb",
		"dpkg-query -W -f ${db:Status-Status} ${Version} amazon-ssm-agent",
		"dpkg --force-confdef --force-confold --install /scratch/amazon-ssm-agent.deb", "amazon-ssm-agent -version",
		"amazon-ssm-agent -register -y -region eu-west-1 -id 6f1c9f2e -code-file -"}
	if !slices.Equal(p.calls, want) || p.stdin != code || !slices.Equal(p.deeds, []string{"restart"}) {
		t.Errorf("%q, %q on standard input, %v", p.calls, p.stdin, p.deeds)
	}
	if out := p.out.String(); !strings.Contains(out, "Signed by ") || !strings.Contains(out, "amazon-ssm-agent 3.3.9001.0 is installed") || !strings.Contains(out, "registered as "+node) || strings.Contains(out, code) {
		t.Errorf("it said:\n%s", out)
	}
	b, err := fsys.ReadFile(p.disk, p.m.ConfigFile, 1<<20)
	if err != nil || !strings.Contains(string(b), `"ConsumptionOrder"`) {
		t.Errorf("%s %v", b, err)
	}
	p.calls, p.deeds = nil, nil // once more: the same version, the same node
	if err := setup.Run(t.Context(), p.options(), p.m); err != nil || len(p.calls) != 3 || !slices.Equal(p.deeds, []string{"start"}) {
		t.Errorf("%v: %q %v", err, p.calls, p.deeds)
	}
	o := p.options()
	o.Override = true
	if err := setup.Run(t.Context(), o, p.m); err != nil || !strings.Contains(p.calls[len(p.calls)-1], "-register -y") {
		t.Errorf("%v: %q", err, p.calls)
	}
}

// TestNothingHalfDone: each fault is told in one sentence, and nothing is run
// that it makes useless.
func TestNothingHalfDone(t *testing.T) {
	t.Parallel()
	stranger, _ := signer(t)
	for _, tc := range []struct {
		name   string
		change func(p *place, o *setup.Options)
		want   string
		calls  int // programs that were run nevertheless
	}{
		{"nothing to do", func(_ *place, o *setup.Options) { *o = setup.Options{Region: "x"} }, "Action required (install|register|shutdown). ", 0},
		{"no activation", func(_ *place, o *setup.Options) { o.Code, o.ID = "", "" }, "Invalid parameters - Activation id/code required for on-prem registration. ", 0},
		{"no code", func(_ *place, o *setup.Options) { o.Code = "" }, "Activation code required for on-prem registration. ", 0},
		{"no id", func(_ *place, o *setup.Options) { o.ID = "" }, "Activation id required for on-prem registration. ", 0},
		{"no region", func(_ *place, o *setup.Options) { o.Region = "" }, "Region required. ", 0},
		{"a region that is none", func(_ *place, o *setup.Options) { o.Region = "eu/west" }, `"eu/west" is no region`, 0},
		{"not root", func(p *place, _ *setup.Options) {
			p.m.Elevated = func() error { return errors.New("binary needs to be executed by root") }
		}, "Please run as root/admin. Err: binary needs to be executed by root", 0},
		{"no key", func(_ *place, o *setup.Options) { o.Key = "" }, "no key is trusted: name the public key of who signs the packages by -key FILE", 0},
		{"a key that is not there", func(_ *place, o *setup.Options) { o.Key = "/nowhere" }, "read the key that is trusted: open /nowhere", 0},
		{"no package", func(_ *place, o *setup.Options) { o.Package = "" }, "no agent is installed, and no package is named", 0},
		{"not in the bucket", func(p *place, _ *setup.Options) { p.bucket = nil }, "fetch the package: get http", 0},
		{"a server that is not there", func(_ *place, o *setup.Options) { o.Package = "http://127.0.0.1:1/a.deb" }, "fetch the package: ", 0},
		{"another kind of URL", func(_ *place, o *setup.Options) { o.Package = "ftp://host/a.deb" }, "ftp:// is unknown here: https, http and file are known", 0},
		{"another kind of file", func(_ *place, o *setup.Options) { o.Package = "/a.zip" }, "a.zip is no package: a deb, rpm, tar.gz or msi is", 0},
		{"tampered with", func(p *place, _ *setup.Options) {
			p.bucket["/a.deb"] = bytes.Replace(p.bucket["/a.deb"], []byte("files"), []byte("FILES"), 1)
		}, "a.deb is not installed: it was changed after it was signed", 0},
		{"signed by a stranger", func(p *place, _ *setup.Options) { p.bucket["/a.deb"] = p.deb(stranger, files) }, "a.deb is not installed: it is signed by a key that is not trusted; trusted is ", 0},
		{"not signed", func(p *place, _ *setup.Options) { p.bucket["/a.deb"] = p.deb(nil, files) }, "a.deb is not installed: it is not signed", 0},
		{"cut off", func(p *place, _ *setup.Options) { p.bucket["/a.deb"] = p.bucket["/a.deb"][:100] }, "a.deb is not installed: it is damaged or no package", 0},
		{"no dpkg", func(p *place, _ *setup.Options) { p.missing = "dpkg" }, "a .deb is installed by dpkg, which is not here: give the package that this system has, or the tar.gz", 0},
		{"another package", func(p *place, _ *setup.Options) { p.inside = "cron amd64 3" }, `the package is not amazon-ssm-agent: it says "cron amd64 3"`, 1},
		{"an older version", func(p *place, _ *setup.Options) { p.have = "3.3.9002.0" }, "the package has version 3.3.9001.0, and 3.3.9002.0 is installed: downgrade flag is not set (-downgrade)", 3},
		{"an msi", func(p *place, o *setup.Options) {
			o.Package, o.SkipSignatures, o.Key, p.bucket["/a.msi"] = "/a.msi", true, "", []byte("x")
		}, "a .msi cannot be installed on linux", 0},
		{"unvalidated over http", func(_ *place, o *setup.Options) { o.SkipSignatures, o.Key = true, "" }, "Without validation of signatures only https:// and files are taken", 0},
		{"two sources", func(_ *place, o *setup.Options) { o.Manifest = "x" }, "A package and a manifest exclude each other", 0},
		{"a refused registration", func(p *place, _ *setup.Options) {
			p.refuse = "Registration failed due to the activation is of another region"
		},
			"the agent is installed, but the machine is not registered: Registration failed due to the activation is of another region\nWhen that is mended, go on with: amazon-ssm-agent -register -region eu-west-1 -id 6f1c9f2e -code …, then restart the service", 5},
		{"a broken configuration", func(p *place, _ *setup.Options) { p.file(p.m.ConfigFile, `{"Mds":`) }, "configuration /etc/amazon/ssm/amazon-ssm-agent.json cannot be changed: it is no JSON object", 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			p.bucket["/a.deb"] = p.deb(p.key, files)
			o := p.options()
			tc.change(p, &o)
			err := setup.Run(t.Context(), o, p.m)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), code) {
				t.Errorf("error %v", err)
			}
			if len(p.calls) != tc.calls || len(p.deeds) != 0 {
				t.Errorf("%q %v", p.calls, p.deeds)
			}
		})
	}
}

func (p *place) file(name, text string) {
	p.t.Helper()
	err := fsys.MkdirAll(p.disk, filepath.Dir(name), 0o755)
	if err == nil {
		err = fsys.WriteFile(p.disk, name, []byte(text), 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// release lays a version into the bucket and returns its line of the manifest.
func (p *place) release(version, status string) string {
	b := p.deb(p.key, "files of "+version)
	p.bucket["/amazon-ssm-agent/"+version+"/amazon-ssm-agent-linux-amd64.deb"] = b
	return fmt.Sprintf(`{"Version":%q,"Checksum":"%x","Status":%q}`, version, sha256.Sum256(b), status)
}

func TestManifest(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, version, fetched, want string }{
		{"stable without a word", "", "3.3.8999.0", ""},
		{"stable", "stable", "3.3.8999.0", ""},
		{"latest that is active", "latest", "3.3.9001.0", ""},
		{"a number", "3.3.9000.0", "3.3.9000.0", ""},
		{"deprecated by its number", "3.3.100.0", "3.3.100.0", ""},
		{"inactive", "3.3.9999.0", "", "version 3.3.9999.0 of amazon-ssm-agent-linux-amd64.deb is Inactive"},
		{"missing", "1.2.3.4", "", "it has no version 1.2.3.4 of amazon-ssm-agent-linux-amd64.deb"},
		{"mislabelled", "3.3.2.0", "3.3.2.0", "the package is of version 3.3.9001.0, where the manifest says 3.3.2.0; nothing was installed"},
		{"changed in the bucket", "3.3.1.0", "3.3.1.0", "its SHA-256 is another; nothing was installed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			releases := []string{p.release("3.3.8999.0", ""), p.release("3.3.9001.0", "Active"), p.release("3.3.9000.0", "Active"),
				p.release("3.3.100.0", "Deprecated"), p.release("3.3.9999.0", "Inactive"), p.release("3.3.1.0", "Deprecated"), p.release("3.3.2.0", "")}
			p.bucket["/amazon-ssm-agent/3.3.1.0/amazon-ssm-agent-linux-amd64.deb"] = p.deb(p.key, files)
			p.bucket["/ssm-agent-manifest.json"] = []byte(`{"SchemaVersion":"1.0","UriFormat":"{PackageName}/{PackageVersion}/{FileName}","Packages":[{"Name":"amazon-ssm-agent",
				"Files":[{"Name":"amazon-ssm-agent-linux-amd64.deb","AvailableVersions":[` + strings.Join(releases, ",") + `]}]}]}`)
			p.bucket["/stable/VERSION"] = []byte("3.3.8999.0\n")
			o := p.options()
			o.Package, o.Manifest, o.Version = "", p.url+"/ssm-agent-manifest.json", tc.version
			if tc.version != "3.3.2.0" {
				p.inside = "amazon-ssm-agent amd64 " + tc.fetched + "-1"
			}
			err := setup.Run(t.Context(), o, p.m)
			if tc.want == "" && (err != nil || p.have != tc.fetched) || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, %q is installed", err, p.have)
			}
			if fetched := strings.Contains(p.out.String(), "/"+tc.fetched+"/"); tc.fetched != "" && !fetched {
				t.Errorf("it said:\n%s", p.out.String())
			}
		})
	}
}

// TestDowngrade: with the flag an older version goes over a later one.
func TestDowngrade(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.have, p.bucket["/a.deb"] = "3.3.9002.0", p.deb(p.key, files)
	o := p.options()
	o.Downgrade = true
	if err := setup.Run(t.Context(), o, p.m); err != nil || !slices.Contains(p.calls, "dpkg --force-downgrade --force-confdef --force-confold --install /scratch/amazon-ssm-agent.deb") {
		t.Errorf("%v %q", err, p.calls)
	}
}

// TestConfigurationIsKept: only the identity is another one.
func TestConfigurationIsKept(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.bucket["/a.deb"] = p.deb(p.key, files)
	p.file(p.m.ConfigFile, `{"identity":{"ConsumptionOrder":["EC2"]},"Mds":{"CommandWorkersLimit":7}}`)
	if err := setup.Run(t.Context(), p.options(), p.m); err != nil {
		t.Fatal(err)
	}
	b, err := fsys.ReadFile(p.disk, p.m.ConfigFile, 1<<20)
	const want = `{
    "Identity": {
        "ConsumptionOrder": [
            "OnPrem"
        ],
        "CustomIdentities": null,
        "Ec2SystemInfoDetectionResponse": ""
    },
    "Mds": {
        "CommandWorkersLimit": 7
    }
}
`
	if err != nil || string(b) != want {
		t.Errorf("%s %v", b, err)
	}
}

// TestWithoutServiceManager: people are told how the agent is run.
func TestWithoutServiceManager(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.bucket["/a.deb"] = p.deb(p.key, files)
	p.m.Service = func(string) error { return setup.ErrNoManager }
	if err := setup.Run(t.Context(), p.options(), p.m); err != nil || !strings.Contains(p.out.String(), "have /usr/bin/amazon-ssm-agent run as root") {
		t.Errorf("%v:\n%s", err, p.out.String())
	}
	if err := setup.Run(t.Context(), setup.Options{Shutdown: true}, p.m); err == nil || !strings.Contains(err.Error(), "end the process amazon-ssm-agent") {
		t.Error(err)
	}
}

// TestSlowProgramEnds: what a program does is bounded.
func TestSlowProgramEnds(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.bucket["/a.deb"] = p.deb(p.key, files)
	p.m.Exec = func(ctx context.Context, _, _ string, _ ...string) (string, error) {
		if at, ok := ctx.Deadline(); !ok || time.Until(at) > 6*time.Minute {
			t.Errorf("it has until %v", at)
		}
		return "", os.ErrDeadlineExceeded
	}
	if err := setup.Run(t.Context(), p.options(), p.m); err == nil {
		t.Error("nobody noticed")
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(`{"UriFormat":"x/{FileName}","Packages":[{"Name":"amazon-ssm-agent","Files":[{"Name":"amazon-ssm-agent-linux-amd64.deb","AvailableVersions":[{"Version":"1.2.3.4","Checksum":"` + strings.Repeat("ab", 32) + `"}]}]}]}`)
	f.Add(`{"UriFormat":"http://[::1","Packages":[null]}`)
	f.Fuzz(func(t *testing.T, text string) {
		p := newPlace(t)
		p.m.Read = func(name string, _ int64) ([]byte, error) {
			if name == "/m" {
				return []byte(text), nil
			}
			return nil, fs.ErrNotExist
		}
		p.m.HTTP = &http.Client{Transport: http.NewFileTransport(http.Dir(t.TempDir()))} // nothing is there
		err := setup.Run(t.Context(), setup.Options{Install: true, Region: "x", Manifest: "/m", Version: "latest", SkipSignatures: true}, p.m)
		if err == nil || len(p.calls) > 0 {
			t.Errorf("%v %q", err, p.calls)
		}
	})
}

func FuzzConfiguration(f *testing.F) {
	f.Add(`{"Mds":{}}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, text string) {
		p := newPlace(t)
		p.have = "3.3.9001.0"
		p.file(p.m.ConfigFile, text)
		o := p.options()
		o.Package = ""
		err := setup.Run(t.Context(), o, p.m)
		b, rerr := fsys.ReadFile(p.disk, p.m.ConfigFile, 4<<20)
		if rerr != nil || err != nil && string(b) != text || err == nil && !json.Valid(b) {
			t.Errorf("%v %v: %q", err, rerr, b)
		}
	})
}

// exit is the end of a program.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func (e exit) ExitCode() int { return int(e) }

// TestMSI: the signature lies beside it, the Windows Installer installs it, and
// its wish for a restart is no failure.
func TestMSI(t *testing.T) {
	t.Parallel()
	for code, want := range map[exit]string{3010: "", 1603: "install the package: msiexec: exit status 1603"} {
		p := newPlace(t)
		p.m.OS = "windows"
		p.m.Exec = func(_ context.Context, _, program string, args ...string) (string, error) {
			p.calls = append(p.calls, program+" "+strings.Join(args, " "))
			return "", code
		}
		p.bucket["/a.msi"] = []byte("tables")
		var s bytes.Buffer
		if err := openpgp.ArmoredDetachSign(&s, p.key, strings.NewReader("tables"), nil); err != nil {
			t.Fatal(err)
		}
		o := setup.Options{Install: true, Region: "x", Package: p.url + "/a.msi", Key: "/keys", Downgrade: true}
		if err := setup.Run(t.Context(), o, p.m); err == nil || len(p.calls) > 0 || !strings.Contains(err.Error(), "fetch the package's signature") {
			t.Errorf("without a signature: %v %q", err, p.calls)
		}
		p.bucket["/a.msi.asc"] = s.Bytes()
		err := setup.Run(t.Context(), o, p.m)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) || len(p.calls) != 1 || p.calls[0] != "msiexec /qn /norestart /i /scratch/amazon-ssm-agent.msi ALLOWDOWNGRADE=yes" {
			t.Errorf("exit %d: %v %q", code, err, p.calls)
		}
	}
}
