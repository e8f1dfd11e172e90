package ipc

import (
	"errors"
	"fmt"
	"net"
	"unsafe"

	"golang.org/x/sys/windows"
)

// rights is for a pipe that is Owned by whoever we are, who has clients look;
// its DACL is Protected, and Allows Generic All to SYSTEM, to the Administrators
// and to us.
func rights() (*windows.SecurityAttributes, error) {
	me, err := user(windows.GetCurrentProcessToken())
	if err != nil {
		return nil, fmt.Errorf("find the invoking user: %w", err)
	}
	sd, err := windows.SecurityDescriptorFromString("O:" + me.String() + "D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;" + me.String() + ")")
	if err != nil {
		return nil, fmt.Errorf("make a security descriptor: %w", err)
	}
	sa := &windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = uint32(unsafe.Sizeof(*sa))
	return sa, nil
}

func user(t windows.Token) (*windows.SID, error) {
	u, err := t.GetTokenUser()
	if err != nil {
		return nil, err
	}
	return u.User.Sid, nil
}

// trusted says whether what sid owns or does is SYSTEM's, the Administrators'
// or ours.
func trusted(sid *windows.SID) (bool, error) {
	if sid.IsWellKnown(windows.WinLocalSystemSid) || sid.IsWellKnown(windows.WinBuiltinAdministratorsSid) {
		return true, nil
	}
	me, err := user(windows.GetCurrentProcessToken())
	if err != nil {
		return false, fmt.Errorf("find the invoking user: %w", err)
	}
	return sid.Equals(me), nil
}

// checkOwner refuses the pipe at whose end h is when somebody made it who had
// no right to: names of pipes are free for all, and while no agent runs anyone
// can wait there for what comes.
func checkOwner(h windows.Handle) error {
	sd, err := windows.GetSecurityInfo(h, windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("ask who made the pipe: %w", err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("ask who made the pipe: %w", err)
	}
	ok, err := trusted(owner)
	if err == nil && !ok {
		err = fmt.Errorf("%s made it, who is neither SYSTEM nor an administrator nor you; end the process that did", owner)
	}
	return err
}

func checkPeer(c net.Conn) error {
	p, ok := c.(*conn)
	if !ok {
		return fmt.Errorf("peer of a %T: %w", c, errors.ErrUnsupported)
	}
	raw, err := p.SyscallConn()
	if err != nil {
		return err
	}
	ask := windows.GetNamedPipeServerProcessId
	if p.server {
		ask = windows.GetNamedPipeClientProcessId
	}
	var pid uint32
	var askErr error
	if err := raw.Control(func(fd uintptr) { askErr = ask(windows.Handle(fd), &pid) }); err != nil {
		return err
	}
	if askErr != nil {
		return fmt.Errorf("ask who the peer is: %w", askErr)
	}
	return checkProcess(pid)
}

// checkProcess refuses a process of somebody else who is no administrator, or
// whose administrator's rights are not in force.
func checkProcess(pid uint32) error {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return fmt.Errorf("look at the peer, process %d: %w", pid, err)
	}
	defer windows.CloseHandle(h)
	var t windows.Token
	if err := windows.OpenProcessToken(h, windows.TOKEN_QUERY, &t); err != nil {
		return fmt.Errorf("look at the token of process %d: %w", pid, err)
	}
	defer t.Close()
	sid, err := user(t)
	if err != nil {
		return fmt.Errorf("ask who runs process %d: %w", pid, err)
	}
	if ok, err := trusted(sid); ok || err != nil {
		return err
	}
	groups, err := t.GetTokenGroups()
	if err != nil {
		return fmt.Errorf("ask what process %d may: %w", pid, err)
	}
	for _, g := range groups.AllGroups() {
		if g.Attributes&windows.SE_GROUP_ENABLED != 0 && g.Sid.IsWellKnown(windows.WinBuiltinAdministratorsSid) {
			return nil
		}
	}
	return fmt.Errorf("%s may not do this: only SYSTEM, administrators and who runs this may", sid)
}
