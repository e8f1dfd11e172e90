package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// What msiexec answers. Wine tells a failed action otherwise than Windows, which
// has 1603 for both.
const (
	msiDone    = 0
	msiRefused = 1603
	msiUndone  = 1627
)

// setup is a Windows machine on which the MSI is installed and removed: the
// whole machine, so that there is one such test on it, and none beside it.
type setup struct {
	wine
	p    *plane
	runs int
}

// newSetup is a machine that Windows Installer takes for Windows 10.
func newSetup(t *testing.T) *setup {
	t.Helper()
	m := &setup{wine: newWine(t), p: newPlane(t)}
	// Wine tells services another place for data than everybody else.
	if err := os.Symlink(m.path(`C:\ProgramData\Amazon`), m.path(`C:\users\Public\Amazon`)); err != nil {
		t.Fatal(err)
	}
	m.p.configureAt(filepath.Dir(m.path(configFile)), nil)
	for i, name := range []string{"old", "new"} {
		m.put(filepath.Join(packages(t), strconv.Itoa(i), "windows_amd64", "amazon-ssm-agent.msi"), `C:\`+name+".msi")
	}
	return m
}

// packages is where those of two versions are.
func packages(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("SSMAGENT_WINDOWS_PACKAGES")
	if dir == "" {
		unable(t, "packages for Windows: run make test-windows")
	}
	return dir
}

// path is where the machine's file name lies here.
func (m wine) path(name string) string {
	return filepath.Join(m.prefix, "drive_c", filepath.FromSlash(strings.ReplaceAll(strings.TrimPrefix(name, `C:\`), `\`, "/")))
}

// put copies a file into the machine.
func (m wine) put(from, name string) {
	m.t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(m.path(name), b, 0o700)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// notStarted is what wine says when it has not started a program: now and then,
// and not the next time.
const notStarted = "ShellExecuteEx failed: Internal error"

// command runs a program of the machine to its end.
func (m wine) command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	for try := 1; ; try++ {
		out, err := exec.Command(os.Getenv("WINRUN"), args...).CombinedOutput()
		if err == nil || try == 3 || !strings.Contains(string(out), notStarted) {
			return string(out), err
		}
		t.Logf("wine has not started %q", args)
	}
}

// succeeds is a command that has to.
func (m wine) succeeds(t *testing.T, args ...string) string {
	t.Helper()
	out, err := m.command(t, args...)
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

// msiexec is Windows Installer. Of its exit code only a program of the machine's
// sees all.
func (m *setup) msiexec(t *testing.T, want int, words string) {
	t.Helper()
	m.runs++
	script := fmt.Sprintf(`C:\msi%d.bat`, m.runs)
	if err := os.WriteFile(m.path(script), []byte("@echo off\r\nmsiexec "+words+" /qn\r\necho exit code %errorlevel%\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	out, _ := m.command(t, "cmd", "/c", script)
	code := regexp.MustCompile(`exit code (\d+)`).FindStringSubmatch(out)
	if code == nil || code[1] != strconv.Itoa(want) {
		t.Fatalf("msiexec %s: want %d\n%s", words, want, out)
	}
	t.Logf("msiexec %s: %d in %v", words, want, time.Since(begin).Round(100*time.Millisecond))
}

// has says what of an installation is here: files, the service as the manager
// tells it, the version as the registry has it.
func (m *setup) has(t *testing.T) (files []string, state, version string) {
	t.Helper()
	root := m.path(`C:\Program Files\Amazon`)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Name() == "Editions" { // what workers run from, while there is a service
			return fs.SkipDir
		}
		if err == nil && !e.IsDir() {
			files = append(files, filepath.Base(path))
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	slices.Sort(files)
	out, err := m.command(t, "sc", "query", "AmazonSSMAgent")
	if err == nil {
		state = regexp.MustCompile(`STATE\s*: \d\s+(\w+)`).FindStringSubmatch(out)[1]
	}
	out, err = m.command(t, "reg", "query", `HKLM\SOFTWARE\ssmagent`, "/v", "Version")
	if err == nil {
		version = regexp.MustCompile(`REG_SZ\s+(\S+)`).FindStringSubmatch(out)[1]
	}
	return files, state, version
}

// installed are the files of an installation.
func installed() []string {
	return []string{"LICENSE", "NOTICE.md", "amazon-ssm-agent.exe", "amazon-ssm-agent.json.template", "ssm-cli.exe", "ssm-local.exe"}
}

// wants is what has to be here: a version with its service running, or nothing
// if there is no version; and the other files.
func (m *setup) wants(t *testing.T, version string, others ...string) {
	t.Helper()
	wantFiles, wantState := others, ""
	if version != "" {
		wantFiles, wantState = append(installed(), others...), "RUNNING"
	}
	slices.Sort(wantFiles)
	files, state, has := m.has(t)
	if !slices.Equal(files, wantFiles) || state != wantState || has != version {
		t.Fatalf("files %q, service %q, version %q; want %q, %q, %q", files, state, has, wantFiles, wantState, version)
	}
	if version == "" {
		return
	}
	for _, name := range []string{"amazon-ssm-agent.exe", "ssm-local.exe"} {
		program := `C:\Program Files\Amazon\SSM\` + name
		if out := m.succeeds(t, program, map[string]string{"amazon-ssm-agent.exe": "-version", "ssm-local.exe": "version"}[name]); !strings.Contains(out, version) {
			t.Fatalf("%s is of %s, not of %s", name, out, version)
		}
	}
}

// stop stops the service: wine's installer does not wait for that.
func (m *setup) stop(t *testing.T) {
	t.Helper()
	_, _ = m.command(t, "net", "stop", "AmazonSSMAgent") // wine tells a failure when the process is quick
	eventually(t, "the service to stop", func() bool {
		_, state, _ := m.has(t)
		return state == "STOPPED"
	})
}

// add writes a value into the registry.
func (m *setup) add(t *testing.T, key, name, kind, value string) {
	t.Helper()
	m.succeeds(t, "reg", "add", key, "/v", name, "/t", kind, "/d", value, "/f")
}

const (
	windowsKey = `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	serviceKey = `HKLM\SYSTEM\CurrentControlSet\Services\AmazonSSMAgent`
	sourceKey  = `HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\AmazonSSMAgent`
	configFile = `C:\Program Files\Amazon\SSM\amazon-ssm-agent.json`
	dataFolder = `C:\ProgramData\Amazon\SSM`

	firstVersion, nextVersion = "3.3.9000.0", "3.3.9001.0"
)

// TestWinePackageRefusals: what the MSI does not do, it does not do at all, and
// an installed version is taken off whole.
func TestWinePackageRefusals(t *testing.T) {
	m := newSetup(t)
	step := func(name string, do func(*testing.T)) { // each begins where the last one ended
		t.Helper()
		if !t.Run(name, do) {
			t.FailNow()
		}
	}
	step("Windows before 10", func(t *testing.T) {
		m.msiexec(t, msiRefused, `/i C:\old.msi`)
		m.wants(t, "", "amazon-ssm-agent.json")
	})
	m.add(t, windowsKey, "CurrentMajorVersionNumber", "REG_DWORD", "10")
	step("the stock agent", func(t *testing.T) {
		m.add(t, serviceKey, "ImagePath", "REG_EXPAND_SZ", `C:\Program Files\Amazon\SSM\amazon-ssm-agent.exe`)
		m.msiexec(t, msiRefused, `/i C:\old.msi`)
		m.succeeds(t, "reg", "delete", serviceKey, "/f")
		m.wants(t, "", "amazon-ssm-agent.json")
	})
	step("half a registration", func(t *testing.T) {
		m.msiexec(t, msiRefused, `/i C:\old.msi CODE=abc REGION=us-east-1`)
		m.wants(t, "", "amazon-ssm-agent.json")
	})
	step("a registration that fails", func(t *testing.T) {
		m.msiexec(t, msiUndone, `/i C:\old.msi CODE=wrong ID=5e0b4bd5-9a9f-61bb-0f3a-2f3c8f3e70a5 REGION=us-east-1`)
		m.wants(t, "", "amazon-ssm-agent.json")
	})
	step("an older version", func(t *testing.T) {
		m.registers(t, "new")
		m.wants(t, nextVersion, "amazon-ssm-agent.json")
		m.msiexec(t, msiRefused, `/i C:\old.msi`)
		m.wants(t, nextVersion, "amazon-ssm-agent.json")
	})
	step("nothing is left", func(t *testing.T) {
		m.succeeds(t, "reg", "query", sourceKey)
		m.stop(t)
		m.msiexec(t, msiDone, `/x C:\new.msi`)
		m.wants(t, "", "amazon-ssm-agent.json")
		if out, err := m.command(t, "reg", "query", sourceKey); err == nil {
			t.Errorf("of the event log: %s", out)
		}
		if _, err := os.Stat(m.path(`C:\Program Files\Amazon\SSM\Editions`)); !os.IsNotExist(err) {
			t.Errorf("copies of the program for workers: %v", err)
		}
		if _, err := os.Stat(filepath.Join(m.path(dataFolder), "InstanceData", "registration")); err != nil {
			t.Errorf("the identity is gone: %v", err)
		}
	})
	step("nothing is left of the data either", func(t *testing.T) {
		m.msiexec(t, msiDone, `/i C:\new.msi`)
		m.stop(t)
		m.msiexec(t, msiDone, `/x C:\new.msi REMOVEPROGRAMDATA=yes`)
		m.wants(t, "", "amazon-ssm-agent.json")
		if _, err := os.Stat(m.path(dataFolder)); !os.IsNotExist(err) {
			t.Errorf("the data is there: %v", err)
		}
	})
	step("an older version that may be", func(t *testing.T) {
		m.registers(t, "new")
		m.stop(t)
		m.msiexec(t, msiDone, `/i C:\old.msi ALLOWDOWNGRADE=yes`)
		// Wine keeps newer files whatever REINSTALLMODE says.
		if _, state, version := m.has(t); state != "RUNNING" || version != firstVersion {
			t.Errorf("service %q, version %q", state, version)
		}
		m.stop(t)
	})
}

// TestWinePackageLife: one command installs and registers, over data that others
// have left; an upgrade keeps all that is not the program.
func TestWinePackageLife(t *testing.T) {
	m := newSetup(t)
	m.add(t, windowsKey, "CurrentMajorVersionNumber", "REG_DWORD", "10")
	m.dirty(t)
	id := m.registers(t, "old")
	m.wants(t, firstVersion, "amazon-ssm-agent.json")
	m.footprint(t)

	config, err := os.ReadFile(m.path(configFile))
	if err != nil {
		t.Fatal(err)
	}
	m.add(t, serviceKey, "Environment", "REG_MULTI_SZ", "no_proxy=127.0.0.1")
	m.stop(t)
	m.msiexec(t, msiDone, `/i C:\new.msi`)
	m.wants(t, nextVersion, "amazon-ssm-agent.json")
	if b, err := os.ReadFile(m.path(configFile)); err != nil || !bytes.Equal(b, config) {
		t.Errorf("configuration %s, %v; it was %s", b, err, config)
	}
	if out := m.succeeds(t, "reg", "query", serviceKey, "/v", "Environment"); !strings.Contains(out, "no_proxy=127.0.0.1") {
		t.Errorf("the service's environment is gone: %s", out)
	}
	eventually(t, "the node to come back as the new version", func() bool {
		out, err := m.p.sdk().DescribeInstanceInformation(t.Context(), &ssm.DescribeInstanceInformationInput{})
		return err == nil && len(out.InstanceInformationList) == 1 && *out.InstanceInformationList[0].InstanceId == id &&
			*out.InstanceInformationList[0].AgentVersion == nextVersion
	})
	m.stop(t)
}

// registers installs a package and has it register the machine, as which node it
// returns once that is online.
func (m *setup) registers(t *testing.T, name string) (id string) {
	t.Helper()
	code, activation := m.p.activation(&ssm.CreateActivationInput{})
	m.msiexec(t, msiDone, fmt.Sprintf(`/i C:\%s.msi CODE=%s ID=%s REGION=us-east-1`, name, code, activation))
	id = nodeID(t, m.path(dataFolder))
	m.p.online(id)
	return id
}

// dirty leaves in the data folder what stops installers: files that nobody may
// write, in folders that nobody may enter.
func (m *setup) dirty(t *testing.T) {
	t.Helper()
	left := filepath.Join(m.path(dataFolder), "InstanceData", "Vault", "Store")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "RegistrationKey"), nil, 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(left, 0o500); err != nil {
		t.Fatal(err)
	}
}

// footprint tells what the installation takes.
func (m *setup) footprint(t *testing.T) {
	t.Helper()
	var size int64
	files, _, _ := m.has(t)
	for _, f := range files {
		if i, err := os.Stat(m.path(`C:\Program Files\Amazon\SSM\` + f)); err == nil {
			size += i.Size()
		}
	}
	msi, err := os.Stat(m.path(`C:\old.msi`))
	if err != nil {
		t.Fatal(err)
	}
	if msi.Size() > 10_000_000 {
		t.Errorf("the MSI has %d bytes", msi.Size())
	}
	for _, pid := range processes(`SSM\amazon-ssm-agent.exe`) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err == nil {
			t.Logf("the service under wine: %s", regexp.MustCompile(`VmRSS:.*|RssAnon:.*`).FindAllString(string(b), -1))
		}
	}
	t.Logf("installed %d bytes, MSI %d bytes", size, msi.Size())
}
