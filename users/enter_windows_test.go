package users

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"

	"ssmagent/platform/proc/proctest"
)

// Flags of the recorder's account: the script flag, and that of normal ones.
const (
	flagsEnabled  = 0x201
	flagsDisabled = flagsEnabled | flagDisabled
)

// masked are calls without the passwords in them, which are returned apart.
func masked(calls []string) (plain, passwords []string) {
	for _, c := range calls {
		if pw, ok := strings.CutPrefix(c, "NetUserSetInfo 1003 "); ok {
			passwords = append(passwords, pw)
			c = "NetUserSetInfo 1003"
		}
		plain = append(plain, c)
	}
	return plain, passwords
}

func (b *bed) called(want ...string) (passwords []string) {
	b.t.Helper()
	got, passwords := masked(b.calls())
	if !slices.Equal(got, want) {
		b.t.Errorf("called\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return passwords
}

const (
	ordinaryLogon = "LogonUserW ssm-user . type=2 provider=0"
	joined        = "NetLocalGroupAddMembers Administratoren ssm-user"
)

// TestFirstSession: the first session makes the account, and puts it into the
// group that is called Administrators elsewhere; the next one gives it another
// password; it can be used while sessions are there and not afterwards.
func TestFirstSession(t *testing.T) {
	b := newBed(t)
	a, leave := b.enters(Wish{Sudo: true, Groups: []string{"Benutzer"}})
	if a.Name != Name || a.Principal.Token == 0 || a.Principal.Set {
		t.Errorf("%+v", a)
	}
	first := b.called("NetUserSetInfo 1003",
		fmt.Sprintf("NetUserAdd server=0 level=1 name=ssm-user length=%d age=0 priv=1 home=0 comment=0 flags=1 script=0 parameter=0", b.passwordLength()),
		joined, "NetLocalGroupAddMembers Benutzer ssm-user", ordinaryLogon)
	if s := b.state(); s.Flags != flagsEnabled || s.Member != 1 {
		t.Errorf("%+v", s)
	}
	leave()
	leave() // once is enough
	b.called(fmt.Sprintf("NetUserSetInfo 1008 flags=%d", flagsDisabled))
	b.idle()
	b.session(Wish{Sudo: true})
	second := b.called("NetUserSetInfo 1003", fmt.Sprintf("NetUserSetInfo 1008 flags=%d", flagsEnabled), ordinaryLogon, fmt.Sprintf("NetUserSetInfo 1008 flags=%d", flagsDisabled))
	b.idle()
	if len(first) != 1 || len(second) != 1 || first[0] == second[0] {
		t.Errorf("passwords %q and %q", first, second)
	}
	for _, pw := range slices.Concat(first, second) {
		checkPassword(t, pw, strengths()[0])
		b.keepsNo(pw)
	}
}

func (b *bed) passwordLength() int {
	s := b.state()
	return len(windows.UTF16ToString(s.Password[:]))
}

// checkPassword: a random one has its length and all its classes.
func checkPassword(t *testing.T, pw string, s strength) {
	t.Helper()
	if len(pw) < s.least || len(pw) > s.most {
		t.Errorf("%d characters", len(pw))
	}
	for _, class := range s.classes {
		if !strings.ContainsAny(pw, class) {
			t.Errorf("%q has nothing of %q", pw, class)
		}
	}
	if rest := strings.Trim(pw, strings.Join(s.classes, "")); rest != "" {
		t.Errorf("%q is in no class", rest)
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	for _, s := range strengths() {
		seen, lengths := map[string]bool{}, map[int]bool{}
		for range 2000 {
			wide := s.password()
			if wide[len(wide)-1] != 0 {
				t.Fatal("it does not end with a zero")
			}
			pw := windows.UTF16ToString(wide)
			checkPassword(t, pw, s)
			seen[pw], lengths[len(pw)] = true, true
		}
		if len(seen) != 2000 || len(lengths) != s.most-s.least+1 {
			t.Errorf("%d passwords of %d lengths", len(seen), len(lengths))
		}
	}
}

// TestPolicy: a policy that refuses a password gets a stronger one, and then is
// named.
func TestPolicy(t *testing.T) {
	for name, call := range map[string]string{"new": "NetUserAdd", "there": "NetUserSetInfo1003"} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			if name == "there" {
				b.has(state{Flags: flagsDisabled})
			}
			b.fails(call, uint32(nerrPassword), 1)
			b.session(Wish{Sudo: true})
			_, passwords := masked(b.calls())
			checkPassword(t, passwords[len(passwords)-1], strengths()[1])
			b.idle()
			b.has(state{Flags: flagsDisabled})
			b.fails("NetUserSetInfo1003", uint32(nerrPassword), -1)
			_, _, err := b.Enter(t.Context(), Wish{Sudo: true})
			if err == nil || !strings.Contains(err.Error(), "password policy of this machine refuses") || !strings.Contains(err.Error(), "at least 14 characters and for none of the last 24 passwords") || !strings.Contains(err.Error(), "2245") {
				t.Errorf("%v", err)
			}
			b.fails("NetUserModalsGet", 5, -1)
			if _, _, err = b.Enter(t.Context(), Wish{Sudo: true}); err == nil || !strings.Contains(err.Error(), "cannot be read") {
				t.Errorf("%v", err)
			}
			b.idle()
		})
	}
}

// TestFaults: whatever call answers with an error, the session ends with what
// helps, nothing is left open, and the account cannot be used.
func TestFaults(t *testing.T) {
	for _, tc := range []struct {
		call string
		code syscall.Errno
		want string
	}{
		{"NetUserSetInfo1003", 5, "must run as LocalSystem"},
		{"NetUserSetInfo1003", 2226, "writable domain controller"},
		{"NetUserSetInfo1003", 1722, "SamSs"},
		{"NetUserSetInfo1003", 8, "NetUserSetInfo call failed. 8"},
		{"NetUserAdd", 5, "NetUserAdd call failed. Error Code: 5"},
		{"NetUserAdd", 1379, "NetUserAdd call failed. Error Code: 1379"},
		{"LookupAccountSidW", 1332, "S-1-5-32-544"},
		{"NetLocalGroupAddMembers", 5, "into the group Administratoren"},
		{"NetLocalGroupAddMembers", 2220, "no such local group"},
		{"NetLocalGroupAddMembers", 1376, "no such local group"},
		{"NetLocalGroupAddMembers", 1387, "start the session again"},
		{"NetUserGetInfo", 5, "enable the account ssm-user"},
		{"NetUserSetInfo1008", 5, "enable the account ssm-user"},
		{"NetUserSetInfo1008", 2221, "went away meanwhile"},
		{"LogonUserW2", 1326, "changed by somebody else"},
		{"LogonUserW2", 1327, "restricts the account"},
		{"LogonUserW2", 1328, "/times:all"},
		{"LogonUserW2", 1329, "not log on at this machine"},
		{"LogonUserW2", 1330, "expired"},
		{"LogonUserW2", 1331, "disabled the account"},
		{"LogonUserW2", 1793, "/expires:never"},
		{"LogonUserW2", 1907, "next logon"},
		{"LogonUserW2", 1909, "locked"},
		{"LogonUserW2", 1314, "must run as LocalSystem"},
		{"GetTokenInformation18", 5, "look at the token"},
		{"GetTokenInformation19", 1312, "take the full token"},
		{"GetTokenInformation8", 5, "look at the token"},
		{"GetTokenInformation2", 8, "look at the groups"},
	} {
		t.Run(fmt.Sprintf("%s %d", tc.call, tc.code), func(t *testing.T) {
			b := newBed(t)
			b.write("elevation", "3")
			if tc.call == "NetUserSetInfo1008" { // a new account is enabled
				b.has(state{Flags: flagsDisabled})
			}
			b.fails(tc.call, uint32(tc.code), -1)
			_, _, err := b.Enter(t.Context(), Wish{Sudo: true})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !errors.Is(err, tc.code) || strings.Contains(err.Error(), "\n") {
				t.Errorf("said %q, want %q", err, tc.want)
			}
			b.write("fault."+tc.call, "0 0")
			if tc.call == "NetUserGetInfo" || tc.call == "NetUserSetInfo1008" { // nor could it be disabled
				if err := b.Settle(t.Context()); err != nil {
					t.Error(err)
				}
			}
			b.idle()
		})
	}
}

// TestLeaveFaults: an account that cannot be disabled is named, and the next
// agent tries again.
func TestLeaveFaults(t *testing.T) {
	b := newBed(t)
	_, leave, err := b.Enter(t.Context(), Wish{Sudo: true})
	if err != nil {
		t.Fatal(err)
	}
	b.fails("NetUserSetInfo1008", 5, 1)
	if err := leave(); err == nil || !strings.Contains(err.Error(), "net user ssm-user /active:no") || !errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		t.Errorf("%v", err)
	}
	b.leaksNothing()
	if err := b.Settle(t.Context()); err != nil {
		t.Error(err)
	}
	b.idle()
	b.calls()
	if err := b.Settle(t.Context()); err != nil || b.calls() != nil {
		t.Errorf("there was nothing to do: %v", err)
	}
}

// TestForeign: what an administrator made or enabled is not disabled before a
// session has used it, and not put into any group; nor is what somebody makes
// in the moment before us.
func TestForeign(t *testing.T) {
	b := newBed(t)
	b.has(state{Flags: flagsEnabled})
	if err := b.Settle(t.Context()); err != nil || b.calls() != nil {
		t.Errorf("an account that was made by hand was touched: %v", err)
	}
	b.session(Wish{Sudo: true})
	b.called("NetUserSetInfo 1003", ordinaryLogon, fmt.Sprintf("NetUserSetInfo 1008 flags=%d", flagsDisabled))
	b.fails("NetUserSetInfo1003", uint32(nerrUserNotFound), 1) // and then it is there
	_, leave := b.enters(Wish{Sudo: true})
	leave()
	if calls := b.calls(); slices.Contains(calls, joined) {
		t.Errorf("an account that somebody else made was put into a group: %q", calls)
	}
	b.idle()
}

// TestHalfMade: a process that was killed between the account's making and its
// membership leaves a note, and the next session finishes.
func TestHalfMade(t *testing.T) {
	b := newBed(t)
	b.fails("NetLocalGroupAddMembers", 5, 1)
	if _, _, err := b.Enter(t.Context(), Wish{Sudo: true}); err == nil {
		t.Fatal("it went well")
	}
	b.idle()
	b.calls()
	b.session(Wish{Sudo: true})
	b.called("NetUserSetInfo 1003", joined, fmt.Sprintf("NetUserSetInfo 1008 flags=%d", flagsEnabled), ordinaryLogon, fmt.Sprintf("NetUserSetInfo 1008 flags=%d", flagsDisabled))
}

// TestMembership: an administrator's removal stays, even of an account that is
// made again, and so does one of the configuration.
func TestMembership(t *testing.T) {
	b := newBed(t)
	b.session(Wish{Sudo: true})
	for range 2 {
		s := b.state()
		s.Member = 0
		b.has(s)
		b.calls()
		b.session(Wish{Sudo: true})
		if calls := b.calls(); slices.Contains(calls, joined) {
			t.Errorf("it is a member again: %q", calls)
		}
	}
	b.write("state", "") // the account is removed, too
	b.session(Wish{Sudo: true})
	if calls := b.calls(); slices.Contains(calls, joined) || b.state().Member != 0 {
		t.Errorf("the new account is a member: %q", calls)
	}
	s := b.state()
	s.Member = 1 // but an administrator can have it otherwise
	b.has(s)
	b.session(Wish{Sudo: true})
	b.write("state", "")
	b.session(Wish{Sudo: true})
	if b.state().Member != 1 {
		t.Error("what an administrator put into the group again is not in it when it is made again")
	}

	b = newBed(t)
	b.session(Wish{})
	if b.state().Member != 0 {
		t.Error("it administers, against ssmagent.SessionUser.Sudo")
	}
	b.fails("NetLocalGroupAddMembers", uint32(windows.ERROR_MEMBER_IN_ALIAS), 1)
	b.write("state", "")
	b.session(Wish{Sudo: true}) // a member already is none to complain of
}

// TestLogonKinds: what is not granted one way is tried the next way.
func TestLogonKinds(t *testing.T) {
	b := newBed(t)
	b.has(state{Flags: flagsDisabled})
	b.fails("LogonUserW2", 1385, -1)
	b.session(Wish{})
	if c := b.calls(); !slices.Contains(c, "LogonUserW ssm-user . type=4 provider=0") || slices.ContainsFunc(c, func(s string) bool { return strings.HasPrefix(s, "DuplicateTokenEx") }) {
		t.Errorf("%q", c)
	}
	b.fails("LogonUserW4", 1385, -1)
	a, leave := b.enters(Wish{})
	if c := b.calls(); !slices.Contains(c, "LogonUserW ssm-user . type=3 provider=0") || !slices.Contains(c, "DuplicateTokenEx access=0x2000000 level=2 type=1") {
		t.Errorf("%q", c)
	}
	var kind, n uint32
	if err := windows.GetTokenInformation(windows.Token(a.Principal.Token), windows.TokenType, (*byte)(unsafe.Pointer(&kind)), 4, &n); err != nil || kind != windows.TokenPrimary {
		t.Errorf("the token is of type %d, %v", kind, err)
	}
	leave()
	b.fails("DuplicateTokenEx", 1346, 1)
	if _, _, err := b.Enter(t.Context(), Wish{}); !errors.Is(err, windows.ERROR_BAD_IMPERSONATION_LEVEL) || !strings.Contains(err.Error(), "LocalSystem") {
		t.Errorf("%v", err)
	}
	b.idle()
	b.fails("LogonUserW3", 1385, -1)
	_, _, err := b.Enter(t.Context(), Wish{})
	for _, right := range []string{"SeInteractiveLogonRight", "SeBatchLogonRight", "SeNetworkLogonRight", "Deny"} {
		if err == nil || !strings.Contains(err.Error(), right) {
			t.Errorf("%v does not name %s", err, right)
		}
	}
	b.idle()
}

// TestFullToken: of a pair of tokens the session gets the full one.
func TestFullToken(t *testing.T) {
	for elevation, linked := range map[string]bool{"1": false, "2": false, "3": true} {
		b := newBed(t)
		b.write("elevation", elevation)
		b.session(Wish{Sudo: true})
		if c := b.calls(); slices.Contains(c, "TokenLinkedToken") != linked {
			t.Errorf("elevation %s: %q", elevation, c)
		}
		b.idle()
	}
}

// TestManySessions: N at once, in processes of their own, make one account,
// which is disabled when the last of them ends, and not before. One that is
// killed counts as ended.
func TestManySessions(t *testing.T) {
	b := newBed(t)
	const n = 6
	all := make([]*sitting, n)
	for i := range all {
		all[i] = b.sits()
	}
	for _, s := range all {
		s.seated(t)
	}
	calls, passwords := masked(b.calls())
	made := slices.DeleteFunc(calls, func(c string) bool { return !strings.HasPrefix(c, "NetUserAdd ") })
	slices.Sort(passwords)
	if len(made) != 1 || len(slices.Compact(passwords)) != n {
		t.Errorf("%d accounts made, %d passwords for %d sessions", len(made), len(passwords), n)
	}
	for i, s := range all[:n-1] {
		if i%2 == 0 {
			s.ends(t)
		} else {
			s.killed(t)
		}
		if st := b.state(); st.Flags&flagDisabled != 0 {
			t.Fatalf("the account is disabled, and %d sessions are left", n-1-i)
		}
	}
	all[n-1].ends(t)
	b.idle()
}

// TestKilledSession: what a killed session leaves enabled is disabled by the
// agent.
func TestKilledSession(t *testing.T) {
	b := newBed(t)
	s := b.sits()
	s.seated(t)
	if err := b.Settle(t.Context()); err != nil || b.state().Flags != flagsEnabled {
		t.Errorf("the session is there: %#x, %v", b.state().Flags, err)
	}
	s.killed(t)
	if b.state().Flags != flagsEnabled {
		t.Error("the killed session disabled the account")
	}
	if err := b.Settle(t.Context()); err != nil {
		t.Error(err)
	}
	b.idle()
}

// TestHandles: fifty sessions leave no token, no buffer and no handle.
func TestHandles(t *testing.T) {
	b := newBed(t)
	b.write("elevation", "3")
	b.fails("LogonUserW2", 1385, -1)
	proctest.Leaks(t, 5, func() {
		_, leave, err := b.Enter(t.Context(), Wish{Sudo: true})
		if err == nil {
			err = leave()
		}
		if err != nil {
			t.Error(err)
		}
	})
	b.idle()
}

// TestBrokenRecord: whoever broke the file must not keep people out, nor the
// account enabled.
func TestBrokenRecord(t *testing.T) {
	b := newBed(t)
	b.has(state{Flags: flagsEnabled})
	b.Local.dir = t.TempDir()
	f, err := b.fs.OpenFile(filepath.Join(b.dir, recordFile), windows.O_CREAT|windows.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("{")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b.session(Wish{})
	b.idle()
	if !strings.Contains(b.said.String(), recordFile) {
		t.Errorf("the log: %q", b.said.String())
	}
	b.Local.dir = "relative"
	if _, _, err := b.Enter(context.Background(), Wish{}); err == nil {
		t.Error("there is nowhere to count sessions")
	}
}
