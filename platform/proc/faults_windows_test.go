package proc

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/windows"

	"ssmagent/platform/job"
)

// aSpec is a process that ends at once, with code 42.
func aSpec(t *testing.T) Spec {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Spec{Path: self, Args: []string{"proctest", "exit", "42"}, Env: []string{"SSMAGENT_PROCTEST=1", "SYSTEMROOT=" + os.Getenv("SYSTEMROOT")}}
}

// ourToken is a token of this process's own account.
func ourToken(t *testing.T) windows.Token {
	t.Helper()
	var token windows.Token
	if err := windows.OpenProcessToken(windows.CurrentProcess(), windows.TOKEN_ALL_ACCESS, &token); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = token.Close() })
	return token
}

// counted counts the handles that are made and not closed.
func counted(sys calls, open map[windows.Handle]bool) calls {
	made := func(h windows.Handle, err error) (windows.Handle, error) {
		if err == nil {
			open[h] = true
		}
		return h, err
	}
	duplicate, primary, create, closes := sys.duplicate, sys.primary, sys.create, sys.close
	sys.duplicate = func(h windows.Handle) (windows.Handle, error) { return made(duplicate(h)) }
	sys.primary = func(t windows.Token) (windows.Token, error) {
		dup, err := primary(t)
		_, _ = made(windows.Handle(dup), err)
		return dup, err
	}
	sys.create = func(t windows.Token, i image) (windows.ProcessInformation, error) {
		info, err := create(t, i)
		_, _ = made(info.Thread, err)
		return info, err
	}
	sys.close = func(h windows.Handle) error {
		delete(open, h)
		return closes(h)
	}
	return sys
}

// TestFaults: each call of Windows that a start makes may fail. It then says
// why, nothing runs, and no handle is left.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		call  string
		fail  func(*calls, error)
		err   windows.Errno
		token bool
		want  string
	}{
		{"DuplicateHandle", func(c *calls, err error) {
			c.duplicate = func(windows.Handle) (windows.Handle, error) { return 0, err }
		}, windows.ERROR_INVALID_HANDLE, false, "hand on NUL"},
		{"UpdateProcThreadAttribute", func(c *calls, err error) {
			c.attributes = func([]windows.Handle) (*windows.ProcThreadAttributeListContainer, error) { return nil, err }
		}, windows.ERROR_NOT_ENOUGH_MEMORY, false, "name the handles to inherit"},
		{"CreateJobObject", func(c *calls, err error) { c.newJob = func(string) (*job.Job, error) { return nil, err } }, windows.ERROR_NO_SYSTEM_RESOURCES, false, ""},
		{"SetInformationJobObject", func(c *calls, err error) { c.tether = func(*job.Job) error { return err } }, windows.ERROR_INVALID_PARAMETER, false, ""},
		{"AssignProcessToJobObject", func(c *calls, err error) { c.add = func(*job.Job, windows.Handle) error { return err } }, windows.ERROR_ACCESS_DENIED, false, ""},
		{"GetProcessTimes", func(c *calls, err error) { c.began = func(windows.Handle) (uint64, error) { return 0, err } }, windows.ERROR_ACCESS_DENIED, false, ""},
		{"ResumeThread", func(c *calls, err error) { c.resume = func(windows.Handle) error { return err } }, windows.ERROR_ACCESS_DENIED, false, "resume it"},
		{"CreateProcess", create, windows.ERROR_FILE_NOT_FOUND, false, ""},
		{"CreateProcess", create, windows.ERROR_DIRECTORY, false, "the working directory is none"},
		{"CreateProcess", create, windows.ERROR_BAD_EXE_FORMAT, false, "no program for this processor"},
		{"CreateProcess", create, windows.ERROR_ELEVATION_REQUIRED, false, "elevated administrator"},
		{"CreateProcess", create, windows.ERROR_COMMITMENT_LIMIT, false, "memory is short"},
		{"CreateProcessAsUser", create, windows.ERROR_PRIVILEGE_NOT_HELD, true, "SeAssignPrimaryTokenPrivilege"},
		{"CreateProcessAsUser", create, windows.ERROR_ACCESS_DENIED, true, "give it the right to read and execute"},
		{"GetTokenInformation", func(c *calls, err error) { c.isPrimary = func(windows.Token) (bool, error) { return false, err } }, windows.ERROR_INVALID_HANDLE, true, "look at the account's token"},
		{"DuplicateTokenEx", func(c *calls, err error) {
			c.isPrimary = func(windows.Token) (bool, error) { return false, nil }
			c.primary = func(windows.Token) (windows.Token, error) { return 0, err }
		}, windows.ERROR_BAD_IMPERSONATION_LEVEL, true, "only LocalSystem"},
	} {
		open := map[windows.Handle]bool{}
		sys := counted(system(), open)
		tc.fail(&sys, tc.err)
		s := aSpec(t)
		s.Tethered = true
		if tc.token {
			s.Principal.Token = uintptr(ourToken(t))
		}
		p, err := begun(sys, s)
		if p != nil || !errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s, %v: %v", tc.call, tc.err, err)
		}
		if len(open) > 0 {
			t.Errorf("%s, %v: %d handles are left", tc.call, tc.err, len(open))
		}
	}
}

func create(c *calls, err error) {
	c.create = func(windows.Token, image) (windows.ProcessInformation, error) {
		return windows.ProcessInformation{}, err
	}
}

// TestBreakaway: a job that lets nobody go keeps no worker from starting.
func TestBreakaway(t *testing.T) {
	t.Parallel()
	sys := system()
	sys.inJob = func() (bool, error) { return true, nil }
	real := sys.create
	var tried []uint32
	sys.create = func(token windows.Token, i image) (windows.ProcessInformation, error) {
		tried = append(tried, i.flags&windows.CREATE_BREAKAWAY_FROM_JOB)
		if len(tried) == 1 {
			return windows.ProcessInformation{}, windows.ERROR_ACCESS_DENIED
		}
		return real(token, i)
	}
	s := aSpec(t)
	s.Session = true
	p, err := begun(sys, s)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := p.Wait(t.Context()); err != nil || st.Code != 42 {
		t.Errorf("%+v %v", st, err)
	}
	if len(tried) != 2 || tried[0] == 0 || tried[1] != 0 {
		t.Errorf("breakaway was asked for %v", tried)
	}
}

// TestAsUser: what a process is given that runs by a token. Wine ignores most
// of it, so it is recorded; it then runs for real by a token of our own.
func TestAsUser(t *testing.T) {
	t.Parallel()
	own := ourToken(t)
	var threads windows.Token // as a network logon gives
	if err := windows.DuplicateTokenEx(own, windows.MAXIMUM_ALLOWED, nil, windows.SecurityImpersonation, windows.TokenImpersonation, &threads); err != nil {
		t.Fatal(err)
	}
	defer threads.Close()
	for _, token := range []windows.Token{own, threads} {
		open := map[windows.Handle]bool{}
		sys := counted(system(), open)
		real := sys.create
		var got image
		var by windows.Token
		sys.create = func(t windows.Token, i image) (windows.ProcessInformation, error) {
			got, by = i, t
			return real(t, i)
		}
		s := aSpec(t)
		s.Principal.Token, s.Dir, s.Tethered = uintptr(token), t.TempDir(), true
		p, err := begun(sys, s)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := p.Wait(t.Context()); err != nil || st.Code != 42 {
			t.Errorf("%+v %v", st, err)
		}
		if (by == token) != (token == own) {
			t.Errorf("token %#x became %#x", token, by)
		}
		const flags = windows.CREATE_SUSPENDED | windows.CREATE_UNICODE_ENVIRONMENT | windows.EXTENDED_STARTUPINFO_PRESENT | windows.DETACHED_PROCESS
		if got.flags != flags {
			t.Errorf("flags %#x, want %#x", got.flags, flags)
		}
		if d := got.startup.Desktop; d == nil || *d != 0 {
			t.Error("the desktop is not an empty name")
		}
		if dir := windows.UTF16PtrToString(got.dir); dir != s.Dir {
			t.Errorf("directory %q", dir)
		}
		if env := windows.UTF16PtrToString(got.env); env != s.Env[0] {
			t.Errorf("the environment begins with %q", env)
		}
		if len(open) > 0 {
			t.Errorf("%d handles are left", len(open))
		}
	}
}

func TestUnborn(t *testing.T) {
	t.Parallel()
	for code, want := range map[uint32]string{0xC0000142: "0xc0000142: a library could not begin, most often since the account gets no window station", 0xC0000135: "missing", 0: "", 1: "", 128: ""} {
		err := Unborn(State{Code: int(code)})
		if (err != nil) != (want != "") || err != nil && (!errors.Is(err, ErrUnborn) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%#x: %v", code, err)
		}
	}
}
