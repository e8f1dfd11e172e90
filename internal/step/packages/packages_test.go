package packages

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ssmagent/internal/clock"
	"ssmagent/internal/depot"
	"ssmagent/internal/step"
	"ssmagent/internal/step/runscript"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/manifest"
	"ssmagent/internal/wire/ssm"
	"ssmagent/platform/distro"
	"ssmagent/platform/proc"
	"ssmagent/platform/secfile"
)

// lab is a node and the services of a package "Tool".
type lab struct {
	Plugin

	t      *testing.T
	dir    string
	notes  string            // what the scripts note
	served map[string][]byte // archives by version
	arn    string            // of the package service; empty: it is a document
	latest string
	calls  []string
	report *ssm.PutConfigurePackageResultInput
	broken error // of Fetch
}

func newLab(t *testing.T) *lab {
	dir := t.TempDir()
	l := &lab{t: t, dir: filepath.Join(dir, "command"), notes: filepath.Join(dir, "notes"), served: map[string][]byte{}}
	if err := os.Mkdir(l.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l.Plugin = Plugin{
		Depot: depot.Depot{FS: secfile.OS(), Clock: clock.Real{}, Dir: filepath.Join(dir, "packages"), Locks: filepath.Join(dir, "locks"), Manifests: filepath.Join(dir, "manifests"),
			TryLock: secfile.TryLock, Locked: secfile.ErrLocked},
		Call: l.call, Refused: func(err error) string { return err.Error() }, Fetch: l.fetch,
		Scripts: step.Set{"aws:runShellScript": runscript.Plugin{Interpreter: runscript.Shell("/bin/sh"), Starter: proc.Start}},
		System: func() (distro.System, error) {
			return distro.System{Name: "debian", Version: "12", Family: "debian", Manager: "apt", Init: "systemd"}, nil
		},
		Architecture: "amd64", InstanceID: "mi-1", Region: "eu-west-1", Env: []string{"http_proxy=http://proxy"}, Clock: clock.Real{},
	}
	return l
}

// serve offers a version whose scripts note their names and do what is given.
func (l *lab) serve(version string, scripts map[string]string) {
	l.t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	files := map[string]string{"data/x": version}
	for deed, body := range scripts {
		files[deed+".sh"] = fmt.Sprintf("echo %s %s >>%s\n%s\n", deed, version, l.notes, body)
	}
	for name, text := range files {
		f, err := w.Create(name)
		if err == nil {
			_, err = io.WriteString(f, text)
		}
		if err != nil {
			l.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		l.t.Fatal(err)
	}
	l.served[version], l.latest = b.Bytes(), version
}

func (l *lab) manifest(version string) string {
	sum := sha256.Sum256(l.served[version])
	m := manifest.Manifest{SchemaVersion: "2.0", Version: version, PackageARN: l.arn,
		Packages: map[string]map[string]map[string]manifest.Target{"debian": {"_any": {"x86_64": {File: "tool.zip"}}}},
		Files:    map[string]manifest.File{"tool.zip": {Checksums: map[string]string{"sha256": hex.EncodeToString(sum[:])}, DownloadLocation: "https://files/" + version + "?signed=" + fmt.Sprint(len(l.calls))}}}
	b, _ := json.Marshal(m) //nolint:errchkjson // plain data
	return string(b)
}

func (l *lab) call(_ context.Context, op string, in, out any) error {
	l.calls = append(l.calls, op)
	named := func(v string) (string, error) {
		if v == "" || v == latest {
			v = l.latest
		}
		if l.served[v] == nil {
			return "", errors.New("InvalidDocumentVersion")
		}
		return v, nil
	}
	switch in := in.(type) {
	case ssm.GetManifestInput:
		v, err := named(in.PackageVersion)
		if err != nil || l.arn == "" {
			return errors.New(codeNotFound)
		}
		out.(*ssm.GetManifestOutput).Manifest = l.manifest(v)
	case ssm.DescribeDocumentInput:
		v, err := named(in.VersionName)
		if err != nil {
			return err
		}
		sum := sha256.Sum256([]byte(l.withoutURL(v)))
		out.(*ssm.DescribeDocumentOutput).Document = ssm.DocumentDescription{Name: "Tool", Status: "Active", DocumentVersion: "doc" + v, Hash: hex.EncodeToString(sum[:])}
	case ssm.GetDocumentInput:
		v, err := named(in.VersionName)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(l.served[v])
		*out.(*ssm.GetDocumentOutput) = ssm.GetDocumentOutput{Name: "Tool", Status: "Active", DocumentVersion: "doc" + v, Content: l.withoutURL(v),
			AttachmentsContent: []ssm.AttachmentContent{{Name: "tool.zip", Url: "https://files/" + v, Hash: hex.EncodeToString(sum[:]), HashType: "Sha256"}}}
	case ssm.PutConfigurePackageResultInput:
		l.report = &in
	}
	return nil
}

// withoutURL is the manifest of a document, which has no addresses.
func (l *lab) withoutURL(version string) string {
	m, err := manifest.Decode([]byte(l.manifest(version)))
	if err != nil {
		l.t.Fatal(err)
	}
	f := m.Files["tool.zip"]
	f.DownloadLocation = ""
	m.Files["tool.zip"] = f
	b, _ := json.Marshal(m) //nolint:errchkjson // plain data
	return string(b)
}

func (l *lab) fetch(_ context.Context, url string, take func(io.Reader) error) error {
	l.calls = append(l.calls, "fetch")
	if l.broken != nil {
		return l.broken
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(url, "https://files/"), "?")
	return take(bytes.NewReader(l.served[version]))
}

func (l *lab) run(ctx context.Context, action, version string, more ...string) (out step.Outcome, stdout, stderr string) {
	l.t.Helper()
	l.calls, l.report = nil, nil
	properties := map[string]any{"action": action, "name": "Tool", "version": version}
	for i := 0; i < len(more); i += 2 {
		properties[more[i]] = more[i+1]
	}
	var o, e bytes.Buffer
	out = l.Run(ctx, step.Input{StepID: "s", CommandID: "c", CommandDir: l.dir, StepDir: filepath.Join(l.dir, "s"), Properties: properties, Stdout: &o, Stderr: &e})
	return out, o.String(), e.String()
}

// must runs a step and holds its end, the scripts that ran and the state to
// what is wanted: "install 1,validate 1" and "Installed 1".
func (l *lab) must(status doc.Status, ran, state, action, version string, more ...string) (stdout, stderr string) {
	l.t.Helper()
	_ = os.Remove(l.notes)
	out, stdout, stderr := l.run(l.t.Context(), action, version, more...)
	b, _ := os.ReadFile(l.notes)
	did := strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", ",")
	id := "Tool"
	if l.arn != "" {
		id = l.arn
	}
	s := l.Depot.State(id)
	code := 1
	if status != doc.Failed {
		code = 0
	}
	if out.Status != status || out.Code != code || did != ran || strings.TrimSpace(s.Phase.String()+" "+s.Version) != state {
		l.t.Errorf("%s %s: %+v, ran %q, state %+v, want %s, %q, %q\n%s\n%s", action, version, out, did, s, status, ran, state, stdout, stderr)
	}
	return stdout, stderr
}

func (l *lab) holds(where, text, want string) {
	l.t.Helper()
	if !strings.Contains(text, want) {
		l.t.Errorf("%s lacks %q:\n%s", where, want, text)
	}
}

var good = map[string]string{"install": "", "uninstall": "", "validate": ""}

// TestLife: install, again, upgrade, uninstall, by either service.
func TestLife(t *testing.T) {
	t.Parallel()
	for _, arn := range []string{"", "arn:aws:ssm:eu-west-1:111122223333:package/Tool"} {
		t.Run(arn, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.arn = arn
			id := "Tool"
			if arn != "" {
				id = arn
			}
			l.serve("1.0", good)
			stdout, stderr := l.must(doc.Success, "install 1.0,validate 1.0", "Installed 1.0", install, "")
			if stderr != "" || !strings.Contains(stdout, "Initiating "+id+" 1.0 install\nPlugin aws:runShellScript ResultStatus Success\ninstall output: Running sh install.sh\n") || !strings.HasSuffix(stdout, "Successfully installed "+id+" 1.0\n") {
				t.Errorf("%q %q", stdout, stderr)
			}
			if r := l.report; r == nil || r.PackageName != id || r.PackageVersion != "1.0" || r.Operation != install || r.Result != 0 || r.Attributes["architecture"] != "x86_64" || len(r.Steps) < 4 || r.Steps[0].Action != "> download manifest" {
				t.Errorf("%+v", r)
			}
			stdout, _ = l.must(doc.Success, "validate 1.0", "Installed 1.0", install, "latest")
			l.holds("stdout", stdout, id+" 1.0 is already installed\n")
			if text := strings.Join(l.calls, " "); arn == "" && text != "GetManifest DescribeDocument PutConfigurePackageResult" || strings.Contains(text, "fetch") {
				t.Errorf("what is kept is fetched again: %s", text)
			}
			l.serve("2.0", good)
			l.must(doc.Success, "uninstall 1.0,install 2.0,validate 2.0", "Installed 2.0", install, "2.0")
			if l.report.PreviousPackageVersion != "1.0" {
				t.Errorf("%+v", l.report)
			}
			if _, err := os.Stat(l.Depot.Path(id, "1.0")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the old version is still there: %v", err)
			}
			stdout, _ = l.must(doc.Success, "", "Installed 2.0", uninstall, "1.0")
			l.holds("stdout", stdout, "1.0 is not installed")
			stdout, _ = l.must(doc.Success, "uninstall 2.0", "None 2.0", uninstall, "")
			l.holds("stdout", stdout, "Successfully uninstalled "+id+" 2.0")
			l.must(doc.Success, "", "None 2.0", uninstall, "")
			l.must(doc.Success, "install 2.0,validate 2.0", "Installed 2.0", install, "")
		})
	}
}

// TestFailedUpgradeIsRolledBack: also when nothing was there, and when the
// rollback fails too.
func TestFailedUpgradeIsRolledBack(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.serve("0", map[string]string{"install": "exit 1"})
	_, stderr := l.must(doc.Failed, "install 0", "Failed 0", install, "")
	l.holds("stderr", stderr, "Tool 0 could not be installed\n")
	l.holds("stderr", stderr, "install errors: failed to run commands: exit status 1")
	l.serve("1", good)
	l.must(doc.Success, "install 1,validate 1", "Installed 1", install, "")
	l.serve("2", map[string]string{"install": "echo no >&2; exit 3", "uninstall": "exit 4"})
	_, stderr = l.must(doc.Failed, "uninstall 1,install 2,uninstall 2,install 1,validate 1", "Installed 1", install, "2")
	l.holds("stderr", stderr, "install errors: no\nfailed to run commands: exit status 3")
	l.holds("stderr", stderr, "Tool 2 could not be installed; 1 is installed again")
	if l.report == nil || l.report.Result != 1 {
		t.Errorf("%+v", l.report)
	}
	l.serve("3", map[string]string{"install": "", "validate": "exit 1"})
	l.must(doc.Failed, "uninstall 1,install 3,validate 3,install 1,validate 1", "Installed 1", install, "3")
	l.serve("1b", map[string]string{"install": "[ ! -e " + l.notes + "broken ]", "uninstall": "touch " + l.notes + "broken"})
	l.must(doc.Success, "uninstall 1,install 1b", "Installed 1b", install, "1b")
	_, stderr = l.must(doc.Failed, "uninstall 1b,install 2,uninstall 2,install 1b", "Failed 2", install, "2")
	l.holds("stderr", stderr, "1b could not be installed again")
}

func TestInPlace(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	update := map[string]string{"install": "", "uninstall": "", "update": ""}
	l.serve("1", update)
	l.must(doc.Success, "install 1", "Installed 1", install, "", "installationType", inPlace)
	l.serve("2", update)
	l.must(doc.Success, "update 2", "Installed 2", install, "", "installationType", inPlace)
	l.serve("3", good)
	_, stderr := l.must(doc.Failed, "", "Failed 3", install, "", "installationType", inPlace)
	l.holds("stderr", stderr, "the package has no script update")
}

// TestRestart: a script asks for one, and the step runs again after it.
func TestRestart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.serve("1", map[string]string{"install": "exit 194", "validate": ""})
	l.must(doc.SuccessAndReboot, "install 1", "Installing 1", install, "")
	if l.report != nil || l.Depot.Traces("Tool") == nil {
		t.Errorf("reported before the restart: %+v", l.report)
	}
	stdout, _ := l.must(doc.Success, "validate 1", "Installed 1", install, "")
	if strings.Contains(stdout, "interrupted") || l.report == nil || l.report.Steps[0].Action != "> download manifest" || l.Depot.Traces("Tool") != nil {
		t.Errorf("%q %+v", stdout, l.report)
	}
	l.serve("2", map[string]string{"install": "", "uninstall": "[ -e " + l.notes + "up ] || { touch " + l.notes + "up; exit 194; }"})
	l.must(doc.Success, "install 2", "Installed 2", install, "2") // 1 has no uninstall
	l.serve("3", good)
	l.must(doc.SuccessAndReboot, "uninstall 2", "Upgrading 3", install, "3")
	l.must(doc.Success, "uninstall 2,install 3,validate 3", "Installed 3", install, "3")
	if l.report.PreviousPackageVersion != "2" {
		t.Errorf("%+v", l.report)
	}
}

// TestInterruptedInstallationIsBegunAgain: what a killed worker left is not
// taken for an installation, though the package has nothing to check it.
func TestInterruptedInstallationIsBegunAgain(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.serve("1", map[string]string{"install": "", "uninstall": ""})
	l.must(doc.Success, "install 1", "Installed 1", install, "")
	l.serve("2", map[string]string{"install": ""})
	for _, tc := range []struct {
		phase     depot.Phase
		about     string
		status    doc.Status
		ran, ends string
	}{
		{depot.Upgrading, "2", doc.Success, "uninstall 1,install 2", "Installed 2"},
		{depot.Installing, "2", doc.Success, "install 2", "Installed 2"},
		{depot.RollbackUninstall, "2", doc.Failed, "install 1", "Installed 1"},
		{depot.RollbackInstall, "1", doc.Failed, "install 1", "Installed 1"},
	} {
		if err := errors.Join(l.Depot.SetState("Tool", "1", depot.Installed), l.Depot.SetState("Tool", tc.about, tc.phase)); err != nil {
			t.Fatal(err)
		}
		stdout, _ := l.must(tc.status, tc.ran, tc.ends, install, "2")
		l.holds("stdout", stdout, "An earlier command was interrupted in state "+tc.phase.String()+" of Tool "+tc.about)
	}
	if err := l.Depot.SetState("Tool", "1", depot.Uninstalling); err != nil {
		t.Fatal(err)
	}
	l.must(doc.Success, "uninstall 1", "None 1", uninstall, "")
}

// TestChangedManifest: other content under the same version is installed, and
// stays.
func TestChangedManifest(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.serve("1", good)
	l.must(doc.Success, "install 1,validate 1", "Installed 1", install, "")
	l.serve("1", map[string]string{"install": "echo other", "uninstall": ""})
	l.must(doc.Success, "uninstall 1,install 1", "Installed 1", install, "")
	if err := l.Depot.Check("Tool", "1"); err != nil {
		t.Errorf("the content is gone: %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.serve("1", map[string]string{"install": `echo "$BWS_ACTION_NAME $BWS_PLATFORM_NAME $BWS_PLATFORM_VERSION $BWS_PLATFORM_FAMILY $BWS_ARCHITECTURE $BWS_INIT_SYSTEM $BWS_PACKAGE_MANAGER $BWS_INSTANCE_ID $BWS_REGION ${BWS_ACCOUNT_ID-unset} $http_proxy $SSM_X $(cat data/x)"`})
	stdout, _ := l.must(doc.Success, "install 1", "Installed 1", install, "", "additionalArguments", `{"SSM_X":"a b"}`)
	l.holds("stdout", stdout, "install output: Running sh install.sh\ninstall debian 12 debian x86_64 systemd apt mi-1 eu-west-1  http://proxy a b 1\n")
	b, err := os.ReadFile(filepath.Join(l.dir, "s", "1", "install", "_script.sh"))
	if err != nil || string(b) != "echo Running sh install.sh\nsh install.sh\n" {
		t.Errorf("%q %v", b, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.serve("1", good)
	for want, change := range map[string][]string{
		"neither Install nor":    {"action", "install"},
		"name is missing":        {"name", ""},
		"source must be empty":   {"source", "https://x"},
		"must begin with SSM_":   {"additionalArguments", `{"PATH":"x"}`},
		"JSON object of strings": {"additionalArguments", `[1]`},
		"a NUL character":        {"name", "a\x00"},
		"InvalidDocumentVersion": {"version", "9"},
	} {
		if out, _, stderr := l.run(t.Context(), install, "", change...); out.Status != doc.Failed || out.Code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%q: %+v %q", change, out, stderr)
		}
	}
	for want, archive := range map[string][]byte{"no zip archive": []byte("text"), "neither install.sh": nil} {
		l.serve("1", map[string]string{"uninstall": ""})
		if archive != nil {
			l.served["1"] = archive
		}
		if out, _, stderr := l.run(t.Context(), install, ""); out.Status != doc.Failed || !strings.Contains(stderr, want) {
			t.Errorf("%+v %q, want %q", out, stderr, want)
		}
	}
	l.broken = errors.New("no network")
	if out, _, stderr := l.run(t.Context(), install, ""); out.Status != doc.Failed || !strings.Contains(stderr, "no network") || strings.Count(strings.Join(l.calls, " "), "fetch") != 2 {
		t.Errorf("%+v %q %q", out, stderr, l.calls)
	}
	unlock, err := l.Depot.Lock("Tool")
	if err != nil {
		t.Fatal(err)
	}
	if out, _, stderr := l.run(t.Context(), install, ""); out.Status != doc.Failed || !strings.Contains(stderr, "another command is installing") {
		t.Errorf("%+v %q", out, stderr)
	}
	unlock()
	if out := l.Run(t.Context(), step.Input{Properties: map[string]any{"name": 7}, Stderr: io.Discard}); out.Reason != step.ReasonInput {
		t.Errorf("%+v", out)
	}
	over, cancel := context.WithCancelCause(t.Context())
	cancel(step.ErrCancelled)
	if out, _, _ := l.run(over, install, ""); out.Status != doc.Cancelled || out.Code != 1 {
		t.Errorf("%+v", out)
	}
}

func TestChecksums(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		sums map[string]string
		want string
	}{
		{nil, ""}, {map[string]string{"sha256": ""}, ""},
		{map[string]string{"SHA256": "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"}, ""},
		{map[string]string{"": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "sha512": "x"}, ""},
		{map[string]string{"md5": "098f6bcd4621d373cade4e832627b4f6"}, ""},
		{map[string]string{"md5": "00"}, "its MD5 is 098f6bcd4621d373cade4e832627b4f6, the manifest says \"00\""},
		{map[string]string{"sha512": "x"}, "algorithms that are not known"},
	} {
		checks, err := checksums(tc.sums)
		if err == nil {
			d := newLab(t).Depot
			if unlock, lerr := d.Lock("x"); lerr == nil {
				defer unlock()
			}
			stop := errors.New("stop")
			err = d.Put("x", "1", func(in *depot.Incoming) error {
				return errors.Join(receive(in, strings.NewReader("test"), checks), stop)
			})
			if errors.Is(err, stop) && tc.want == "" && err.Error() == "stop" {
				err = nil
			}
		}
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%v: %v, want %q", tc.sums, err, tc.want)
		}
	}
}

// cancelling cancels when a script runs.
type cancelling struct {
	step.Plugin
	cancel func()
}

func (c cancelling) Run(ctx context.Context, in step.Input) step.Outcome {
	c.cancel()
	return c.Plugin.Run(ctx, in)
}

// TestCancelled: stock agents let the scripts of packages run to their end.
func TestCancelled(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.serve("1", good)
	ctx, cancel := context.WithCancelCause(t.Context())
	shell := l.Scripts["aws:runShellScript"]
	l.Scripts = step.Set{"aws:runShellScript": cancelling{shell, func() { cancel(step.ErrCancelled) }}}
	if out, _, _ := l.run(ctx, install, ""); out.Status != doc.Cancelled || l.report != nil || l.Depot.State("Tool").Phase != depot.Installing {
		t.Errorf("%+v %+v", out, l.Depot.State("Tool"))
	}
	l.Scripts = step.Set{"aws:runShellScript": shell}
	l.must(doc.Success, "install 1,validate 1", "Installed 1", install, "")
}

func FuzzInputs(f *testing.F) {
	f.Add([]byte(`{"action":"Install","name":"Tool","additionalArguments":"{\"SSM_A\":\"b\"}"}`))
	f.Add([]byte(`{"additionalArguments":{"SSM_A":"b"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		if json.Unmarshal(b, &v) != nil {
			return
		}
		if i, err := decode(v); err == nil {
			for name := range i.arguments {
				if !strings.HasPrefix(name, "SSM_") {
					t.Fatalf("%q", name)
				}
			}
		}
	})
}
