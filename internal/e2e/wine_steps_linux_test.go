package e2e

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// wineNode is a Windows node whose agent can be started again.
type wineNode struct {
	wine
	*plane
	*program

	id, root string
}

func (n *wineNode) start() {
	n.program = n.windows("amazon-ssm-agent.exe", "-root", n.inside(n.root))
	n.line("agent started")
	n.online(n.id)
}

// at is a file of the node's.
func (n *wineNode) at(names ...string) string {
	return filepath.Join(append([]string{n.root}, names...)...)
}

// runs runs a document of these steps by the stock CLI.
func (n *wineNode) runs(document string, steps ...any) []outcome {
	n.plane.t.Helper()
	n.document(document, object("schemaVersion", "2.2", "mainSteps", steps))
	return n.plane.command(&node{id: n.id}, document, nil)
}

// standIn puts the recording program where another one would be.
func (n *wineNode) standIn(names ...string) (noted string) {
	n.plane.t.Helper()
	b, err := os.ReadFile(filepath.Join(os.Getenv("SSMAGENT_WINDOWS"), "powershell.exe"))
	if err != nil {
		n.plane.t.Fatal(err)
	}
	file := n.at(names...)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		n.plane.t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o700); err != nil {
		n.plane.t.Fatal(err)
	}
	return file + ".noted"
}

func action(action, name string, inputs map[string]any) map[string]any {
	return object("action", action, "name", name, "inputs", inputs)
}

func powerShell(name string, lines ...string) map[string]any {
	return action("aws:runPowerShellScript", name, object("runCommand", lines))
}

// expect compares the outcomes with what is wanted of each.
func expect(t *testing.T, got []outcome, want ...outcome) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, w := range want {
		if g := got[i]; g.Status != w.Status || g.ResponseCode != w.ResponseCode || !strings.Contains(g.Output, w.Output) {
			t.Errorf("%s: %s, code %d: %q\nwant %+v", g.Name, g.Status, g.ResponseCode, g.Output, w)
		}
	}
}

// TestWineSteps: the steps of Windows by the stock CLI, with wine's own Windows
// Installer and stand-ins for PowerShell and for what only AWS has.
func TestWineSteps(t *testing.T) {
	t.Parallel()
	w := newWine(t)
	p := newPlane(t)
	n := &wineNode{wine: w, plane: p}
	n.id, n.root = w.registered(p, map[string]any{"ssmagent": map[string]any{"SealKey": true}})
	n.sealed(true)
	n.start()
	n.tellsWhoItIs()
	n.runsAndInstalls()
	n.removesAndCalls()
	n.endsTrees()
	n.restarts()
	n.kill()
	p.configureAt(n.at("Program Files", "Amazon", "SSM"), nil)
	n.start()
	n.sealed(false)
}

// sealed looks whether the private key lies on the disk as it is.
func (n *wineNode) sealed(want bool) {
	n.plane.t.Helper()
	b, err := os.ReadFile(n.at("ProgramData", "Amazon", "SSM", "InstanceData", "Vault", "Store", "RegistrationKey"))
	if err != nil {
		n.plane.t.Fatal(err)
	}
	if plain := bytes.Contains(b, []byte("privateKey")); plain == want || bytes.Contains(b, []byte("ssmagentSealed")) != want {
		n.plane.t.Errorf("sealed is to be %v: %.80s", want, b)
	}
}

func (n *wineNode) tellsWhoItIs() {
	n.plane.t.Helper()
	var out struct {
		InstanceInformationList []struct{ PlatformType, PlatformName, PlatformVersion, ComputerName string }
	}
	n.awsJSON(&out, "ssm", "describe-instance-information", "--filters", "Key=InstanceIds,Values="+n.id)
	if len(out.InstanceInformationList) != 1 {
		n.plane.t.Fatalf("%+v", out)
	}
	i := out.InstanceInformationList[0]
	if i.PlatformType != "Windows" || !strings.HasPrefix(i.PlatformName, "Microsoft Windows") || !strings.HasPrefix(i.PlatformVersion, "10.0.") || i.ComputerName == "" {
		n.plane.t.Errorf("%+v", i)
	}
}

const labPackage = `<?xml version="1.0" encoding="utf-8"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
  <Product Id="5B0E1E7A-7C4B-4C3A-9C43-0D5F1B2A3C4D" Name="ssmagent lab" Language="1033" Version="1.2.3" Manufacturer="Lab" UpgradeCode="11111111-2222-3333-4444-555555555556">
    <Package InstallerVersion="200" Compressed="yes" InstallScope="perMachine" Platform="x64"/>
    <Media Id="1" Cabinet="lab.cab" EmbedCab="yes"/>
    <Property Id="WORD" Secure="yes"/>
    <Directory Id="TARGETDIR" Name="SourceDir"><Directory Id="ProgramFiles64Folder"><Directory Id="INSTALLDIR" Name="ssmagent lab">
      <Component Id="Main" Guid="22222222-2222-3333-4444-555555555556" Win64="yes">
        <File Id="readme.txt" Source="readme.txt" KeyPath="yes"/>
        <RegistryKey Root="HKLM" Key="SOFTWARE\ssmagent lab"><RegistryValue Name="Word" Type="string" Value="[WORD]"/></RegistryKey>
      </Component>
    </Directory></Directory></Directory>
    <Feature Id="F" Level="1"><ComponentRef Id="Main"/></Feature>
  </Product>
</Wix>
`

// buildPackage makes a package of the Windows Installer.
func buildPackage(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"lab.wxs": labPackage, "readme.txt": "read"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("wixl", "-a", "x64", "-o", "lab.msi", "lab.wxs")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		unable(t, "wixl, to build a package: "+err.Error()+" "+string(out))
	}
	b, err := os.ReadFile(filepath.Join(dir, "lab.msi"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// served has content under a name at an address, by a server or in the plane's
// store, and says what of an action's inputs leads there.
func (n *wineNode) served(name string, content []byte) map[string]any {
	n.plane.t.Helper()
	sum := sha256.Sum256(content)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := w.Write(content); err != nil {
			n.plane.t.Error(err)
		}
	}))
	n.plane.t.Cleanup(srv.Close)
	return object("source", srv.URL+"/"+name, "sourceHash", hex.EncodeToString(sum[:]))
}

func (n *wineNode) stored(name string, content []byte) map[string]any {
	n.plane.t.Helper()
	file := filepath.Join(n.plane.t.TempDir(), name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		n.plane.t.Fatal(err)
	}
	n.awsJSON(nil, "s3api", "create-bucket", "--bucket", "lab")
	n.awsJSON(nil, "s3api", "put-object", "--bucket", "lab", "--key", name, "--body", file)
	return object("source", "https://s3.us-east-1.amazonaws.com/lab/"+name)
}

func application(name, deed string, source map[string]any) map[string]any {
	inputs := object("action", deed, "parameters", `WORD="two words"`)
	maps.Copy(inputs, source)
	return action("aws:applications", name, inputs)
}

func module(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create("SsmagentLab/SsmagentLab.psm1")
	if err == nil {
		_, err = io.WriteString(f, "# a module")
	}
	if err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func joinStep() map[string]any {
	return action("aws:domainJoin", "join", object("directoryId", "d-1234567890", "directoryName", "corp.example", "directoryOU", "OU=a b,DC=corp", "dnsIpAddresses", []string{"10.0.0.1"}))
}

func watchStep(startType string) map[string]any {
	s := action("aws:cloudWatch", "watch", object("EngineConfiguration", object("PollInterval", "00:00:15")))
	s["settings"] = object("startType", startType)
	return s
}

// runsAndInstalls: scripts, of which one is so deep that its path is longer than
// programs of Windows take; packages; a module; and programs that are not there.
func (n *wineNode) runsAndInstalls() {
	t := n.plane.t
	t.Helper()
	modules := n.served("lab.zip", module(t))
	modules["runCommand"] = []any{"first", []any{"exit 4"}}
	expect(t, n.runs("First", powerShell("bytes", "print-bytes"), powerShell("fault", "exit 3221225477"), powerShell("minus", "exit -1"), powerShell(strings.Repeat("d", 128), "exit 0"),
		application("install", "Install", n.stored("lab.msi", buildPackage(t))), application("bad", "Install", n.served("bad.msi", []byte("no package"))),
		action("aws:psModule", "module", modules), joinStep(), watchStep("Enabled")),
		outcome{"", "Success", "marked as UTF-8: true", 0},
		outcome{"", "Failed", "failed to run commands: exit status 0xc0000005", -1073741819},
		outcome{"", "Failed", "failed to run commands: exit status 0xffffffff", -1},
		outcome{"", "Success", "called with", 0},
		outcome{"", "Success", "https://s3.us-east-1.amazonaws.com/lab/lab.msi", 0},
		outcome{"", "Failed", "Action:{Install}; Status:{Failed}; ErrorCode:{1627}", 1627}, // Windows' own has 1620
		outcome{"", "Failed", "marked as UTF-8: false", 4},
		outcome{"", "Failed", "AWS.DomainJoin.exe is not there: joining a domain is done by a program of AWS", 1},
		outcome{"", "Failed", "AWS.CloudWatch.exe is not there: logs and counters are sent by a program of AWS", 1})
	n.looksAtFiles()
	q := exec.Command("wine", "reg", "query", `HKLM\SOFTWARE\ssmagent lab`, "/v", "Word")
	q.Env = append(environment(t), "WINEPREFIX="+n.prefix, "WINEDEBUG=-all")
	if out, err := q.Output(); err != nil || !bytes.Contains(out, []byte("two words")) {
		t.Errorf("%s %v", out, err)
	}
}

func (n *wineNode) looksAtFiles() {
	t := n.plane.t
	t.Helper()
	drive := filepath.Join(n.prefix, "drive_c")
	for name, want := range map[string]string{
		filepath.Join(drive, "Program Files", "ssmagent lab", "readme.txt"):                                                    "read",
		filepath.Join(drive, "windows", "system32", "WindowsPowerShell", "v1.0", "Modules", "SsmagentLab", "SsmagentLab.psm1"): "# a module",
	} {
		if b, err := os.ReadFile(name); err != nil || string(b) != want {
			t.Errorf("%q %v", b, err)
		}
	}
	var deep, raw bool
	err := filepath.WalkDir(n.at("ProgramData", "Amazon", "SSM", "InstanceData", n.id, "document", "orchestration"), func(name string, d fs.DirEntry, err error) error {
		inside := len(n.inside(n.root)) + len(name) - len(n.root)
		switch {
		case err != nil:
			return err
		case d.Name() == "_script.ps1":
			deep = deep || inside > 259
		case d.Name() == "stdout":
			b, err := os.ReadFile(name)
			raw = raw || bytes.Contains(b, []byte("<\x81\xff>"))
			return err
		}
		return nil
	})
	if err != nil || !deep || !raw {
		t.Errorf("%v; a script lies deep: %v, bytes are as they were printed: %v", err, deep, raw)
	}
}

// removesAndCalls: the package goes, and AWS's programs, which are there now, are
// called.
func (n *wineNode) removesAndCalls() {
	t := n.plane.t
	t.Helper()
	plugins := []string{"Program Files", "Amazon", "SSM", "Plugins"}
	n.standIn(append(plugins, "awsDomainJoin", "AWS.DomainJoin.exe")...)
	noted := n.standIn(append(plugins, "awsCloudWatch", "AWS.CloudWatch.exe")...)
	lab := object("source", "https://s3.us-east-1.amazonaws.com/lab/lab.msi")
	expect(t, n.runs("Second", application("remove", "Uninstall", lab), application("again", "Uninstall", lab), application("repair", "Repair", lab), joinStep(), watchStep("Enabled")),
		outcome{"", "Success", "lab.msi", 0},
		outcome{"", "Success", "lab.msi", 0},
		outcome{"", "Failed", "ErrorCode:{1605}", 1605},
		outcome{"", "Success", `["--directory-id" "d-1234567890" "--directory-name" "corp.example" "--instance-region" "us-east-1" "--directory-ou" "OU=a b,DC=corp" "--dns-addresses" "10.0.0.1"]`, 0},
		outcome{"", "Success", "PollInterval", 0})
	if _, err := os.Stat(filepath.Join(n.prefix, "drive_c", "Program Files", "ssmagent lab", "readme.txt")); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	const config = "AWS.EC2.Windows.CloudWatch.json"
	if got := n.file(noted, 1); got[0] != n.id+" us-east-1 "+n.inside(n.root)+`\Program Files\Amazon\SSM\Plugins\awsCloudWatch\`+config {
		t.Errorf("%q", got)
	}
	running := func() int { return len(processes("AWS.CloudWatch.exe")) }
	eventually(t, "the program to run", func() bool { return running() > 0 })
	expect(t, n.plane.command(&node{id: n.id}, "AWS-ConfigureCloudWatch", map[string]any{"status": []string{"Disabled"}}), outcome{"", "Success", "", 0})
	eventually(t, "the program to be gone", func() bool { return running() == 0 })
	if b, err := os.ReadFile(filepath.Join(filepath.Dir(noted), config)); err != nil || !bytes.Contains(b, []byte(`"IsEnabled": false`)) {
		t.Errorf("%s %v", b, err)
	}
}

// sends sends a script by the SDK.
func (n *wineNode) sends(line string) (id string) {
	n.plane.t.Helper()
	out, err := n.sdk().SendCommand(n.plane.t.Context(), &ssm.SendCommandInput{DocumentName: aws.String("AWS-RunPowerShellScript"),
		InstanceIds: []string{n.id}, Parameters: map[string][]string{"commands": {line}}})
	if err != nil {
		n.plane.t.Fatal(err)
	}
	return *out.Command.CommandId
}

// endsTrees: a cancelled script ends with what it started.
func (n *wineNode) endsTrees() {
	n.plane.t.Helper()
	id := n.sends("start-and-wait")
	eventually(n.plane.t, "the tree to grow", func() bool { return len(processes("ssmagent-sleeper")) > 0 })
	n.awsJSON(nil, "ssm", "cancel-command", "--command-id", id)
	if steps := n.steps(id); len(steps) != 1 || steps[0].Status != "Cancelled" {
		n.plane.t.Errorf("%+v", steps)
	}
	eventually(n.plane.t, "the tree to be gone", func() bool { return len(processes("ssmagent-sleeper")) == 0 })
}

// restarts: exit code 3010 asks for a restart of the machine, after which the
// step runs again.
func (n *wineNode) restarts() {
	n.plane.t.Helper()
	noted := n.standIn("windows", "system32", "shutdown.exe")
	id := n.sends("restart-once")
	if got := n.file(noted, 1); got[0] != "-r -t 60" {
		n.plane.t.Errorf("%q", got)
	}
	n.kill()
	n.start()
	inv := n.invocation(id, n.id)
	if inv.Status != types.CommandInvocationStatusSuccess || strings.Count(aws.ToString(inv.StandardOutputContent), "called with") != 2 {
		n.plane.t.Errorf("%s %q", inv.Status, aws.ToString(inv.StandardOutputContent))
	}
}
