package users

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// What the calls of netapi32 answer, where x/sys has no name for it.
const (
	nerrGroupNotFound syscall.Errno = 2220
	nerrUserNotFound  syscall.Errno = 2221
	nerrUserExists    syscall.Errno = 2224
	nerrNotPrimary    syscall.Errno = 2226
	nerrPassword      syscall.Errno = 2245 // too short, too weak, used before
)

// Values of USER_INFO_1.
const (
	privUser      = 1 // USER_PRIV_USER
	flagScript    = 0x1
	flagDisabled  = 0x2 // UF_ACCOUNTDISABLE
	levelPassword = 1003
	levelFlags    = 1008
)

// userInfo is USER_INFO_1.
type userInfo struct {
	name, password *uint16
	age, priv      uint32
	home, comment  *uint16
	flags          uint32
	script         *uint16
}

// modals is USER_MODALS_INFO_0: the policy of passwords.
type modals struct{ minLength, maxAge, minAge, forceLogoff, history uint32 }

// calls are the functions of Windows behind the account of sessions.
type calls struct {
	userAdd, userSetInfo, userModalsGet, addMembers, domainRole, freeRole,
	logonUser, tokenInformation, duplicateToken, accountOfSID *windows.LazyProc
}

// load finds them all, so that no call can be to one that is missing.
func (s system) load() (*calls, error) {
	c := new(calls)
	for _, p := range []struct {
		proc *(*windows.LazyProc)
		dll  *windows.LazyDLL
		name string
	}{
		{&c.userAdd, s.netapi, "NetUserAdd"}, {&c.userSetInfo, s.netapi, "NetUserSetInfo"}, {&c.userModalsGet, s.netapi, "NetUserModalsGet"},
		{&c.addMembers, s.netapi, "NetLocalGroupAddMembers"},
		{&c.domainRole, s.netapi, "DsRoleGetPrimaryDomainInformation"}, {&c.freeRole, s.netapi, "DsRoleFreeMemory"},
		{&c.logonUser, s.advapi, "LogonUserW"}, {&c.tokenInformation, s.advapi, "GetTokenInformation"},
		{&c.duplicateToken, s.advapi, "DuplicateTokenEx"}, {&c.accountOfSID, s.advapi, "LookupAccountSidW"},
	} {
		*p.proc = p.dll.NewProc(p.name)
		if err := (*p.proc).Find(); err != nil {
			return nil, fmt.Errorf("this Windows cannot have the account %s: %w", Name, err)
		}
	}
	return c, nil
}

// answered is the error of a call of netapi32, in the words of stock agents.
func answered(said string, code uintptr) error {
	if code == 0 {
		return nil
	}
	errno := syscall.Errno(code)
	return fmt.Errorf("%s %d (%w)", said, code, errno)
}

// name16 is the account's name for Windows.
func name16() *uint16 {
	p, err := windows.UTF16PtrFromString(Name)
	if err != nil {
		panic(err) // a constant without a zero in it
	}
	return p
}

// setPassword gives the account that is there a password.
func (c *calls) setPassword(pw []uint16) error {
	info := struct{ password *uint16 }{&pw[0]} // USER_INFO_1003
	code, _, _ := c.userSetInfo.Call(0, uintptr(unsafe.Pointer(name16())), levelPassword, uintptr(unsafe.Pointer(&info)), 0)
	return answered("NetUserSetInfo call failed.", code)
}

// add makes the account, which has no rights of its own, and no profile yet.
func (c *calls) add(pw []uint16) error {
	info := userInfo{name: name16(), password: &pw[0], priv: privUser, flags: flagScript}
	code, _, _ := c.userAdd.Call(0, 1, uintptr(unsafe.Pointer(&info)), 0)
	return answered("NetUserAdd call failed. Error Code:", code)
}

// flags are those of the account.
func (c *calls) flags() (flags uint32, err error) {
	var b *byte
	if err := windows.NetUserGetInfo(nil, name16(), 1, &b); err != nil {
		errno, _ := errors.AsType[syscall.Errno](err)
		return 0, answered("NetUserGetInfo call failed.", uintptr(errno))
	}
	flags = (*userInfo)(unsafe.Pointer(b)).flags
	if err := windows.NetApiBufferFree(b); err != nil {
		return 0, fmt.Errorf("NetApiBufferFree: %w", err)
	}
	return flags, nil
}

// setDisabled has the account take log-ons, or none; what it is already it is
// not made again.
func (c *calls) setDisabled(disabled bool) error {
	was, err := c.flags()
	if err != nil {
		return err
	}
	flags := was &^ flagDisabled
	if disabled {
		flags |= flagDisabled
	}
	if flags == was {
		return nil
	}
	info := struct{ flags uint32 }{flags} // USER_INFO_1008
	code, _, _ := c.userSetInfo.Call(0, uintptr(unsafe.Pointer(name16())), levelFlags, uintptr(unsafe.Pointer(&info)), 0)
	return answered("NetUserSetInfo call failed.", code)
}

// join makes the account a member of a local group; one that it is in already
// is none to complain of.
func (c *calls) join(group string) error {
	name, err := windows.UTF16PtrFromString(group)
	if err != nil {
		return fmt.Errorf("group %q: %w", group, err)
	}
	info := struct{ name *uint16 }{name16()} // LOCALGROUP_MEMBERS_INFO_3
	code, _, _ := c.addMembers.Call(0, uintptr(unsafe.Pointer(name)), 3, uintptr(unsafe.Pointer(&info)), 1)
	if syscall.Errno(code) == windows.ERROR_MEMBER_IN_ALIAS {
		return nil
	}
	return answered("NetLocalGroupAddMembers call failed. Error Code:", code)
}

// policy is this machine's policy of passwords, for a person to read.
func (c *calls) policy() string {
	var m *modals
	code, _, _ := c.userModalsGet.Call(0, 0, uintptr(unsafe.Pointer(&m)))
	if code != 0 || m == nil {
		return "what it asks for cannot be read"
	}
	defer func() { _ = windows.NetApiBufferFree((*byte)(unsafe.Pointer(m))) }()
	return fmt.Sprintf("it asks for at least %d characters and for none of the last %d passwords, and a password filter may ask for more", m.minLength, m.history)
}

// administrators is what the group is called in this Windows' language.
func (c *calls) administrators() (string, error) {
	sid, err := windows.CreateWellKnownSid(windows.WinBuiltinAdministratorsSid)
	if err != nil {
		return "", fmt.Errorf("name the Administrators (S-1-5-32-544): %w", err)
	}
	const most = 256 + 1 // a name has at most 256 characters
	var name, domain [most]uint16
	n, d, use := uint32(most), uint32(most), uint32(0)
	ok, _, err := c.accountOfSID.Call(0, uintptr(unsafe.Pointer(sid)), uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&n)),
		uintptr(unsafe.Pointer(&domain[0])), uintptr(unsafe.Pointer(&d)), uintptr(unsafe.Pointer(&use)))
	if ok == 0 {
		return "", fmt.Errorf("find out what the Administrators (S-1-5-32-544) are called here: %w", err)
	}
	return windows.UTF16ToString(name[:]), nil
}
