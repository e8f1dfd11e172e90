package profile

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"
)

// recorder has calls that write down how they were called.
type recorder struct {
	log    []string
	given  info
	name   string
	hive   windows.Handle // that was unloaded
	tokens []windows.Token
}

const (
	someToken windows.Token  = 0x51
	someHive  windows.Handle = 0x52
)

func (r *recorder) calls() calls {
	note := func(t windows.Token, what string) {
		r.log = append(r.log, what)
		r.tokens = append(r.tokens, t)
	}
	return calls{
		load: func(t windows.Token, i *info) error {
			note(t, "load")
			r.given, r.name = *i, windows.UTF16PtrToString(i.user)
			i.hive = someHive
			return nil
		},
		unload: func(t windows.Token, hive windows.Handle) error {
			note(t, "unload")
			r.hive = hive
			return nil
		},
		folder:  func(t windows.Token) (string, error) { note(t, "folder"); return `C:\Users\ssm-user`, nil },
		environ: func(t windows.Token) ([]string, error) { note(t, "environ"); return []string{"USERNAME=ssm-user"}, nil },
	}
}

// TestLoad: what Windows is asked, and in which order.
func TestLoad(t *testing.T) {
	t.Parallel()
	r := new(recorder)
	p, err := loadBy(r.calls(), someToken, "ssm-user")
	if err != nil {
		t.Fatal(err)
	}
	if p.Dir != `C:\Users\ssm-user` || !slices.Equal(p.Env, []string{"USERNAME=ssm-user"}) || p.Poor != nil {
		t.Errorf("%+v", p)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if got := strings.Join(r.log, " "); got != "load environ folder unload" {
		t.Errorf("asked for %s", got)
	}
	if slices.ContainsFunc(r.tokens, func(t windows.Token) bool { return t != someToken }) || r.hive != someHive {
		t.Errorf("tokens %v, hive %v", r.tokens, r.hive)
	}
	// PROFILEINFOW has two numbers, five pointers and a handle.
	want := info{size: uint32(8 + 6*unsafe.Sizeof(uintptr(0))), flags: 1, user: r.given.user}
	if r.given != want || r.name != "ssm-user" {
		t.Errorf("%+v for %q, want %+v", r.given, r.name, want)
	}
}

// TestFaults: each call may fail. What can be used without it is used and says
// why it is poor; what was loaded is given back.
func TestFaults(t *testing.T) {
	t.Parallel()
	fail := func(c *calls, err error) { c.load = func(windows.Token, *info) error { return err } }
	for _, tc := range []struct {
		call   string
		err    windows.Errno
		fail   func(*calls, error)
		want   string
		usable bool
		log    string
	}{
		{"LoadUserProfile", windows.ERROR_PRIVILEGE_NOT_HELD, fail, "SeBackupPrivilege", true, "environ folder"},
		{"LoadUserProfile", windows.ERROR_SHARING_VIOLATION, fail, "NTUSER.DAT is in use", true, "environ folder"},
		{"LoadUserProfile", windows.ERROR_NO_SYSTEM_RESOURCES, fail, "memory is short", true, "environ folder"},
		{"LoadUserProfile", windows.ERROR_DISK_FULL, fail, "no room for its folder", true, "environ folder"},
		{"CreateEnvironmentBlock", windows.ERROR_INVALID_HANDLE, func(c *calls, err error) {
			c.environ = func(windows.Token) ([]string, error) { return nil, err }
		}, "make the environment of the account ssm-user", false, "load unload"},
		{"GetUserProfileDirectory", windows.ERROR_FILE_NOT_FOUND, func(c *calls, err error) {
			c.folder = func(windows.Token) (string, error) { return "", err }
		}, "find the folder of the account ssm-user", true, "load environ unload"},
		{"UnloadUserProfile", windows.ERROR_INVALID_HANDLE, func(c *calls, err error) {
			c.unload = func(windows.Token, windows.Handle) error { return err }
		}, "unload the profile of the account ssm-user", true, "load environ folder"},
	} {
		r := new(recorder)
		sys := r.calls()
		tc.fail(&sys, tc.err)
		p, err := loadBy(sys, someToken, "ssm-user")
		if (err == nil) != tc.usable {
			t.Errorf("%s, %v: %v", tc.call, tc.err, err)
		}
		if all := errors.Join(err, p.Poor, p.Close()); !errors.Is(all, tc.err) || !strings.Contains(all.Error(), tc.want) {
			t.Errorf("%s, %v: %v", tc.call, tc.err, all)
		}
		if got := strings.Join(r.log, " "); got != tc.log {
			t.Errorf("%s: asked for %s, want %s", tc.call, got, tc.log)
		}
	}
}

// TestOwn: the real calls, by a token of our own account.
func TestOwn(t *testing.T) {
	t.Parallel()
	var token windows.Token
	if err := windows.OpenProcessToken(windows.CurrentProcess(), windows.TOKEN_ALL_ACCESS, &token); err != nil {
		t.Fatal(err)
	}
	defer token.Close()
	p, err := Load(uintptr(token), "root")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Env) == 0 || p.Dir == "" {
		t.Errorf("%+v", p)
	}
	// Wine unloads nothing and says so by no error at all.
	if err := p.Close(); err != nil && (os.Getenv("SSMAGENT_WINE") == "" || !errors.Is(err, windows.ERROR_SUCCESS)) {
		t.Error(err)
	}
}
