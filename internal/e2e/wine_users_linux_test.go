package e2e

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// accounts is a Windows machine of its own, whose netapi32.dll is the one of
// users/testdata/recorder, and whose agent asks that for log-ons too.
type accounts struct {
	wine
	folder string // the recorder's
}

// newAccounts makes it from what scripts/wine.sh made machines of.
func newAccounts(t *testing.T) accounts {
	t.Helper()
	w := newWine(t)
	prefix, err := os.MkdirTemp(filepath.Dir(w.prefix), "prefix.")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(prefix); err != nil {
			t.Error(err)
		}
	})
	if out, err := exec.Command("../../scripts/wine.sh", "-machine", prefix).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	system := filepath.Join(prefix, "drive_c", "windows", "system32")
	recorder := os.Getenv("SSMAGENT_WINDOWS_RECORDER")
	for to, from := range map[string]string{"netapi32.dll": filepath.Join(recorder, "netapi32.dll"), "WindowsPowerShell/v1.0/powershell.exe": filepath.Join(w.bin, "powershell.exe")} {
		file := filepath.Join(system, to)
		b, err := os.ReadFile(from)
		if err := errors.Join(err, os.Remove(file), os.WriteFile(file, b, 0o755)); err != nil { // the old one is the template's, too
			t.Fatal(err)
		}
	}
	a := accounts{wine: wine{t: t, prefix: prefix, env: []string{"WINEDLLOVERRIDES=netapi32=n;mscoree=;mshtml=", `SSMAGENT_RECORDER=C:\recorder`}, bin: recorder}, folder: filepath.Join(prefix, "drive_c", "recorder")}
	if err := os.Mkdir(a.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	a.boot()
	return a
}

// boot starts wine's server and services and waits for them, with their output
// closed: they would hold open whatever they inherit.
func (a accounts) boot() {
	a.t.Helper()
	env := append(os.Environ(), "WINEDEBUG=-all", "WINEPREFIX="+a.prefix)
	server := func(arg string) error {
		cmd := exec.Command("wineserver", arg)
		cmd.Env = env
		return cmd.Run()
	}
	if err := server("-p"); err != nil {
		a.t.Fatal(err)
	}
	services := exec.Command("wine", "cmd")
	services.Env = env
	stays, err := services.StdinPipe()
	if err == nil {
		err = services.Start()
	}
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() {
		stays.Close()
		if err := server("-k"); err != nil {
			a.t.Error(err)
		}
		_ = services.Wait() // as its server ended it
	})
	up := exec.Command("../../scripts/wine.sh", "-up")
	up.Env = env
	if out, err := up.CombinedOutput(); err != nil {
		a.t.Fatalf("%v\n%s", err, out)
	}
}

// node registers the machine, with the folders of any other, and starts its
// agent.
func (a accounts) node(p *plane) (id string) {
	a.t.Helper()
	id = a.register(p, filepath.Join(a.prefix, "drive_c"), nil)
	a.windows("amazon-ssm-agent.exe")
	p.online(id)
	return id
}

// enabled says whether there is an account that can be used.
func (a accounts) enabled() bool {
	a.t.Helper()
	f, err := os.Open(filepath.Join(a.folder, "state"))
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		a.t.Fatal(err)
	}
	defer f.Close()
	var s struct{ Exists, Flags, Member uint32 }
	if err := binary.Read(f, binary.LittleEndian, &s); err != nil {
		a.t.Fatal(err)
	}
	const disabled = 0x2
	return s.Exists == 1 && s.Flags&disabled == 0
}

// calls are those of one name so far.
func (a accounts) calls(name string) (calls []string) {
	a.t.Helper()
	b, err := os.ReadFile(filepath.Join(a.folder, "calls"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, name) {
			calls = append(calls, strings.TrimSpace(line))
		}
	}
	return calls
}

// killWorker kills the one session's worker that this machine has.
func (a accounts) killWorker() {
	a.t.Helper()
	workers := processes("ssm-session-worker")
	if len(workers) != 1 {
		a.t.Fatalf("%d workers", len(workers))
	}
	if err := syscall.Kill(workers[0], syscall.SIGKILL); err != nil {
		a.t.Error(err)
	}
}

// TestWineSessionUser: sessions of an agent that may run others' processes are
// ssm-user's: made once, with a password for each session, disabled after the
// last one, also when a worker is killed. Elevated ones leave it alone, and a
// domain controller says what is to be made.
func TestWineSessionUser(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	p := newPlane(t)
	id := a.node(p)
	p.sessionDocument("Elevated", `{"schemaVersion":"1.0","description":"x","sessionType":"InteractiveCommands","properties":{"windows":{"commands":"elevated","runAsElevated":true}}}`)
	pe := sit(t, p.shell(p.url, id, "-document", "Elevated"), 80, 24)
	pe.sees(`called with \["elevated"\]`)
	pe.ends()
	if c := a.calls(""); len(c) > 0 {
		t.Errorf("an elevated session asked for %q", c)
	}

	first, second := sit(t, p.shell(p.url, id), 80, 24), sit(t, p.stock(id), 80, 24)
	first.sees(`PS>`)
	second.sees(`PS>`)
	if !a.enabled() || len(a.calls("NetUserAdd ")) != 1 || len(a.calls("NetLocalGroupAddMembers Administratoren ssm-user")) != 1 || len(a.calls("LogonUserW ssm-user . type=2")) != 2 {
		t.Errorf("calls %q", a.calls(""))
	}
	passwords := a.calls("NetUserSetInfo 1003 ")
	if slices.Sort(passwords); len(passwords) != 2 || len(slices.Compact(passwords)) != 2 {
		t.Errorf("passwords %q", passwords)
	}
	first.types("exit 5\n")
	if code := first.ends(); code != 5 {
		t.Errorf("exit 5 is %d", code)
	}
	if !a.enabled() {
		t.Error("the account is disabled under a session")
	}
	second.types("exit 0\n")
	second.ends()
	eventually(t, "the account to be disabled after the last session", func() bool { return !a.enabled() })

	third := sit(t, p.shell(p.url, id), 80, 24)
	third.sees(`PS>`)
	if !a.enabled() {
		t.Error("the account cannot be used")
	}
	a.killWorker()
	third.ends()
	eventually(t, "the account to be disabled after its worker was killed", func() bool { return !a.enabled() })
	eventually(t, "the killed session's programs to end", func() bool { return len(processes("powershell.exe")) == 0 })

	if err := errors.Join(os.WriteFile(filepath.Join(a.folder, "role"), []byte(strconv.Itoa(5)), 0o600), os.Remove(filepath.Join(a.folder, "state"))); err != nil {
		t.Fatal(err)
	}
	last := sit(t, p.shell(p.url, id), 200, 24)
	last.sees(`create the domain user ssm-user by hand`)
	last.ends()
	if c := a.calls("NetUserAdd "); len(c) != 1 {
		t.Errorf("on a domain controller: %q", c)
	}
}
