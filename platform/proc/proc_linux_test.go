package proc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"ssmagent/platform/proc"
	"ssmagent/platform/proc/proctest"
)

func TestTrees(t *testing.T) { proctest.RunTrees(t, true) }

func report(t *testing.T, change func(*proc.Spec)) proctest.Report {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := proc.Spec{Path: self, Args: []string{"x", "report"}, Env: []string{"SSMAGENT_PROCTEST=1", "GORACE=atexit_sleep_ms=0"}, Stdout: w}
	change(&s)
	p, err := proc.Start(s)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	var rep proctest.Report
	if err := json.NewDecoder(r).Decode(&rep); err != nil {
		t.Fatal(err)
	}
	if st, err := p.Wait(t.Context()); err != nil || st.Code != 0 {
		t.Fatalf("%+v, %v", st, err)
	}
	return rep
}

func TestOnlyGivenDescriptors(t *testing.T) {
	// One that a careless parent would have left open to us.
	leaked, err := syscall.Open("/dev/zero", syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(leaked)
	extra, err := os.Open("/dev/full")
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	rep := report(t, func(s *proc.Spec) { s.ExtraFiles = []*os.File{extra} })
	got := strings.Join(rep.FDs, "\n")
	for _, line := range rep.FDs {
		fd, target, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(target, "anon_inode:"), strings.HasPrefix(target, "/sys/fs/cgroup/"): // the child's own runtime
		case fd == "0" && target == "/dev/null", fd == "1", fd == "2" && target == "/dev/null", fd == "3" && target == "/dev/full":
		default:
			t.Errorf("unexpected descriptor %s", line)
		}
	}
	if !strings.Contains(got, "3 /dev/full") {
		t.Errorf("descriptor 3 is missing: %s", got)
	}
}

func TestUmaskIsTheChildsOnly(t *testing.T) {
	before := syscall.Umask(0o022)
	syscall.Umask(before)
	for mask, want := range map[int]string{0: "0000", 0o27: "0027", 0o777: "0777"} {
		if rep := report(t, func(s *proc.Spec) { s.Umask, s.UmaskSet = mask, true }); rep.Umask != want {
			t.Errorf("umask %s, want %s", rep.Umask, want)
		}
	}
	if rep := report(t, func(*proc.Spec) {}); rep.Umask != fmt.Sprintf("%04o", before) {
		t.Errorf("umask not asked for became %s", rep.Umask)
	}
	after := syscall.Umask(before)
	syscall.Umask(before)
	if after != before {
		t.Errorf("our umask went from %o to %o", before, after)
	}
}

func TestGroupAndSession(t *testing.T) {
	if rep := report(t, func(s *proc.Spec) { s.Group = true }); rep.PGID != rep.Self.PID || rep.SID == rep.Self.PID {
		t.Errorf("group: %+v", rep)
	}
	for _, group := range []bool{false, true} {
		if rep := report(t, func(s *proc.Spec) { s.Session, s.Group = true, group }); rep.PGID != rep.Self.PID || rep.SID != rep.Self.PID {
			t.Errorf("session: %+v", rep)
		}
	}
	rep := report(t, func(*proc.Spec) {})
	if rep.PGID != syscall.Getpgrp() {
		t.Errorf("neither: %+v", rep)
	}
}

func TestKillGroupWithoutOneIsRefused(t *testing.T) {
	p, err := proc.Start(proc.Spec{Path: "/bin/true", Args: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.KillGroup(); err == nil {
		t.Error("would have ended our own group")
	}
	if _, err := p.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPrincipal(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become somebody else")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := proc.Start(proc.Spec{
		Path: "/bin/sh", Args: []string{"sh", "-c", "id -u; id -g; id -G"}, Env: []string{"PATH=/usr/bin:/bin"},
		Stdout: w, Principal: proc.Principal{Set: true, UID: 65534, GID: 65533, Groups: []uint32{65533, 4}},
	})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 200)
	n := 0
	for {
		m, err := r.Read(b[n:])
		n += m
		if err != nil {
			break
		}
	}
	if got := string(b[:n]); got != "65534\n65533\n65533 4\n" {
		t.Errorf("ids are %q", got)
	}
	if _, err := p.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestUnsupportedIsSaid(t *testing.T) {
	s := proc.Spec{Path: "/bin/true", Args: []string{"true"}, Principal: proc.Principal{Token: 1}}
	if _, err := proc.Start(s); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%+v: %v", s, err)
	}
}

func TestMissingInterpreterIsNamed(t *testing.T) {
	script := t.TempDir() + "/script"
	proctest.Plant(t, script, []byte("#!/no/such/shell\n"))
	_, err := proc.Start(proc.Spec{Path: script, Args: []string{"script"}})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "interpreter") {
		t.Errorf("error %v", err)
	}
}

func TestKillMarked(t *testing.T) {
	start := func(value string) proc.Process {
		p, err := proc.Start(proc.Spec{
			Path: "/bin/sh", Args: []string{"sh", "-c", "sleep 60 & wait"}, Session: true,
			Env: []string{"PATH=/usr/bin:/bin", "SSMAGENT_TEST_MARK=" + value},
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	mark := fmt.Sprint(os.Getpid())
	marked, other := start(mark), start(mark+"0")
	if err := proc.KillMarked(t.Context(), "SSMAGENT_TEST_MARK", mark); err != nil {
		t.Fatal(err)
	}
	if st, err := marked.Wait(t.Context()); err != nil || st.Signal != "killed" {
		t.Errorf("the marked one: %+v, %v", st, err)
	}
	if _, err := proc.Find(other.ID()); err != nil {
		t.Errorf("the other one: %v", err)
	}
	if err := errors.Join(other.KillGroup(), proc.KillMarked(t.Context(), "SSMAGENT_TEST_MARK", mark+"0")); err != nil {
		t.Error(err)
	}
	if _, err := other.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestForkBomb(t *testing.T) {
	if err := proc.BecomeSubreaper(); err != nil {
		t.Fatal(err)
	}
	// Each member leaves its session and parent again and again.
	script := `f() { setsid sh -c 'i=0; while [ $i -lt 200 ]; do setsid sleep 60 & i=$((i+1)); done'; }; f & f & f & wait`
	p, err := proc.Start(proc.Spec{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := proc.KillDescendants(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	if left, err := proc.Descendants(); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		p, err := proc.Start(proc.Spec{Path: "/bin/true", Args: []string{"true"}})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
