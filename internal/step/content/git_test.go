package content

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ssmagent/platform/proc/proctest"
)

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	c := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"}, args...)...)
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// repo makes a repository with two commits and returns it and the first.
func repo(t *testing.T) (dir, first string) {
	t.Helper()
	dir = t.TempDir()
	git(t, dir, "init", "-q")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a", "1")
	write("sub/b", "b")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-qm", "one")
	first = git(t, dir, "rev-parse", "HEAD")
	git(t, dir, "tag", "v1")
	write("a", "2")
	git(t, dir, "commit", "-qam", "two")
	return dir, first
}

func TestGit(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	source, first := repo(t)
	at := func(getOptions string) map[string]any {
		return map[string]any{"repository": "file://" + source, "getOptions": getOptions}
	}
	downloads := filepath.Join(l.dir, "downloads")
	for _, tc := range []struct{ options, want string }{
		{"", "a 700 2\nsub/b 700 b"}, {"branch:main", "a 700 2\nsub/b 700 b"}, {"branch:refs/tags/v1", "a 700 1\nsub/b 700 b"},
		{"commitID:" + first, "a 700 1\nsub/b 700 b"}, {"branch:refs/heads/main", "a 700 2\nsub/b 700 b"},
	} {
		l.ok("Git", "", at(tc.options)) // each over the one before
		if got := tree(t, downloads); got != tc.want {
			t.Errorf("%q: %s", tc.options, got)
		}
	}
	if git(t, downloads, "log", "-1", "--format=%s") != "two" || git(t, downloads, "-c", "core.fileMode=false", "status", "--porcelain") != "" {
		t.Error("the repository did not come along, or not whole")
	}
	if left, _ := filepath.Glob(filepath.Join(downloads, "temp*")); left != nil {
		t.Error(left)
	}
	l.fails("git clone: exit code 128: ", "Git", "", at("branch:nothing"))
	l.fails("git checkout: exit code 128: ", "Git", "", at("commitID:"+strings.Repeat("0", 40)))
	l.fails("neither branch:<name> nor commitID", "Git", "", at("branch:--upload-pack=x"))
	l.fails("go with a repository at http or https only", "Git", "", map[string]any{"repository": "ssh://h/x", "username": "u", "password": "p"})
	l.fails("does not go with a repository at http", "Git", "", map[string]any{"repository": "https://h/x", "privateSSHKey": "k"})
	l.fails("put it into password", "Git", "", map[string]any{"repository": "https://u:lovelace@h/x"})
	l.fails("use https, http, ssh, git or file", "Git", "", map[string]any{"repository": "gopher://h/x"})
	l.fails("is not the address", "Git", "", map[string]any{"repository": "ext::touch%20x"})
	l.fails("is not the address", "Git", "", map[string]any{"repository": "--upload-pack=touch x"})
	l.fails("line break", "Git", "", map[string]any{"repository": "https://h/x", "username": "u\nhost=evil", "password": "p"})
	l.fails("no repository", "Git", "", map[string]any{})
	l.Limits = Limits{Bytes: 1 << 30, Files: 3, Depth: 9}
	l.fails("more files than one step", "Git", "small", at(""))
	l.FindProgram = func(string) (string, error) { return "", os.ErrNotExist }
	l.fails("install git", "Git", "", at(""))
}

// TestGitBringsLinks: a link in a repository stays a link, and what comes
// later does not go where it leads.
func TestGitBringsLinks(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	source, _ := repo(t)
	outside := t.TempDir()
	for name, to := range map[string]string{"evil": outside, "Mine.json": filepath.Join(outside, "file")} {
		if err := os.Symlink(to, filepath.Join(source, name)); err != nil {
			t.Fatal(err)
		}
	}
	git(t, source, "add", "-A")
	git(t, source, "commit", "-qm", "links")
	l.ok("Git", "", map[string]any{"repository": "file://" + source})
	l.ok("SSMDocument", "", map[string]any{"name": "Mine"})
	l.fails("escapes", "SSMDocument", "evil/", map[string]any{"name": "Mine"})
	if got := tree(t, outside); got != "" {
		t.Errorf("outside: %s", got)
	}
}

// TestGitBySSH runs git with an ssh of ours on PATH that notes how it was
// called and runs the other end here.
func TestGitBySSH(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	source, _ := repo(t)
	programs := t.TempDir()
	script := `#!/bin/sh
printf '%s\n' "$@" > "` + programs + `/args"
while [ $# -gt 1 ]; do
  [ "$1" = -i ] && cat "$2" > "` + programs + `/key" && stat -c %a "$2" >> "` + programs + `/key"
  shift
done
eval "$1"
`
	proctest.Plant(t, filepath.Join(programs, "ssh"), []byte(script))
	l.Env = append(l.Env, "PATH="+programs+":"+os.Getenv("PATH"))
	for _, tc := range []struct {
		repository, target string
		skip               bool
	}{{"ssh://host.example" + source, "git@host.example", false}, {"host.example:" + source, "git@host.example", true}, {"ada@host.example:" + source, "ada@host.example", false}} {
		l.ok("Git", "", map[string]any{"repository": tc.repository, "privateSSHKey": "-----BEGIN KEY-----\r\nx\r\n-----END KEY-----", "skipHostKeyChecking": tc.skip})
		args, err := os.ReadFile(filepath.Join(programs, "args"))
		check := "StrictHostKeyChecking=yes"
		if tc.skip {
			check = "StrictHostKeyChecking=no"
		}
		if err != nil || !strings.Contains(string(args), "\n"+tc.target+"\n") || !strings.Contains(string(args), check) || !strings.Contains(string(args), "BatchMode=yes") {
			t.Errorf("%s: %q %v", tc.repository, args, err)
		}
		if key, err := os.ReadFile(filepath.Join(programs, "key")); err != nil || string(key) != "-----BEGIN KEY-----\nx\n-----END KEY-----\n600\n" {
			t.Errorf("%q %v", key, err)
		}
	}
	if got := tree(t, filepath.Join(l.dir, "downloads")); got != "a 700 2\nsub/b 700 b" {
		t.Errorf("left behind: %s", got)
	}
	l.fails("privateSSHKey: there is no such parameter", "Git", "", map[string]any{"repository": "ssh://h/x", "privateSSHKey": "{{ssm-secure:other}}"})
}

// TestOptionsAsRecorded holds getOptions to the recorded table.
func TestOptionsAsRecorded(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../wire/doc/testdata/documents.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Auxiliary struct {
			GitGetOptions struct {
				Cases []struct {
					GetOptions, Branch, CommitID string
					Error                        bool
				}
			}
		}
	}
	if err := json.Unmarshal(b, &v); err != nil || len(v.Auxiliary.GitGetOptions.Cases) < 8 {
		t.Fatalf("%d cases, %v", len(v.Auxiliary.GitGetOptions.Cases), err)
	}
	for _, c := range v.Auxiliary.GitGetOptions.Cases {
		if o, err := parseOptions(c.GetOptions); o != (options{c.Branch, c.CommitID}) || (err != nil) != c.Error {
			t.Errorf("%q: %+v %v", c.GetOptions, o, err)
		}
	}
}

func FuzzReference(f *testing.F) {
	f.Add("{{ ssm-secure:a/b }}")
	f.Add("{{ssm:}}")
	f.Fuzz(func(t *testing.T, s string) {
		if ref, ok := reference(s); ok && (!strings.HasPrefix(ref, "ssm") || strings.ContainsAny(ref, " {}\"\x00")) {
			t.Errorf("%q refers to %q", s, ref)
		}
	})
}
