package e2e

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// table is a table of an MSI: its rows, without the three that describe them.
func table(t *testing.T, msi, name string) [][]string {
	t.Helper()
	out, err := exec.Command("msiinfo", "export", msi, name).Output()
	if err != nil {
		t.Fatalf("msiinfo export %s: %v", name, err)
	}
	var rows [][]string
	for _, line := range strings.Split(strings.TrimRight(string(out), "\r\n"), "\n")[3:] {
		rows = append(rows, strings.Split(strings.TrimRight(line, "\r"), "\t"))
	}
	return rows
}

// column is two columns of a table as a map.
func column(rows [][]string, key, value int) map[string]string {
	m := map[string]string{}
	for _, r := range rows {
		m[r[key]] = r[value]
	}
	return m
}

// TestWineTables: the tables of the MSI say what is meant, also where the builder
// has no word for it or says something else.
func TestWineTables(t *testing.T) {
	t.Parallel()
	msi := filepath.Join(packages(t), "0", "windows_amd64", "amazon-ssm-agent.msi")
	for _, want := range []struct {
		table      string
		key, value int
		rows       map[string]string
	}{
		{"Property", 0, 1, map[string]string{
			"MsiHiddenProperties": "CODE", "REINSTALLMODE": "amus", "ALLUSERS": "1", "ProductVersion": firstVersion,
			"SecureCustomProperties": "ALLOWDOWNGRADE;CODE;ID;NEWERFOUND;OTHERFOUND;OURSFOUND;REGION;REMOVEPROGRAMDATA;SERVICEFOUND;TAKEOVER;WINDOWSMAJOR",
			"UpgradeCode":            "{C0E1A6A8-A858-49B4-9DC3-DDEEEB5A6F0F}", // for ever
		}},
		{"LaunchCondition", 0, 1, map[string]string{
			"Installed OR NOT NEWERFOUND OR ALLOWDOWNGRADE": "updating amazon-ssm-agent to an older version, please enable allow downgrade to proceed",
			"Installed OR WINDOWSMAJOR":                     "ssmagent needs Windows 10, Windows Server 2016 or a later one.",
		}},
		// 18: a program of the package; 0x400 in the transaction, 0x800 as LocalSystem, 0x2000 not logged; a failure counts.
		{"CustomAction", 0, 1, map[string]string{"Configure": strconv.Itoa(18 + 0x400 + 0x800), "Sweep": strconv.Itoa(18 + 0x400 + 0x800), "Register": strconv.Itoa(18 + 0x400 + 0x800 + 0x2000)}},
		{"CustomAction", 0, 3, map[string]string{"Configure": "service configure", "Sweep": "service sweep", "Purge": "service purge", "Register": `-register -y -code "[CODE]" -id "[ID]" -region "[REGION]"`}},
		{"ServiceInstall", 1, 4, map[string]string{"AmazonSSMAgent": "2"}},     // automatic
		{"ServiceInstall", 1, 5, map[string]string{"AmazonSSMAgent": "32769"}}, // a failure counts
		{"ServiceControl", 1, 2, map[string]string{"AmazonSSMAgent": "163"}},   // start, stop at both ends, delete when uninstalled
		{"File", 0, 4, map[string]string{"Agent": firstVersion, "Template": "", "License": "", "Notice": ""}},
		{"Upgrade", 6, 4, map[string]string{"OTHERFOUND": "256", "NEWERFOUND": "2"}}, // from there on; to be found only
		{"DuplicateFile", 0, 3, map[string]string{"Cli": "ssm-cli.exe", "Local": "SSMLOCAL.EXE|ssm-local.exe"}},
		{"RemoveFile", 2, 4, map[string]string{"ssm-cli.exe": "1", "SSMLOCAL.EXE|ssm-local.exe": "1"}},
		{"Component", 0, 1, map[string]string{ // for ever
			"Agent": "{36C90038-B075-44A1-9A7F-EDC94227D100}", "Template": "{FA11CEF4-AABF-472D-8886-3136BF784D06}",
			"License": "{E5736898-E4AE-4189-9231-B4E078ADFDAE}", "Notice": "{6A0AE78E-3849-436D-AE38-9AB4347EC78E}",
		}},
		{"Component", 0, 3, map[string]string{"Agent": "256", "Template": "256"}}, // 64 bits
	} {
		have := column(table(t, msi, want.table), want.key, want.value)
		for k, v := range want.rows {
			if have[k] != v {
				t.Errorf("%s: %s is %q, want %q", want.table, k, have[k], v)
			}
		}
	}
}

// TestWineSequence: what the MSI does, it does in this order.
func TestWineSequence(t *testing.T) {
	t.Parallel()
	at := column(table(t, filepath.Join(packages(t), "0", "windows_amd64", "amazon-ssm-agent.msi"), "InstallExecuteSequence"), 0, 2)
	last := 0
	for _, action := range []string{"FindRelatedProducts", "AppSearch", "LaunchConditions", "InstallInitialize", "StopServices", "Sweep", "RemoveFiles", "InstallFiles",
		"DuplicateFiles", "WriteRegistryValues", "InstallServices", "Configure", "Register", "StartServices", "InstallExecute", "RemoveExistingProducts", "InstallFinalize"} {
		n, err := strconv.Atoi(at[action])
		if err != nil || n <= last {
			t.Errorf("%s is at %q, after %d", action, at[action], last)
		}
		last = n
	}
}

// packMSI makes an MSI of the description in root.
func packMSI(t *testing.T, root, arch, msi string, more ...string) (string, error) {
	t.Helper()
	pack, err := filepath.Abs("../../build/tools/pack")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(pack, append([]string{"-format", "msi", "-arch", arch, "-bin", filepath.Join(packages(t), "0", "windows_amd64"),
		"-version", firstVersion, "-time", "1700000000", "-out", msi}, more...)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestWineTables386: the MSI for 32 bits is one, and the same each time.
func TestWineTables386(t *testing.T) {
	t.Parallel()
	first, second := filepath.Join(t.TempDir(), "agent.msi"), filepath.Join(t.TempDir(), "agent.msi")
	for _, msi := range []string{first, second} {
		if out, err := packMSI(t, "../..", "386", msi); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	a, errA := os.ReadFile(first)
	b, errB := os.ReadFile(second)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("two builds differ: %v, %v", errA, errB)
	}
	summary, err := exec.Command("msiinfo", "suminfo", first).Output()
	if err != nil || !strings.Contains(string(summary), "Template: Intel;1033") {
		t.Errorf("%v\n%s", err, summary)
	}
	if parents := column(table(t, first, "Directory"), 0, 1); parents["Amazon"] != "ProgramFilesFolder" {
		t.Errorf("the folder is below %s", parents["Amazon"])
	}
	if conditions := column(table(t, first, "LaunchCondition"), 0, 1); conditions["Installed OR NOT VersionNT64"] == "" {
		t.Errorf("64-bit Windows is not refused: %q", conditions)
	}
	if bits := column(table(t, first, "Component"), 0, 3); bits["Agent"] != "0" {
		t.Errorf("component of %s", bits["Agent"])
	}
}

// TestWineBuilderWarns: a description with a word that the builder drops, and
// only warns of, makes no package.
func TestWineBuilderWarns(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "installer"} {
		from, err := filepath.Abs(filepath.Join("../..", name))
		if err == nil {
			err = os.Symlink(from, filepath.Join(root, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile("../../wix/agent.wxs")
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(b, []byte(`<Component Id="Template"`), []byte(`<Component Id="Template" Permanent="yes"`), 1)
	err = os.Mkdir(filepath.Join(root, "wix"), 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "wix", "agent.wxs"), changed, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	msi := filepath.Join(root, "agent.msi")
	if out, err := packMSI(t, root, "amd64", msi); err == nil || !strings.Contains(out, "wixl warns") || !strings.Contains(out, "Permanent") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := os.Stat(msi); err == nil {
		t.Error("there is a package all the same")
	}
}

// TestWineSignature: what is signed by the given certificate holds up to a check,
// and nothing that was changed afterwards does.
func TestWineSignature(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("osslsigncode"); err != nil {
		unable(t, "osslsigncode")
	}
	dir := t.TempDir()
	cert, key := selfMade(t, dir)
	msi := filepath.Join(dir, "agent.msi")
	if out, err := packMSI(t, "../..", "amd64", msi, "-cert", cert, "-key", key); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command("msiextract", "-C", dir, msi).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var program string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if filepath.Base(path) == "amazon-ssm-agent.exe" {
			program = path
		}
		return err
	})
	if err != nil || program == "" {
		t.Fatalf("no program in the MSI: %v", err)
	}
	for _, file := range []string{msi, program} {
		verify := func() ([]byte, error) {
			return exec.Command("osslsigncode", "verify", "-CAfile", cert, "-in", file).CombinedOutput()
		}
		if out, err := verify(); err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(file), err, out)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := verify(); err == nil {
			t.Errorf("%s: a changed byte is not noticed\n%s", filepath.Base(file), out)
		}
	}
}

// selfMade is a certificate for signing code, and its key.
func selfMade(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "made for a test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestWineInstallScripts: the batch files of the ZIP hand the stock agent's words
// to PowerShell, and its exit code on.
func TestWineInstallScripts(t *testing.T) {
	t.Parallel()
	w := newWine(t)
	z, err := zip.OpenReader(filepath.Join(packages(t), "0", "windows_amd64", "amazon-ssm-agent.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	folder := `C:\unpacked here`
	if err := os.MkdirAll(w.path(folder), 0o700); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range z.File {
		names = append(names, f.Name)
		if strings.HasSuffix(f.Name, ".bat") {
			w.unzip(f, folder)
		}
	}
	if want := []string{"LICENSE", "NOTICE.md", "amazon-ssm-agent.exe", "amazon-ssm-agent.json.template", "install.bat", "install.ps1", "uninstall.bat", "uninstall.ps1"}; !slices.Equal(names, want) {
		t.Errorf("files %q, want %q", names, want)
	}
	const called = `called with ["-NoProfile" "-NonInteractive" "-ExecutionPolicy" "Bypass" "-File" `
	for line, want := range map[string]struct {
		says string
		ok   bool
	}{
		`install.bat`: {called + `"C:\\unpacked here\\install.ps1"]`, true},
		`install.bat registermanagedinstance c0de id us-east-1`:       {called + `"C:\\unpacked here\\install.ps1" "-Register" "-Code" "c0de" "-Id" "id" "-Region" "us-east-1"]`, true},
		`install.bat RegisterManagedInstance c0de "exit 3" us-east-1`: {called, false}, // what the recorder takes for its end
		`install.bat RegisterManagedInstance c0de`:                    {"usage: install.bat", false},
		`uninstall.bat`:                   {called + `"C:\\unpacked here\\uninstall.ps1"]`, true},
		`uninstall.bat RemoveProgramData`: {called + `"C:\\unpacked here\\uninstall.ps1" "-RemoveProgramData"]`, true},
		`uninstall.bat everything`:        {"usage: uninstall.bat", false},
	} {
		name, words, _ := strings.Cut(line, " ")
		caller := fmt.Sprintf("@echo off\r\ncall \"%s\\%s\" %s\r\nexit /b %%errorlevel%%\r\n", folder, name, words)
		if err := os.WriteFile(w.path(`C:\caller.bat`), []byte(caller), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := w.command(t, "cmd", "/c", `C:\caller.bat`); (err == nil) != want.ok || !strings.Contains(out, want.says) {
			t.Errorf("%s: %v\n%s\nwant %s", line, err, out, want.says)
		}
	}
}

// unzip unpacks one file into a folder of the machine.
func (m wine) unzip(f *zip.File, folder string) {
	m.t.Helper()
	r, err := f.Open()
	if err != nil {
		m.t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err == nil && bytes.Contains(bytes.ReplaceAll(b, []byte("\r\n"), nil), []byte("\n")) {
		m.t.Errorf("%s has lines that do not end as Windows' do", f.Name)
	}
	if err == nil {
		err = os.WriteFile(m.path(folder+`\`+f.Name), b, 0o600)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}
