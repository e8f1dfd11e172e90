package users

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"ssmagent/platform/proc/proctest"
	"ssmagent/platform/secfile"
)

// bed is a machine below a folder: files of accounts, and tools that are
// scripts. What they were told is in calls.
type bed struct {
	*Local
	t     *testing.T
	root  string
	owner string // user id of what we make
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, root: t.TempDir(), owner: fmt.Sprint(os.Geteuid())}
	if os.Geteuid() == 0 {
		b.owner = "41000"
	}
	b.Local = &Local{fs: secfile.OS(), log: slog.New(slog.DiscardHandler), dir: b.in("data"), sys: system{etc: b.in("etc"), path: b.in("bin")}}
	for _, dir := range []string{"data", "bin", "etc/default", "etc/sudoers.d", "home"} {
		if err := os.MkdirAll(b.in(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nada:x:900:901:Ada:/home/ada:/bin/bash\ntoor:x:0:901::/root:/bin/sh\nhalf:x:902:0::/:/bin/sh\n")
	b.write("etc/group", "root:x:0:\nstaff:x:901:\nwheel:x:10:bob,ada\n")
	b.write("etc/nsswitch.conf", "passwd: files systemd\ngroup: files systemd\n")
	b.write("etc/default/useradd", "HOME="+b.in("home")+"\n")
	b.tool("getent", `exit 2`)
	b.tool("useradd", b.useradd())
	b.tool("groupadd", `echo "ssm-user:x:$2:" >>`+b.in("etc/group"))
	b.tool("usermod", ``)
	b.tool("visudo", ``)
	return b
}

// useradd adds the account, as its options say.
func (b *bed) useradd() string {
	return `uid=` + b.owner + ` home=` + b.in("home") + `/ssm-user
set -- "$@"
while [ $# -gt 1 ]; do case $1 in -u) uid=$2; shift ;; -d) home=$2; shift ;; -[gGs]) shift ;; esac; shift; done
echo "$1:x:$uid:41001::$home:/bin/sh" >>` + b.in("etc/passwd") + `
[ -d "$home" ] || { /bin/mkdir "$home" && { [ $(/usr/bin/id -u) != 0 ] || /bin/chown "$uid" "$home"; }; }`
}

func (b *bed) in(path string) string { return filepath.Join(b.root, path) }

func (b *bed) write(path, text string) {
	b.t.Helper()
	if err := os.WriteFile(b.in(path), []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// tool makes a tool that records how it is called.
func (b *bed) tool(name, script string) {
	b.t.Helper()
	proctest.Plant(b.t, b.in("bin/"+name), []byte("#!/bin/sh\necho \""+name+" $*\" >>"+b.in("calls")+"\n"+script+"\n"))
}

func (b *bed) calls(name string) (calls []string) {
	text, err := os.ReadFile(b.in("calls"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			calls = append(calls, rest)
		}
	}
	return calls
}

func (b *bed) ensured(w Wish) Account {
	b.t.Helper()
	a, err := b.ensure(b.t.Context(), w)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func (b *bed) sudoers() string { return b.in("etc/sudoers.d/ssm-agent-users") }

// Machine is a bed's accounts, for the suite outside this package, and what
// useradd was told.
func Machine(t *testing.T) (*Local, func() []string) {
	b := newBed(t)
	return b.Local, func() []string { return b.calls("useradd") }
}

func TestLookup(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	a, err := b.Lookup(t.Context(), "ada")
	if err != nil || a.Principal.UID != 900 || a.Principal.GID != 901 || fmt.Sprint(a.Principal.Groups) != "[901 10]" || a.Shell != "/bin/bash" || a.Home != "/home/ada" {
		t.Errorf("%+v, %v", a, err)
	}
	for _, name := range []string{"root", "toor", "half"} {
		if _, err := b.Lookup(t.Context(), name); !errors.Is(err, ErrRoot) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c := b.calls("getent"); len(c) > 0 {
		t.Errorf("files have the accounts, but getent was asked %q", c)
	}
}

// TestDirectory: what no file has comes from the name services, with the groups
// that these give it.
func TestDirectory(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.tool("getent", `case $2 in 'LAB\eve') echo 'LAB\eve:*:70000:70001:Eve:/home/eve:/bin/zsh' ;; 900) echo 'ada:x:900:901:::' ;; broken) echo no server >&2; exit 1 ;; *) exit 2 ;; esac`)
	b.tool("id", `echo 70001 70002; echo noise >&2`)
	a, err := b.Lookup(t.Context(), `LAB\eve`)
	if err != nil || a.Principal.UID != 70000 || fmt.Sprint(a.Principal.Groups) != "[70001 70002]" || a.Shell != "/bin/zsh" {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := b.Lookup(t.Context(), "900"); !errors.Is(err, ErrUnknown) {
		t.Errorf("a number is no name: %v", err)
	}
	if _, err := b.Lookup(t.Context(), "broken"); err == nil || errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "getent ended with exit code 1") {
		t.Errorf("a server that is away was taken for an answer: %v", err)
	}
	b.write("etc/nsswitch.conf", "group: files sss\n")
	if a, err = b.Lookup(t.Context(), "ada"); err != nil || fmt.Sprint(a.Principal.Groups) != "[70001 70002]" {
		t.Errorf("the directory's groups are missing: %+v, %v", a, err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		wish   Wish
		groups string
		want   []string
	}{
		"all": {wish: Wish{UID: 41000, GID: 777, System: true, Shell: "/bin/zsh", Home: "HOME/x", Groups: []string{"wheel", "staff"}},
			want: []string{"groupadd -g 777 -r ssm-user", "useradd -m -r -u 41000 -g ssm-user -d HOME/x -s /bin/zsh -G wheel,staff ssm-user"}},
		"a group that is there":   {wish: Wish{GID: 901}, want: []string{"useradd -m -g staff ssm-user"}},
		"a group of its own name": {groups: "ssm-user:x:55:\n", want: []string{"useradd -m -g ssm-user ssm-user"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			if os.Geteuid() != 0 && tc.wish.UID > 0 {
				tc.wish.UID = os.Geteuid()
			}
			b.write("etc/group", "staff:x:901:\nwheel:x:10:\n"+tc.groups)
			if tc.wish.Home != "" {
				tc.wish.Home = b.in("home/x")
			}
			b.ensured(tc.wish)
			var got []string
			for _, tool := range []string{"groupadd", "useradd"} {
				for _, c := range b.calls(tool) {
					got = append(got, strings.ReplaceAll(strings.ReplaceAll(tool+" "+c, b.in("home"), "HOME"), "-u "+b.owner, "-u 41000"))
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("called %q, want %q", got, tc.want)
			}
			if _, err := os.Stat(b.sudoers()); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("sudo was not wished for: %v", err)
			}
		})
	}
}

func TestBusyBox(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	if err := os.Remove(b.in("bin/useradd")); err != nil {
		t.Fatal(err)
	}
	b.tool("busybox", `[ "$1" != --list ] || { echo adduser; echo addgroup; }
[ "$1" = adduser ] || exit 0
shift
`+b.useradd())
	b.ensured(Wish{GID: 777, Shell: "/bin/ash", Groups: []string{"wheel", "staff"}})
	want := "[--list addgroup -g 777 ssm-user adduser -D -G ssm-user -s /bin/ash ssm-user addgroup ssm-user wheel addgroup ssm-user staff]"
	if got := fmt.Sprint(b.calls("busybox")); got != want {
		t.Errorf("called %s, want %s", got, want)
	}
}

// TestSudoers: the file has its rights whatever the umask, is checked under
// another name, and what became of it later is an administrator's will.
func TestSudoers(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.tool("visudo", `/usr/bin/stat -c '%a %n' "$2" >>`+b.in("seen"))
	b.ensured(Wish{Sudo: true})
	text, err := os.ReadFile(b.sudoers())
	if err != nil || string(text) != "# User rules for ssm-user\nssm-user ALL=(ALL) NOPASSWD:ALL\n" {
		t.Errorf("%q, %v", text, err)
	}
	if fi, err := os.Stat(b.sudoers()); err != nil || fi.Mode().Perm() != 0o440 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if seen, err := os.ReadFile(b.in("seen")); err != nil || string(seen) != "440 "+b.in("etc/sudoers.d/.ssm-agent-users.new")+"\n" {
		t.Errorf("visudo saw %q, %v", seen, err)
	}
	passwd, err := os.ReadFile(b.in("etc/passwd"))
	if err != nil {
		t.Fatal(err)
	}
	removed := strings.Join(strings.SplitAfter(string(passwd), "\n")[:4], "")

	if err := errors.Join(os.Chmod(b.sudoers(), 0o600), os.WriteFile(b.sudoers(), []byte("# nothing\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	b.ensured(Wish{Sudo: true})
	b.write("etc/passwd", removed) // the account made anew, the rules as they were
	b.ensured(Wish{Sudo: true})
	if text, err := os.ReadFile(b.sudoers()); err != nil || string(text) != "# nothing\n" {
		t.Errorf("an edit became %q, %v", text, err)
	}
	if err := os.Remove(b.sudoers()); err != nil {
		t.Fatal(err)
	}
	b.ensured(Wish{Sudo: true})
	b.write("etc/passwd", removed)
	b.ensured(Wish{Sudo: true})
	if _, err := os.Lstat(b.sudoers()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that was removed is there again: %v", err)
	}
	if c := b.calls("useradd"); len(c) != 3 {
		t.Errorf("the account was made %d times", len(c))
	}
}

// TestSudoersOfOthers: a file or a link that is there first stays.
func TestSudoersOfOthers(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	if err := os.Symlink("/no/such/file", b.sudoers()); err != nil {
		t.Fatal(err)
	}
	b.ensured(Wish{Sudo: true})
	if to, err := os.Readlink(b.sudoers()); err != nil || to != "/no/such/file" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
}

// TestSudoLater: without sudo there is nothing to write rules for; once it is
// installed there is.
func TestSudoLater(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	if err := os.Remove(b.in("bin/visudo")); err != nil {
		t.Fatal(err)
	}
	b.ensured(Wish{Sudo: true})
	if _, err := os.Stat(b.sudoers()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	b.tool("visudo", "")
	b.ensured(Wish{})
	if _, err := os.Stat(b.sudoers()); !errors.Is(err, fs.ErrNotExist) {
		t.Error("nobody wished for it:", err)
	}
	b.ensured(Wish{Sudo: true})
	if _, err := os.Stat(b.sudoers()); err != nil {
		t.Error(err)
	}
}

// TestAccountOfOthers: one that is there gets neither rights nor a home from us.
func TestAccountOfOthers(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.write("etc/passwd", "ssm-user:x:500:501::/nowhere:/bin/sh\n")
	if a := b.ensured(Wish{Sudo: true, UID: 7, Groups: []string{"wheel"}}); a.Principal.UID != 500 || a.StartDir() != "/" {
		t.Errorf("%+v", a)
	}
	if calls, err := os.ReadFile(b.in("calls")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("called %q, %v", calls, err)
	}
	b.write("data/ssm-user.json", "not JSON") // must not keep anybody out
	b.ensured(Wish{Sudo: true})
}

// TestKilledMaker: whatever a killed process left undone, the next one does,
// and those who come meanwhile wait for it.
func TestKilledMaker(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.write("data/ssm-user.json", `{"Making":true}`)
	b.write("etc/passwd", "ssm-user:x:"+b.owner+":41001::"+b.in("home/ssm-user")+":/bin/sh\n")
	b.write("etc/sudoers.d/.ssm-agent-users.new", "half a li")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := b.ensure(t.Context(), Wish{Sudo: true, Groups: []string{"wheel"}}); err != nil {
				t.Error(err)
			}
			var st unix.Stat_t
			if err := unix.Stat(b.in("home/ssm-user"), &st); err != nil || fmt.Sprint(st.Uid) != b.owner {
				t.Errorf("the home is %d's, %v", st.Uid, err)
			}
			if _, err := os.Stat(b.sudoers()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if c := b.calls("usermod"); len(c) != 1 || c[0] != "-a -G wheel ssm-user" || len(b.calls("useradd")) > 0 {
		t.Errorf("usermod %q, useradd %q", c, b.calls("useradd"))
	}
	if left, err := filepath.Glob(b.in("etc/sudoers.d/.*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*bed)
		wish   Wish
		want   string
	}{
		"no useradd": {change: func(b *bed) { _ = os.Remove(b.in("bin/useradd")) }, want: "neither useradd nor BusyBox's adduser"},
		"Debian's BusyBox": {change: func(b *bed) {
			_ = os.Remove(b.in("bin/useradd"))
			b.tool("busybox", "echo sh; echo ls")
		}, want: "neither useradd nor BusyBox's adduser"},
		"uids": {change: func(b *bed) {
			b.tool("useradd", `echo "useradd: Can't get unique UID (no more available UIDs)" >&2; exit 4`)
		}, want: "no user or group id is left"},
		"BusyBox's uids": {change: func(b *bed) {
			_ = os.Remove(b.in("bin/useradd"))
			b.tool("busybox", `[ "$1" = --list ] && { echo adduser; echo addgroup; exit; }; echo "adduser: no uids left" >&2; exit 1`)
		}, want: "no user or group id is left"},
		"full disk": {change: func(b *bed) {
			b.tool("useradd", `echo "useradd: /etc/passwd.50 file write error: No space left on device" >&2; exit 1`)
		}, want: "is full, free some space there"},
		"locked": {change: func(b *bed) {
			b.tool("useradd", `echo "useradd: cannot lock /etc/passwd; try again later." >&2; exit 1`)
		}, want: "another program has the account files locked"},
		"no such group":  {change: func(b *bed) { b.tool("useradd", `echo "useradd: group 'x' does not exist" >&2; exit 6`) }, wish: Wish{Groups: []string{"x"}}, want: "see ssmagent.SessionUser of the configuration: useradd ended with exit code 6: useradd: group 'x' does not exist"},
		"says nothing":   {change: func(b *bed) { b.tool("useradd", `exit 3`) }, want: "exit code 3: it printed nothing"},
		"killed":         {change: func(b *bed) { b.tool("useradd", `kill -9 $$`) }, want: "was ended from outside: killed"},
		"root's group":   {change: func(b *bed) { b.write("etc/group", "ssm-user:x:0:\n") }, want: "has id 0"},
		"home is a file": {change: func(b *bed) { b.write("home/ssm-user", "") }, want: "is no directory"},
		"somebody's home": {change: func(b *bed) {
			b.write("etc/passwd", "ada:x:"+b.owner+":1:::\n")
			b.mkdirOwned("home/ssm-user")
		}, want: "is there already and belongs to ada"},
		"bad rules":     {change: func(b *bed) { b.tool("visudo", `echo "syntax error" >&2; exit 1`) }, wish: Wish{Sudo: true}, want: "ssmagent.SessionUser.Sudo"},
		"no sudoers.d":  {change: func(b *bed) { _ = os.Remove(b.in("etc/sudoers.d")) }, wish: Wish{Sudo: true}, want: "ssmagent.SessionUser.Sudo"},
		"broken record": {change: func(b *bed) { b.write("data/ssm-user.json", "{") }, want: "remove "},
		"root's uid":    {change: func(b *bed) { b.write("etc/passwd", "ssm-user:x:0:5:::\n") }, want: "user or group id 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			tc.change(b)
			_, err := b.ensure(t.Context(), tc.wish)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if left, _ := filepath.Glob(b.in("etc/sudoers.d/*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			if l, lerr := b.load(); lerr == nil && l.Making != (tc.wish.Sudo) {
				t.Errorf("it remembers %+v", l)
			}
		})
	}
}

func (b *bed) mkdirOwned(path string) {
	b.t.Helper()
	if err := os.Mkdir(b.in(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(b.in(path), 41000, 41001); err != nil {
			b.t.Fatal(err)
		}
	}
}

// TestTools: what a tool leaves behind, or prints without end, is not waited for.
func TestTools(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.tool("getent", `/bin/sleep 1000 & echo $! >>`+b.in("left")+`; echo 'eve:x:950:951::/:/bin/sh'`)
	b.tool("id", `/usr/bin/yes 951 | /usr/bin/head -c 1000000; echo 951`)
	b.write("etc/nsswitch.conf", "group: files sss\n")
	if _, err := b.Lookup(t.Context(), "eve"); err == nil || !strings.Contains(err.Error(), "groups") {
		t.Errorf("a million bytes are no list of groups: %v", err)
	}
	b.tool("id", `echo 951`)
	if a, err := b.Lookup(t.Context(), "eve"); err != nil || a.Principal.UID != 950 {
		t.Errorf("%+v, %v", a, err)
	}
	left, err := os.ReadFile(b.in("left"))
	if err != nil {
		t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(left)) {
		if n, err := strconv.Atoi(pid); err != nil || unix.Kill(n, unix.SIGKILL) != nil {
			t.Errorf("process %s of the tool is gone: %v", pid, err)
		}
	}
	b.tool("getent", `kill -STOP $$`)
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("the session is over")
	cancel(over)
	if _, err := b.Lookup(ctx, "eve"); !errors.Is(err, over) {
		t.Errorf("a tool that hangs: %v", err)
	}
}

// TestHomeIsKept: the files of an account that was removed are the new one's
// because it gets their user id, not because somebody gives them away.
func TestHomeIsKept(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.mkdirOwned("home/ssm-user")
	a := b.ensured(Wish{})
	if c := b.calls("useradd"); len(c) != 1 || c[0] != "-m -u "+b.owner+" ssm-user" || fmt.Sprint(a.Principal.UID) != b.owner {
		t.Errorf("useradd was called %q, made %+v", c, a)
	}
}

// TestHomeOfRoot: an empty directory is handed over only where its name says
// that it is for the account.
func TestHomeOfRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root to have directories of root's")
	}
	for _, dir := range []string{"home/ssm-user", "home/empty"} {
		b := newBed(t)
		if err := os.Mkdir(b.in(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := b.ensure(t.Context(), Wish{Home: b.in(dir)})
		var st unix.Stat_t
		if serr := unix.Stat(b.in(dir), &st); serr != nil {
			t.Fatal(serr)
		}
		if dir == "home/ssm-user" && (err != nil || st.Uid != 41000) || dir == "home/empty" && (err == nil || !strings.Contains(err.Error(), "belongs to root") || st.Uid != 0) {
			t.Errorf("%s is %d's, %v", dir, st.Uid, err)
		}
	}
}

func TestStartDir(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	for mode, want := range map[fs.FileMode]string{0o711: b.in("home"), 0o700: "/"} {
		if err := os.Chmod(b.in("home"), mode); err != nil {
			t.Fatal(err)
		}
		a := Account{Home: b.in("home")}
		a.Principal.Set, a.Principal.UID, a.Principal.GID = true, 60000, 60000
		if got := a.StartDir(); got != want {
			t.Errorf("mode %o: %s", mode, got)
		}
	}
	for _, home := range []string{"", "relative", "/etc/passwd", "/no/such"} {
		if got := (Account{Home: home}).StartDir(); got != "/" {
			t.Errorf("%q: %s", home, got)
		}
	}
}
