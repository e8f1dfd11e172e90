package users

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

// controller makes the bed's machine one.
func (b *bed) controller() {
	b.t.Helper()
	b.write("role", "5")
	b.product("LanmanNT")
	b.sys.directoryService = "EventLog" // wine has one, which runs
}

// TestController: on a domain controller no account is made and none is
// disabled; one that an administrator made is used.
func TestController(t *testing.T) {
	b := newBed(t)
	b.controller()
	_, _, err := b.Enter(t.Context(), Wish{Sudo: true})
	for _, want := range []string{"this machine is a domain controller of LAB,", "create the domain user ssm-user by hand", `"Allow log on locally"`, "start the session again"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	b.called("NetUserSetInfo 1003")

	b.has(state{Flags: flagsDisabled, Member: 1})
	b.session(Wish{Sudo: true})
	b.called("NetUserSetInfo 1003", fmt.Sprintf("NetUserSetInfo 1008 flags=%d", flagsEnabled), "LogonUserW ssm-user LAB type=2 provider=0")
	b.session(Wish{Sudo: true})
	b.called("NetUserSetInfo 1003", "LogonUserW ssm-user LAB type=2 provider=0")
	if b.state().Flags != flagsEnabled {
		t.Errorf("flags %#x", b.state().Flags)
	}
	b.leaksNothing()
	if said := b.said.String(); said != "" {
		t.Errorf("all signs say the same, and the log says %q", said)
	}
}

// TestControllersAtOnce: a password that another controller replaced before it
// was used is made anew.
func TestControllersAtOnce(t *testing.T) {
	b := newBed(t)
	b.controller()
	b.has(state{Flags: flagsEnabled})
	b.fails("LogonUserW2", uint32(windows.ERROR_LOGON_FAILURE), attempts-1)
	b.session(Wish{})
	if _, passwords := masked(b.calls()); len(passwords) != attempts || len(slices.Compact(passwords)) != attempts {
		t.Errorf("%q", passwords)
	}
	b.fails("LogonUserW2", uint32(windows.ERROR_LOGON_FAILURE), -1)
	if _, _, err := b.Enter(t.Context(), Wish{}); !errors.Is(err, windows.ERROR_LOGON_FAILURE) || !strings.Contains(err.Error(), "other controllers") {
		t.Errorf("%v", err)
	}
	if _, passwords := masked(b.calls()); len(passwords) != attempts {
		t.Errorf("%d attempts", len(passwords))
	}
}

// TestPromoted: a machine that became a controller while a session was there
// keeps its account enabled, which is now the domain's.
func TestPromoted(t *testing.T) {
	b := newBed(t)
	_, leave := b.enters(Wish{Sudo: true})
	b.controller()
	leave()
	if r, err := b.load(); err != nil || r.Enabled || b.state().Flags != flagsEnabled {
		t.Errorf("%+v, %v, flags %#x", r, err, b.state().Flags)
	}
}

// TestStanding: each place is asked, and where they differ it is said.
func TestStanding(t *testing.T) {
	for name, tc := range map[string]struct {
		role, product, service string
		controller             bool
		doubt                  []string
	}{
		"server":      {"2", "ServerNT", "ssmagent-none", false, nil},
		"member":      {"3", "ServerNT", "ssmagent-none", false, nil},
		"workstation": {"0", "WinNT", "ssmagent-none", false, nil},
		"controller":  {"5", "LanmanNT", "EventLog", true, nil},
		"backup":      {"4", "lanmannt", "EventLog", true, nil},
		"restored":    {"2", "LanmanNT", "ssmagent-none", true, []string{"DsRoleGetPrimaryDomainInformation says that it is not", "ProductType of the registry says that it is,", "the service ssmagent-none says that it is not"}},
		"service":     {"3", "ServerNT", "EventLog", true, []string{"the service EventLog says that it is"}},
		"role alone":  {"4", "ServerNT", "ssmagent-none", true, []string{"ProductType of the registry says that it is not"}},
	} {
		b := newBed(t)
		b.write("role", tc.role)
		b.product(tc.product)
		b.sys.directoryService = tc.service
		c, err := b.sys.load()
		if err != nil {
			t.Fatal(err)
		}
		got := b.standing(c)
		if got.controller != tc.controller || (got.doubt == "") != (tc.doubt == nil) || got.domain != "LAB" {
			t.Errorf("%s: %+v", name, got)
		}
		for _, d := range tc.doubt {
			if !strings.Contains(got.doubt, d) {
				t.Errorf("%s: %q does not say %q", name, got.doubt, d)
			}
		}
		b.leaksNothing()
	}
}

// TestUnclear: signs that differ are in the error and in the log; one that does
// not answer is named; where none does no account is made.
func TestUnclear(t *testing.T) {
	b := newBed(t)
	b.product("LanmanNT")
	_, _, err := b.Enter(t.Context(), Wish{})
	const says = "ProductType of the registry says that it is"
	if err == nil || !strings.Contains(err.Error(), "may be a domain controller ("+"DsRoleGetPrimaryDomainInformation says that it is not, "+says) || !strings.Contains(b.said.String(), says) {
		t.Errorf("%v; log %q", err, b.said.String())
	}
	b.product("ServerNT")
	b.fails("DsRoleGetPrimaryDomainInformation", 1722, -1)
	b.session(Wish{})
	if !strings.Contains(b.said.String(), "DsRoleGetPrimaryDomainInformation does not tell (code 1722") {
		t.Errorf("log %q", b.said.String())
	}
	b.idle()
	none := errors.New("no answer")
	if s := judge([]sign{{name: "a", err: none}, {name: "b", err: none}}, ""); !s.controller || s.doubt == "" {
		t.Errorf("nobody knows: %+v", s)
	}
}
