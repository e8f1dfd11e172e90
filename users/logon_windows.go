package users

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// logonKind is a way to log on, and the right that it takes.
type logonKind struct {
	value uintptr
	right string
}

// logonKinds are tried in this order, while one is not granted: as a person who
// sits there, which a session is; as a scheduled task, which gives the token of
// a process too; and as stock agents do. Baselines of hardening often deny local
// administrators the last.
func logonKinds() []logonKind {
	return []logonKind{
		{2, `"Allow log on locally" (SeInteractiveLogonRight)`},
		{4, `"Log on as a batch job" (SeBatchLogonRight)`},
		{3, `"Access this computer from the network" (SeNetworkLogonRight)`},
	}
}

// logOn gives a token that processes can have, with all the rights of the
// account. The caller closes it.
func (c *calls) logOn(domain string, pw []uint16) (windows.Token, error) {
	t, err := c.logOnAs(domain, pw)
	if err != nil {
		return 0, err
	}
	for _, next := range []func(windows.Token) (windows.Token, error){c.whole, c.primary} {
		better, err := next(t)
		if err != nil {
			return 0, errors.Join(err, closeToken(t))
		}
		if better == t {
			continue
		}
		if err := closeToken(t); err != nil {
			return 0, errors.Join(err, closeToken(better))
		}
		t = better
	}
	return t, nil
}

func closeToken(t windows.Token) error {
	if err := t.Close(); err != nil {
		return fmt.Errorf("close a token of %s: %w", Name, err)
	}
	return nil
}

// logOnAs logs on the first way that is granted.
func (c *calls) logOnAs(domain string, pw []uint16) (windows.Token, error) {
	in, err := windows.UTF16PtrFromString(domain)
	if err != nil {
		return 0, fmt.Errorf("the domain %q: %w", domain, err)
	}
	var missing []string
	for _, kind := range logonKinds() {
		var t windows.Token
		ok, _, err := c.logonUser.Call(uintptr(unsafe.Pointer(name16())), uintptr(unsafe.Pointer(in)), uintptr(unsafe.Pointer(&pw[0])), kind.value, 0, uintptr(unsafe.Pointer(&t)))
		if ok != 0 {
			return t, nil
		}
		if !errors.Is(err, windows.ERROR_LOGON_TYPE_NOT_GRANTED) {
			return 0, fmt.Errorf("log on %s: %w", Name, remedied(err))
		}
		missing = append(missing, kind.right)
	}
	return 0, fmt.Errorf("log on %s: this machine's policy grants the account no way to log on: give it one of the rights %s, and see that no right that begins with \"Deny\" takes it away (secpol.msc, User Rights Assignment): %w",
		Name, strings.Join(missing, ", "), windows.ERROR_LOGON_TYPE_NOT_GRANTED)
}

// remedied adds what helps to what a log-on said.
func remedied(err error) error {
	for code, remedy := range map[syscall.Errno]string{
		windows.ERROR_LOGON_FAILURE:           "its password was changed by somebody else in the moment after we set it; on a domain controller, see that agents of other controllers do not start sessions at the same time, and start the session again",
		windows.ERROR_ACCOUNT_RESTRICTION:     "a policy restricts the account; see its properties and this machine's security policy",
		windows.ERROR_INVALID_LOGON_HOURS:     "the account may not log on at this hour; allow it (net user " + Name + " /times:all)",
		windows.ERROR_INVALID_WORKSTATION:     "the account may not log on at this machine; allow it in the account's properties",
		windows.ERROR_PASSWORD_EXPIRED:        "its password counts as expired; see that the account's password may be changed by administrators",
		windows.ERROR_PASSWORD_MUST_CHANGE:    "its owner is to change the password first; take \"User must change password at next logon\" from the account",
		windows.ERROR_ACCOUNT_DISABLED:        "somebody disabled the account in the moment after we enabled it; start the session again",
		windows.ERROR_ACCOUNT_EXPIRED:         "the account has expired; give it another date (net user " + Name + " /expires:never)",
		windows.ERROR_ACCOUNT_LOCKED_OUT:      "the account is locked after wrong passwords, which are not the agent's; find out whose they are, and unlock it (net user " + Name + " /active:yes)",
		windows.ERROR_PRIVILEGE_NOT_HELD:      "the agent lacks a privilege for this; its service must run as LocalSystem",
		windows.ERROR_ACCESS_DENIED:           "the agent may not do this; its service must run as LocalSystem",
		windows.ERROR_BAD_IMPERSONATION_LEVEL: "the agent does not get the account's full token, which takes SeTcbPrivilege; its service must run as LocalSystem",
	} {
		if errors.Is(err, code) {
			return fmt.Errorf("%s: %w", remedy, err)
		}
	}
	return err
}

// Values of TokenElevationType and TokenType.
const (
	elevationLimited   = 3
	tokenImpersonation = 2
)

// whole is the token with all the account's rights: of administrators, Windows
// may give out a pair of tokens, the lesser one first.
func (c *calls) whole(t windows.Token) (windows.Token, error) {
	kind, err := c.number(t, windows.TokenElevationType)
	if err != nil || kind != elevationLimited {
		return t, err
	}
	var linked windows.Token
	if err := c.ask(t, windows.TokenLinkedToken, unsafe.Pointer(&linked), unsafe.Sizeof(linked)); err != nil {
		return 0, fmt.Errorf("take the full token of %s: %w", Name, remedied(err))
	}
	return linked, nil
}

// primary is the token as processes can have it.
func (c *calls) primary(t windows.Token) (windows.Token, error) {
	kind, err := c.number(t, windows.TokenType)
	if err != nil || kind != tokenImpersonation {
		return t, err
	}
	var p windows.Token
	ok, _, err := c.duplicateToken.Call(uintptr(t), windows.MAXIMUM_ALLOWED, 0, windows.SecurityImpersonation, windows.TokenPrimary, uintptr(unsafe.Pointer(&p)))
	if ok == 0 {
		return 0, fmt.Errorf("make a token of %s for processes: %w", Name, remedied(err))
	}
	return p, nil
}

func (c *calls) number(t windows.Token, class uint32) (n uint32, err error) {
	if err = c.ask(t, class, unsafe.Pointer(&n), unsafe.Sizeof(n)); err != nil {
		err = fmt.Errorf("look at the token of %s (class %d): %w", Name, class, remedied(err))
	}
	return n, err
}

// ask has GetTokenInformation fill size bytes.
func (c *calls) ask(t windows.Token, class uint32, into unsafe.Pointer, size uintptr) error {
	var got uint32
	ok, _, err := c.tokenInformation.Call(uintptr(t), uintptr(class), uintptr(into), size, uintptr(unsafe.Pointer(&got)))
	switch {
	case ok == 0:
		return err
	case uintptr(got) != size:
		return fmt.Errorf("it has %d bytes instead of %d", got, size)
	}
	return nil
}

// maxGroups bounds what Windows tells of a token's groups, in bytes.
const maxGroups = 1 << 20

// administers says whether the token's account is one of the Administrators.
func (c *calls) administers(t windows.Token) (bool, error) {
	for size := uint32(4 << 10); size <= maxGroups; {
		b := make([]uintptr, size/uint32(unsafe.Sizeof(uintptr(0))))
		ok, _, err := c.tokenInformation.Call(uintptr(t), windows.TokenGroups, uintptr(unsafe.Pointer(&b[0])), uintptr(size), uintptr(unsafe.Pointer(&size)))
		if ok == 0 && errors.Is(err, windows.ERROR_INSUFFICIENT_BUFFER) {
			size += 4 << 10
			continue
		}
		if ok == 0 {
			return false, fmt.Errorf("look at the groups of %s: %w", Name, err)
		}
		for _, g := range (*windows.Tokengroups)(unsafe.Pointer(&b[0])).AllGroups() {
			if g.Sid.IsWellKnown(windows.WinBuiltinAdministratorsSid) {
				return true, nil
			}
		}
		return false, nil
	}
	return false, fmt.Errorf("look at the groups of %s: they fill more than %d bytes", Name, maxGroups)
}
