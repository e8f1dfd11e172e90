package profile

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// noDialogue keeps the system from showing what goes wrong to nobody.
const noDialogue = 1 // PI_NOUI

// info is PROFILEINFOW. A path is that of a profile which roams; the others have
// none.
type info struct {
	size, flags                             uint32
	user, path, defaultPath, server, policy *uint16
	hive                                    windows.Handle
}

// calls are the functions of Windows about profiles: a table, for tests to see
// what they are given and to have each of them fail. Under wine they do nothing.
type calls struct {
	load    func(windows.Token, *info) error
	unload  func(windows.Token, windows.Handle) error
	folder  func(windows.Token) (string, error)
	environ func(windows.Token) ([]string, error)
}

func system() calls {
	userenv := windows.NewLazySystemDLL("userenv.dll")
	return calls{
		load: func(t windows.Token, i *info) error {
			if ok, _, err := userenv.NewProc("LoadUserProfileW").Call(uintptr(t), uintptr(unsafe.Pointer(i))); ok == 0 {
				return err
			}
			return nil
		},
		unload: func(t windows.Token, hive windows.Handle) error {
			if ok, _, err := userenv.NewProc("UnloadUserProfile").Call(uintptr(t), uintptr(hive)); ok == 0 {
				return err
			}
			return nil
		},
		folder:  windows.Token.GetUserProfileDirectory,
		environ: func(t windows.Token) ([]string, error) { return t.Environ(false) },
	}
}

func load(token uintptr, name string) (Profile, error) {
	return loadBy(system(), windows.Token(token), name)
}

// loadBy loads the registry's part before the environment is made, as part of
// that is in it. An account whose profile cannot be loaded can still be used,
// perhaps to repair that.
func loadBy(sys calls, t windows.Token, name string) (p Profile, err error) {
	user, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return p, fmt.Errorf("load the profile of the account %q: %w", name, err)
	}
	i := &info{flags: noDialogue, user: user}
	i.size = uint32(unsafe.Sizeof(*i))
	if err := sys.load(t, i); err != nil {
		p.Poor = fmt.Errorf("load the profile of the account %s: %w%s", name, err, explained(err))
	} else {
		p.Unload = func() error {
			if err := sys.unload(t, i.hive); err != nil {
				return fmt.Errorf("unload the profile of the account %s: %w", name, err)
			}
			return nil
		}
	}
	if p.Env, err = sys.environ(t); err != nil {
		// Nil would be the service's own, with what is secret in it.
		return Profile{}, errors.Join(fmt.Errorf("make the environment of the account %s: %w", name, err), p.Close())
	}
	// Without one programs begin at the root, as those of accounts without a home.
	if p.Dir, err = sys.folder(t); err != nil {
		p.Dir, p.Poor = "", errors.Join(p.Poor, fmt.Errorf("find the folder of the account %s: %w", name, err))
	}
	return p, nil
}

// explained is what an error of loading means and what helps, to stand behind it.
func explained(err error) string {
	code, _ := errors.AsType[windows.Errno](err)
	switch code {
	case windows.ERROR_PRIVILEGE_NOT_HELD:
		return ": it takes SeBackupPrivilege and SeRestorePrivilege, which LocalSystem has; run the agent's service as LocalSystem"
	case windows.ERROR_NO_SYSTEM_RESOURCES, windows.ERROR_NOT_ENOUGH_MEMORY:
		return ": memory is short, or the registry has reached its size; end other programs"
	case windows.ERROR_DISK_FULL:
		return ": there is no room for its folder; free some"
	case windows.ERROR_SHARING_VIOLATION, windows.ERROR_BADDB, windows.ERROR_NOT_REGISTRY_FILE, windows.ERROR_FILE_CORRUPT:
		return ": its NTUSER.DAT is in use or damaged; see the User Profile Service in the Application log"
	}
	return ""
}
