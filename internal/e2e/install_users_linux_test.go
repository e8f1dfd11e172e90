package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ssmagent/platform/proc/proctest"
)

// Tests whose names begin with TestInstall are those of make test-install.

// TestInstallFirstSessions opens fifty sessions at once on a node without
// ssm-user: each of them gets the same whole account.
func TestInstallFirstSessions(t *testing.T) {
	t.Parallel()
	for _, umask := range []string{"0", "022", "077"} {
		t.Run("umask "+umask, func(t *testing.T) {
			f := newPlane(t).freshRoot(umask, "", nil)
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					out, code := f.exec("sh", "-c", "id -un; pwd; stat -c %U .; sudo -n id -u; umask")
					if want := fmt.Sprintf("ssm-user\n/home/ssm-user\nssm-user\n0\n%04s\n", umask); out != want || code != 0 {
						t.Errorf("exit %d, %q, want %q", code, out, want)
					}
				})
			}
			wg.Wait()
			f.whole()
		})
	}
}

// whole checks that there is one account with its home, no password, and one
// valid file of rules.
func (f *freshRoot) whole() {
	f.t.Helper()
	if n := strings.Count("\n"+f.file("/etc/passwd"), "\nssm-user:"); n != 1 {
		f.t.Errorf("%d accounts", n)
	}
	if got := f.sh("passwd -S ssm-user | cut -d' ' -f2; stat -c '%a %U:%G' /etc/sudoers.d/ssm-agent-users; stat -c %U:%G /home/ssm-user; ls -A /home/ssm-user /etc/sudoers.d"); !strings.HasPrefix(got, "L\n440 root:root\nssm-user:ssm-user\n") || strings.Contains(got, ".new") || !strings.Contains(got, ".profile") {
		f.t.Errorf("the account is\n%s", got)
	}
	f.sh("visudo -cq")
	if got := f.file("/etc/sudoers.d/ssm-agent-users"); got != "# User rules for ssm-user\nssm-user ALL=(ALL) NOPASSWD:ALL\n" {
		f.t.Errorf("the rules are %q", got)
	}
}

// TestInstallShells has both clients in shells of the real ssm-user, the first
// of which makes it, and says how long that took. What an administrator then
// changes or removes stays so.
func TestInstallShells(t *testing.T) {
	t.Parallel()
	f := newPlane(t).freshRoot("022", "", nil)
	began := time.Now()
	for i, cmd := range []*exec.Cmd{f.shell(f.url, f.id), f.stock(f.id)} {
		pe := sit(t, cmd, 80, 24)
		pe.sees(`\$ $`)
		if i == 0 {
			t.Logf("first session to its prompt, with the account being made: %v", time.Since(began).Round(time.Millisecond))
		}
		pe.types("echo $(id -un) $HOME $(pwd) $(sudo -n id -u) $((6*7))\n")
		pe.sees(`ssm-user /home/ssm-user /home/ssm-user 0 42\r*\n`)
		pe.types("exit\n")
		pe.ends()
	}
	f.whole()

	f.sh("echo '# nothing' >/etc/sudoers.d/ssm-agent-users")
	f.sudoes(false)
	f.sh("userdel ssm-user && chown 12321 /home/ssm-user && rm /etc/sudoers.d/ssm-agent-users")
	f.sudoes(false)
	if got := f.sh("id -u ssm-user; ls /etc/sudoers.d; stat -c %U /home/ssm-user"); !strings.HasPrefix(got, "12321\n") || strings.Contains(got, "ssm-agent") || !strings.HasSuffix(got, "ssm-user\n") {
		t.Errorf("made anew it is\n%s", got)
	}
}

// sudoes checks whether ssm-user may use sudo.
func (f *freshRoot) sudoes(want bool) {
	f.t.Helper()
	if out, code := f.exec("sh", "-c", "id -un; sudo -n true"); !strings.HasPrefix(out, "ssm-user\n") || (code == 0) != want {
		f.t.Errorf("exit %d, %q", code, out)
	}
}

// TestInstallSettings makes the account as the configuration says, and begins
// login shells where it says so.
func TestInstallSettings(t *testing.T) {
	t.Parallel()
	f := newPlane(t).freshRoot("022", "", map[string]any{"ssmagent": map[string]any{"LoginShells": true, "SessionUser": map[string]any{
		"UID": 711, "GID": 722, "Home": "/srv/ssm", "Shell": "/bin/bash", "Groups": []string{"audio", "video"}, "Sudo": false, "System": true}}})
	out, code := f.exec("sh", "-c", "id -u; id -g; id -Gn; pwd; echo $HOME,$USER,$LOGNAME,$SHELL,$PATH")
	// su -'s PATH is login.defs'.
	want := "711\n722\nssm-user audio video\n/srv/ssm\n/srv/ssm,ssm-user,ssm-user,/bin/bash,/usr/local/bin:/usr/bin:/bin"
	if !strings.HasPrefix(out, want) || code != 0 {
		t.Errorf("exit %d, %q", code, out)
	}
	pe := sit(t, f.stock(f.id), 80, 24)
	pe.sees(`\$ $`)
	pe.types("shopt -q login_shell && echo $0 $((6*7))\n")
	pe.sees(`-bash 42\r*\n`)
	pe.types("exit\n")
	pe.ends()
	f.sudoes(false)
	if got := f.sh("ls /etc/sudoers.d; stat -c %u:%g /srv/ssm"); strings.Contains(got, "ssm-agent") || !strings.HasSuffix(got, "711:722\n") {
		t.Error(got)
	}
}

// TestInstallFailures: what keeps the account from being made is told to the
// person at the other end, by both clients, and mends itself with its cause.
func TestInstallFailures(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ change, want, mend string }{
		"read-only root": {"mount -o remount,ro /", "make the account ssm-user: /etc is on a file system that is read-only", "mount -o remount,rw /"},
		"full disk":      {"cat /dev/zero >/full 2>/dev/null || true", "free some space there", "rm /full"},
		"no useradd":     {"mkdir /away; mv /usr/sbin/useradd /usr/bin/busybox /away/; [ ! -e /bin/busybox ] || mv /bin/busybox /away/", "neither useradd nor BusyBox's adduser is in", "mv /away/* /usr/sbin/"},
		"exhausted uids": {"cp /etc/login.defs /etc/was; sed -i 's/^UID_MAX.*/UID_MAX 1/;s/^UID_MIN.*/UID_MIN 1/' /etc/login.defs", "no user or group id is left", "mv /etc/was /etc/login.defs"},
		"home taken":     {"mkdir /home/ssm-user; chown ada /home/ssm-user", "is there already and belongs to ada", "rmdir /home/ssm-user"},
		"sudo's folder":  {"mv /etc/sudoers.d /etc/was", "let the account ssm-user use sudo", "mv /etc/was /etc/sudoers.d"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newPlane(t).freshRoot("022", tc.change, nil)
			f.refuses(tc.want)
			f.sh(tc.mend)
			f.sudoes(true)
			f.whole()
		})
	}
}

// TestInstallRunAs: the account that the document names, or the operator's tag
// before it; never root.
func TestInstallRunAs(t *testing.T) {
	t.Parallel()
	f := newPlane(t).freshRoot("022", "", nil)
	for name, user := range map[string]string{"AsAda": "ada", "AsToor": "toor", "AsRoot": "root", "AsNobody": "no-such-user", "AsEmpty": ""} {
		f.runsAs(name, user)
	}
	for _, cmd := range []*exec.Cmd{f.shell(f.url, f.id, "-document", "AsAda"), f.stock(f.id, "--document-name", "AsAda")} {
		pe := sit(t, cmd, 80, 24)
		pe.sees(`\$ $`)
		pe.types("echo $(id -un) $(id -Gn) $HOME $(pwd) $((6*7))\n")
		pe.sees(`ada ada audio /home/ada /home/ada 42\r*\n`)
		pe.types("exit\n")
		pe.ends()
	}
	for elevated, want := range map[bool]string{false: "ada ada audio /home/ada\n", true: "root root /root\n"} {
		name := fmt.Sprintf("Commands-%v", elevated)
		f.sessionDocument(name, fmt.Sprintf(`{"schemaVersion":"1.0","description":"x","sessionType":"NonInteractiveCommands","inputs":{"runAsEnabled":true,"runAsDefaultUser":"ada"},`+
			`"properties":{"linux":{"commands":"sh -c 'echo $(id -un) $(id -Gn) $HOME'","runAsElevated":%v}}}`, elevated))
		pe := script(t, f.stock(f.id, "--document-name", name))
		pe.ends()
		if !strings.Contains(string(pe.out), want) {
			t.Errorf("elevated %v: %s", elevated, pe.out)
		}
	}
	for name, want := range map[string]string{"AsToor": "invalid uid and gid", "AsRoot": "invalid uid and gid", "AsNobody": "failed to start pty since RunAs user no-such-user does not exist", "AsEmpty": "please set the RunAs default user"} {
		pe := script(t, f.stock(f.id, "--document-name", name))
		pe.ends()
		if !strings.Contains(string(pe.out), want) {
			t.Errorf("%s: %s", name, pe.out)
		}
	}
	if strings.Contains(f.file("/etc/passwd"), "ssm-user") {
		t.Error("RunAs made ssm-user")
	}
	tagged := newPlane(t, "-run-as", "ada").freshRoot("022", "", nil)
	tagged.runsAs("AsNobody", "no-such-user")
	pe := sit(t, tagged.stock(tagged.id, "--document-name", "AsNobody"), 80, 24)
	pe.sees(`\$ $`)
	pe.types("echo $(id -un) $((6*7))\n")
	pe.sees(`ada 42\r*\n`)
	pe.types("exit\n")
	pe.ends()
}

// runsAs makes a session document that names an account.
func (p *plane) runsAs(name, user string) {
	p.t.Helper()
	p.sessionDocument(name, fmt.Sprintf(`{"schemaVersion":"1.0","description":"x","sessionType":"Standard_Stream","inputs":{"runAsEnabled":true,"runAsDefaultUser":%q}}`, user))
}

// TestInstallKilledMaker kills the session's worker while it makes the account,
// at a tool that waits to be killed: the next session finds it whole.
func TestInstallKilledMaker(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]string{
		"before the account": `echo $PPID $$ >/tmp/maker; sleep 1000`,
		"after the account":  `/usr/sbin/useradd.real "$@"; echo $PPID $$ >/tmp/maker; sleep 1000`,
	} {
		t.Run(name, func(t *testing.T) {
			f := newPlane(t).freshRoot("022", "mv /usr/sbin/useradd /usr/sbin/useradd.real; printf '#!/bin/sh\n"+wrap+"\n' >/usr/sbin/useradd; chmod 755 /usr/sbin/useradd", nil)
			first := make(chan struct{})
			go func() {
				defer close(first)
				f.exec("true")
			}()
			f.plane.file(f.in("/tmp/maker"), 1)
			f.sh("read -r worker tool </tmp/maker; kill -9 $worker; kill -9 -- -$tool; mv /usr/sbin/useradd.real /usr/sbin/useradd")
			<-first
			f.sudoes(true)
			f.whole()
		})
	}
}

// TestInstallDirectory has ssm-user in a name service that is no file of the
// machine's: it is taken from there with its groups, and none is made.
func TestInstallDirectory(t *testing.T) {
	t.Parallel()
	if found, err := filepath.Glob("/usr/lib/*/libnss_extrausers.so.2"); err != nil || len(found) == 0 {
		if _, err := os.Stat("/usr/lib/libnss_extrausers.so.2"); err != nil {
			unable(t, "libnss-extrausers: run `make test-install`, which installs it")
		}
	}
	f := newPlane(t).freshRoot("022", `sed -i 's/^\(passwd\|group\):.*/\1: files extrausers/' /etc/nsswitch.conf
mkdir -p /var/lib/extrausers /srv/far && chown 70000:70001 /srv/far
echo 'ssm-user:x:70000:70001::/srv/far:/bin/sh' >/var/lib/extrausers/passwd
printf 'far:x:70001:\nfarther:x:70002:ssm-user,ada\n' >/var/lib/extrausers/group`, nil)
	const want = "ssm-user\n70000\n70001\n70001 70002\n/srv/far\n"
	if out, code := f.exec("sh", "-c", "id -un; id -u; id -g; id -G; pwd"); out != want || code != 0 {
		t.Errorf("exit %d, %q, want %q", code, out, want)
	}
	f.sudoes(false)
	if strings.Contains(f.file("/etc/passwd"), "ssm-user") {
		t.Error("a second one was made")
	}
	f.runsAs("AsAda", "ada")
	pe := sit(t, f.shell(f.url, f.id, "-document", "AsAda"), 80, 24)
	pe.sees(`\$ $`)
	pe.types("echo $(id -un) $(id -Gn) $((6*7))\n")
	pe.sees(`ada ada audio farther 42`)
	pe.types("exit\n")
	pe.ends()
}

// TestInstallAccounts runs the seam's suite with the real tools.
func TestInstallAccounts(t *testing.T) {
	t.Parallel()
	f := newPlane(t).freshRoot("077", "", nil)
	suite := filepath.Join(t.TempDir(), "users.test")
	if out, err := exec.Command("go", "test", "-c", "-o", suite, "ssmagent/users").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(suite)
	if err != nil {
		t.Fatal(err)
	}
	proctest.Plant(t, f.in("/tmp/users.test"), b)
	if out := f.sh("cd /tmp && SSMAGENT_FRESH_ROOT=1 ./users.test -test.v -test.run '^TestReal$'"); !strings.Contains(out, "--- PASS: TestReal") {
		t.Error(out)
	}
}
