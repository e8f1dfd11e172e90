package installer_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ssmagent/platform/proc/proctest"
)

// bench is a folder with a script of an update package, and programs that only
// note how they are called.
type bench struct {
	t                *testing.T
	dir, tools, root string
}

// newBench takes the files of an update package; tools are bodies of programs.
func newBench(t *testing.T, scripts string, files []string, tools map[string]string) bench {
	t.Helper()
	b := bench{t, t.TempDir(), t.TempDir(), t.TempDir()}
	for _, script := range []string{"install.sh", "uninstall.sh"} {
		text, err := os.ReadFile(filepath.Join(scripts, script))
		if err != nil {
			t.Fatal(err)
		}
		b.write(filepath.Join(b.dir, script), string(text))
	}
	for _, f := range files {
		b.write(filepath.Join(b.dir, f), "#!/bin/sh\necho \"$(basename \"$0\") $*\" >>\"$NOTES\"\n")
	}
	for name, body := range tools {
		b.write(filepath.Join(b.tools, name), "#!/bin/sh\necho \""+name+" $*\" >>\"$NOTES\"\n"+body+"\n")
	}
	return b
}

func (b bench) write(file, text string) {
	b.t.Helper()
	proctest.Plant(b.t, file, []byte(text))
}

// run runs a script and returns its exit code, what it said, and what it called.
func (b bench) run(script string, env []string, args ...string) (code int, said string, called []string) {
	b.t.Helper()
	notes := filepath.Join(b.tools, "notes")
	if err := os.Remove(notes); err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.t.Fatal(err)
	}
	cmd := exec.CommandContext(b.t.Context(), "/bin/sh", append([]string{filepath.Join(b.dir, script)}, args...)...)
	cmd.Env = append([]string{"PATH=" + b.tools + ":/usr/bin:/bin", "NOTES=" + notes, "ROOT=" + b.root, "SYSTEMD_DIR=" + b.root}, env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		b.t.Fatal(err)
	}
	text, err := os.ReadFile(notes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.t.Fatal(err)
	}
	for line := range strings.Lines(strings.ReplaceAll(string(text), b.dir+"/", "")) {
		called = append(called, strings.TrimSpace(line))
	}
	return cmd.ProcessState.ExitCode(), out.String(), called
}

const debVersion = "echo 3.3.9001.0-1"

// dpkgQuery answers for an installed version.
func dpkgQuery(version string) string { return "printf 'install ok installed " + version + "'" }

// rpmTool is an rpm with a version installed, whose -U ends with a code.
func rpmTool(installed, upgrade string) string {
	return `case $1 in -qp) printf 3.3.9001.0-1 ;; -q) printf '` + installed + `' ;; *) exit ` + upgrade + ` ;; esac`
}

func TestUpdateOfLinux(t *testing.T) {
	t.Parallel()
	const deb, rpm = "amazon-ssm-agent.deb", "amazon-ssm-agent.rpm"
	register := []string{"register-managed-instance", "code", "id", "eu-west-1"}
	for _, tc := range []struct {
		name, file string
		tools      map[string]string
		args, env  []string
		code       int
		last       string // what was called last
	}{
		{"a deb", deb, map[string]string{"dpkg-deb": debVersion, "dpkg": ""}, nil, nil, 0, "dpkg -i amazon-ssm-agent.deb"},
		{"a deb that is there", deb, map[string]string{"dpkg-deb": debVersion, "dpkg": "exit 1", "dpkg-query": dpkgQuery("3.3.9001.0-1")}, nil, nil, 0, "dpkg-query -W -f ${Status} ${Version} amazon-ssm-agent"},
		{"a deb that fails", deb, map[string]string{"dpkg-deb": debVersion, "dpkg": "exit 1", "dpkg-query": dpkgQuery("3.3.9000.0-1")}, nil, nil, 125, "dpkg-query -W -f ${Status} ${Version} amazon-ssm-agent"},
		{"no deb", deb, map[string]string{"dpkg-deb": "exit 2"}, nil, nil, 125, "dpkg-deb -f amazon-ssm-agent.deb Version"},
		{"an rpm by yum", rpm, map[string]string{"rpm": rpmTool("3.3.9000.0-1", "1"), "yum": ""}, nil, nil, 0, "yum -y --cacheonly localinstall amazon-ssm-agent.rpm"},
		{"an rpm without yum", rpm, map[string]string{"rpm": rpmTool("", "0"), "yum": "exit 127"}, nil, nil, 0, "rpm -U amazon-ssm-agent.rpm"},
		{"an rpm that fails", rpm, map[string]string{"rpm": rpmTool("", "1"), "yum": "exit 1"}, nil, nil, 125, "rpm -U amazon-ssm-agent.rpm"},
		{"an rpm that is there", rpm, map[string]string{"rpm": rpmTool("3.3.9001.0-1", "1")}, nil, nil, 0, "rpm -q --qf %{VERSION}-%{RELEASE} amazon-ssm-agent"},
		{"no package", "other", nil, nil, nil, 125, ""},
		{"no systemd", deb, nil, nil, []string{"SYSTEMD_DIR=/nowhere"}, 124, ""},
		{"too few words", deb, nil, []string{"register-managed-instance", "code"}, nil, 1, ""},
		{"another word", deb, nil, []string{"register", "code", "id", "eu-west-1"}, nil, 1, ""},
		{"registered", deb, map[string]string{"dpkg-deb": debVersion, "dpkg": "", "amazon-ssm-agent": `[ "$(cat)" = code ]`, "systemctl": ""}, register, nil, 0, "systemctl restart amazon-ssm-agent.service"},
		{"not registered", deb, map[string]string{"dpkg-deb": debVersion, "dpkg": "", "amazon-ssm-agent": "exit 1"}, register, nil, 1, "amazon-ssm-agent -register -code-file - -id id -region eu-west-1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			code, said, called := newBench(t, "update", []string{tc.file}, tc.tools).run("install.sh", tc.env, tc.args...)
			last := ""
			if len(called) > 0 {
				last = called[len(called)-1]
			}
			if code != tc.code || last != tc.last {
				t.Errorf("code %d, called %q, said %s", code, called, said)
			}
			if code != 0 && !strings.Contains(said, "install.sh: ") {
				t.Errorf("it says %s", said)
			}
		})
	}
}

func TestRemovalOnLinux(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		file  string
		tools map[string]string
		code  int
		last  string
	}{
		{"amazon-ssm-agent.deb", map[string]string{"dpkg": ""}, 0, "dpkg -r amazon-ssm-agent"},
		{"amazon-ssm-agent.deb", map[string]string{"dpkg": "exit 1"}, 125, "dpkg -r amazon-ssm-agent"},
		{"amazon-ssm-agent.rpm", map[string]string{"yum": "exit 1", "rpm": ""}, 0, "rpm -e amazon-ssm-agent"},
		{"amazon-ssm-agent.rpm", map[string]string{"yum": ""}, 0, "yum -y --cacheonly remove amazon-ssm-agent"},
	} {
		code, said, called := newBench(t, "update", []string{tc.file}, tc.tools).run("uninstall.sh", nil)
		if code != tc.code || len(called) == 0 || called[len(called)-1] != tc.last {
			t.Errorf("%s: code %d, called %q, said %s", tc.file, code, called, said)
		}
	}
}

// TestLifeOnMacOS installs, installs again, and removes, below a root.
func TestLifeOnMacOS(t *testing.T) {
	t.Parallel()
	files := []string{"amazon-ssm-agent", "amazon-ssm-agent.json.template", "NOTICE.txt", "com.amazon.aws.ssm.plist"}
	b := newBench(t, "darwin", files, map[string]string{"launchctl": "", "pkgutil": "exit 1"})
	plist := filepath.Join(b.root, "Library/LaunchDaemons/com.amazon.aws.ssm.plist")
	expect := func(script string, want []string, args ...string) {
		t.Helper()
		code, said, called := b.run(script, nil, args...)
		if code != 0 || strings.Join(called, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: code %d, called %q, said %s", script, code, called, said)
		}
	}
	expect("install.sh", []string{"launchctl load " + plist})
	config := filepath.Join(b.root, "opt/aws/ssm/amazon-ssm-agent.json")
	b.write(config, "{}")
	expect("install.sh", []string{"launchctl unload " + plist, "amazon-ssm-agent -register -code-file - -id id -region eu-west-1", "launchctl load " + plist},
		"register-managed-instance", "code", "id", "eu-west-1")
	for file, mode := range map[string]fs.FileMode{
		"opt/aws/ssm/bin/amazon-ssm-agent": 0o755, "opt/aws/ssm/bin/ssm-cli": 0o755, "opt/aws/ssm/amazon-ssm-agent.json.template": 0o644,
		"Library/LaunchDaemons/com.amazon.aws.ssm.plist": 0o644, // launchd takes no job that others could write
	} {
		if fi, err := os.Stat(filepath.Join(b.root, file)); err != nil || fi.Mode() != mode {
			t.Errorf("%s: %v, %v", file, fi, err)
		}
	}
	expect("uninstall.sh", []string{"launchctl unload " + plist, "pkgutil --forget com.amazon.aws.ssm"})
	left, err := filepath.Glob(filepath.Join(b.root, "opt/aws/ssm/*"))
	if err != nil || len(left) != 1 || left[0] != config {
		t.Errorf("left: %q, %v", left, err)
	}
	if _, err := os.Stat(plist); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the job is left: %v", err)
	}
}

func TestMacOSWithoutAJob(t *testing.T) {
	t.Parallel()
	b := newBench(t, "darwin", []string{"amazon-ssm-agent"}, map[string]string{"launchctl": "exit 1"})
	if code, said, _ := b.run("install.sh", nil); code != 125 || !strings.Contains(said, "amazon-ssm-agent.json.template cannot be written") {
		t.Errorf("a file is missing: code %d, said %s", code, said)
	}
}
