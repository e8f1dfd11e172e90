package e2e

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"ssmagent/internal/wire/manifest"
)

// packed writes an archive; names that end in @ become symbolic links.
func packed(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, text := range files {
		h := &zip.FileHeader{Name: strings.TrimSuffix(name, "@"), Method: zip.Deflate}
		h.SetMode(0o755)
		if strings.HasSuffix(name, "@") {
			h.SetMode(fs.ModeSymlink | 0o777)
		}
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// shelf is a folder of packages that is copied into the object store at once.
type shelf struct {
	*plane

	dir string
}

// put lays a version of a package on the shelf.
func (s shelf) put(name, version, arn string, files map[string]string) {
	s.t.Helper()
	dir, archive := filepath.Join(s.dir, name, version), packed(s.t, files)
	sum := sha256.Sum256(archive)
	m, err := json.Marshal(manifest.Manifest{SchemaVersion: "2.0", Version: version, PackageARN: arn,
		Packages: map[string]map[string]map[string]manifest.Target{"_any": {"_any": {"_any": {File: "tool.zip"}}}},
		Files:    map[string]manifest.File{"tool.zip": {Checksums: map[string]string{"sha256": hex.EncodeToString(sum[:])}}}})
	if err := errors.Join(err, os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "tool.zip"), archive, 0o600), os.WriteFile(filepath.Join(dir, "m.json"), m, 0o600)); err != nil {
		s.t.Fatal(err)
	}
}

// copy takes the shelf to the object store, by the stock CLI.
func (s shelf) copy() {
	s.t.Helper()
	s.awsJSON(nil, "s3api", "create-bucket", "--bucket", "lab")
	if _, e, code := s.aws("s3", "cp", "--quiet", "--recursive", s.dir, "s3://lab/"); code != 0 {
		s.t.Fatal(e)
	}
}

// cli publishes a version by the stock CLI: deed is create-document or
// update-document.
func (s shelf) cli(deed, name, version string, more ...string) {
	s.t.Helper()
	s.awsJSON(nil, append([]string{"ssm", deed, "--name", name, "--version-name", version, "--content", "file://" + filepath.Join(s.dir, name, version, "m.json"),
		"--attachments", "Key=SourceUrl,Values=s3://lab/" + name + "/" + version}, more...)...)
}

// publish does the same by the SDK, which is faster.
func (s shelf) publish(name, version string) {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name, version, "m.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	in := &ssm.CreateDocumentInput{Name: &name, VersionName: &version, Content: aws.String(string(b)), DocumentType: types.DocumentTypePackage,
		Attachments: []types.AttachmentsSource{{Key: types.AttachmentsSourceKeySourceUrl, Values: []string{"s3://lab/" + name + "/" + version}}}}
	if _, err := s.sdk().CreateDocument(s.t.Context(), in); err != nil {
		s.t.Fatal(err)
	}
}

// install runs AWS-ConfigureAWSPackage, ordered by the CLI or by the SDK.
func (p *plane) install(n *node, cli bool, action, name, version string) outcome {
	p.t.Helper()
	parameters := map[string][]string{"action": {action}, "name": {name}, "version": {version}, "additionalArguments": {`{"SSM_GREETING":"hello"}`}}
	var id string
	if cli {
		given := map[string]any{}
		for k, v := range parameters {
			given[k] = v
		}
		id = p.order(n, "AWS-ConfigureAWSPackage", given)
	} else {
		out, err := p.sdk().SendCommand(p.t.Context(), &ssm.SendCommandInput{DocumentName: aws.String("AWS-ConfigureAWSPackage"), InstanceIds: []string{n.id}, Parameters: parameters})
		if err != nil {
			p.t.Fatal(err)
		}
		id = *out.Command.CommandId
	}
	steps := p.steps(id)
	if len(steps) != 1 {
		p.t.Fatalf("%+v", steps)
	}
	return steps[0]
}

// TestPackages: the stock CLI publishes packages and orders, the node installs,
// upgrades, goes back when an upgrade fails, and uninstalls.
func TestPackages(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	there := filepath.Join(t.TempDir(), "there")
	tool := func(version, install string) map[string]string {
		return map[string]string{"install.sh": `echo "$SSM_GREETING $BWS_ACTION_NAME"; cp data/tool ` + there + "\n" + install, "uninstall.sh": "rm " + there, "validate.sh": "grep -q " + version + " " + there, "data/tool": version}
	}
	const arn = "arn:aws:ssm:us-east-1:000000000000:package/Service"
	s := shelf{p, t.TempDir()}
	s.put("Tool", "1.0", "", tool("1.0", ""))
	s.put("Tool", "2.0", "", tool("2.0", ""))
	s.put("Tool", "3.0", "", tool("3.0", "exit 1"))
	s.put("Service", "1.0", arn, tool("service", ""))
	s.put("Evil", "1.0", "", map[string]string{"install.sh": "echo", "link@": "/etc/passwd"})
	s.copy()
	s.cli("create-document", "Tool", "1.0", "--document-type", "Package")
	s.cli("update-document", "Tool", "2.0", "--document-version", "$LATEST")
	s.cli("update-document", "Tool", "3.0", "--document-version", "$LATEST")
	s.publish("Service", "1.0")
	s.publish("Evil", "1.0")
	for _, tc := range []struct {
		cli                                            bool
		action, name, version, status, says, installed string
	}{
		{true, "Install", "Tool", "", "Success", "install output: Running sh install.sh\nhello install\n", "1.0"},
		{false, "Install", "Tool", "", "Success", "Tool 1.0 is already installed\n", "1.0"},
		{true, "Install", "Tool", "2.0", "Success", "Successfully installed Tool 2.0\n", "2.0"},
		{true, "Install", "Tool", "3.0", "Failed", "Tool 3.0 could not be installed; 2.0 is installed again\n", "2.0"},
		{false, "Install", "Evil", "", "Failed", `the archive has a symbolic link "link"; links are not unpacked`, "2.0"},
		{false, "Install", "None", "", "Failed", "there is no document \"None\" here", "2.0"},
		{true, "Uninstall", "Tool", "", "Success", "Successfully uninstalled Tool 2.0\n", ""},
		{false, "Install", "Service", "", "Success", "Successfully installed " + arn + " 1.0\n", "service"},
		{false, "Uninstall", arn, "1.0", "Success", "Successfully uninstalled " + arn + " 1.0\n", ""},
	} {
		got := p.install(n, tc.cli, tc.action, tc.name, tc.version)
		b, _ := os.ReadFile(there)
		if got.Status != tc.status || !strings.Contains(got.Output, tc.says) || string(b) != tc.installed {
			t.Errorf("%+v: %+v, installed is %q", tc, got, b)
		}
	}
	left, err := filepath.Glob(filepath.Join(n.root, "var/lib/amazon/ssm/packages/*/*"))
	if slices.ContainsFunc(left, func(f string) bool { return filepath.Base(f) != "installstate" }) || len(left) != 3 || err != nil {
		t.Errorf("%q %v: want the states of the three packages that were there, and no content", left, err)
	}
}

// TestKilledInstallation: the worker dies in the middle of an installation. The
// command says so, and the next one begins the installation again.
func TestKilledInstallation(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	g := newGate(t)
	s := shelf{p, t.TempDir()}
	s.put("Tool", "1.0", "", map[string]string{"install.sh": strings.Join(g.script(), "\n"), "data": "x"})
	s.copy()
	s.publish("Tool", "1.0")
	id := p.order(n, "AWS-ConfigureAWSPackage", object("action", []string{"Install"}, "name", []string{"Tool"}))
	p.file(g.ran, 1)
	for _, pid := range workersOf(n.root) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if steps := p.steps(id); len(steps) != 1 || steps[0].Status != "Failed" || !strings.Contains(steps[0].Output, "not run again") {
		t.Errorf("%+v", steps)
	}
	script, err := strconv.Atoi(strings.TrimSpace(p.file(g.ran, 1)[0]))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the script of the killed worker to end", func() bool { return !alive(strconv.Itoa(script)) })
	var state struct{ State int }
	b, err := os.ReadFile(filepath.Join(n.root, "var/lib/amazon/ssm/packages/Tool/installstate"))
	if err = errors.Join(err, json.Unmarshal(b, &state)); err != nil || state.State != 7 {
		t.Errorf("%s %v: want Installing, which is 7", b, err)
	}
	g.release(t)
	got := p.install(n, false, "Install", "Tool", "")
	if got.Status != "Success" || !strings.Contains(got.Output, "An earlier command was interrupted in state Installing of Tool 1.0; it is gone on with.\n") || !strings.Contains(got.Output, "Successfully installed Tool 1.0") {
		t.Errorf("%+v", got)
	}
	if lines := p.file(g.ran, 2); len(lines) != 2 {
		t.Errorf("the script ran %d times", len(lines))
	}
}
