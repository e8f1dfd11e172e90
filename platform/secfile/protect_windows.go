package secfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"

	"ssmagent/internal/fsys"
)

// Security descriptors for what is there already: Owned by the Administrators,
// for who owns a file may always change its DACL. A file's entries hand nothing
// down.
const (
	ownedDirectory = "O:BA" + protected
	ownedFile      = "O:BAD:P(A;;FA;;;SY)(A;;FA;;;BA)"
	// The folder above ours is other programs' of the same maker, too.
	ownedParent = "O:BA" + protected + usable
)

func protect(dir string) ([]string, error) {
	// What these are for: to open what its rights deny to everybody. Who does not
	// have them fails below, if at all.
	privileges := errors.Join(enable("SeBackupPrivilege"), enable("SeRestorePrivilege"), enable("SeTakeOwnershipPrivilege"))
	p := protection{}
	err := p.prepare()
	if err == nil {
		err = p.root(dir)
	}
	if err != nil {
		return nil, errors.Join(pathError("protect", dir, err), privileges)
	}
	return p.links, nil
}

func claim(dir string) ([]string, error) {
	ours, err := claimed(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, pathError("protect", dir, err)
	}
	if ours {
		return nil, nil
	}
	return protect(dir)
}

// claimed says whether dir has the owner and the DACL that protect gives.
func claimed(dir string) (bool, error) {
	h, info, err := open(dir, windows.READ_CONTROL)
	if err != nil {
		return false, err
	}
	defer windows.CloseHandle(h)
	if info.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 {
		return false, fmt.Errorf("it %w", fsys.ErrLink)
	}
	sd, err := windows.GetSecurityInfo(h, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return false, fmt.Errorf("read its rights: %w", err)
	}
	return sd.String() == ownedDirectory, nil
}

// protection gives rights to a tree.
type protection struct {
	directory, file, parent *windows.SECURITY_DESCRIPTOR
	links                   []string
}

func (p *protection) prepare() error {
	for _, d := range []struct {
		to   **windows.SECURITY_DESCRIPTOR
		sddl string
	}{{&p.directory, ownedDirectory}, {&p.file, ownedFile}, {&p.parent, ownedParent}} {
		sd, err := windows.SecurityDescriptorFromString(d.sddl)
		if err != nil {
			return fmt.Errorf("make a security descriptor: %w", err)
		}
		*d.to = sd
	}
	return nil
}

// root protects dir from above, as who may rename it may put another in its
// place, and downwards: below what is protected already nobody interferes.
func (p *protection) root(dir string) error {
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := p.above(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := p.tree(dir); err != nil {
		return err
	}
	if len(p.links) > 0 && p.links[0] == dir {
		return fmt.Errorf("it %w", fsys.ErrLink)
	}
	return nil
}

// above takes the folder over ours from who is neither SYSTEM nor an
// administrator.
func (p *protection) above(dir string) error {
	h, info, err := open(dir, windows.READ_CONTROL|windows.WRITE_DAC|windows.WRITE_OWNER)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	defer windows.CloseHandle(h)
	if info.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 {
		return fmt.Errorf("%s %w", dir, fsys.ErrLink)
	}
	sd, err := windows.GetSecurityInfo(h, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("ask who owns %s: %w", dir, err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("ask who owns %s: %w", dir, err)
	}
	if owner.IsWellKnown(windows.WinLocalSystemSid) || owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) {
		return nil
	}
	return give(h, dir, p.parent)
}

func (p *protection) tree(path string) error {
	directory, err := p.entry(path)
	if err != nil || !directory {
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, p.tree(filepath.Join(path, e.Name())))
	}
	return errors.Join(errs...)
}

// entry protects one file or directory. A file of several names is a link, too:
// its rights are those of a file that may be anywhere.
func (p *protection) entry(path string) (directory bool, err error) {
	h, info, err := open(path, windows.WRITE_DAC|windows.WRITE_OWNER)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) { // gone meanwhile
			return false, nil
		}
		return false, fmt.Errorf("open %s: %w", path, err)
	}
	defer windows.CloseHandle(h)
	directory = info.FileAttributes&windows.FILE_ATTRIBUTE_DIRECTORY != 0
	if info.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 || !directory && info.NumberOfLinks > 1 {
		p.links = append(p.links, path)
		return false, nil
	}
	sd := p.file
	if directory {
		sd = p.directory
	}
	return directory, give(h, path, sd)
}

func give(h windows.Handle, path string, sd *windows.SECURITY_DESCRIPTOR) error {
	const what = windows.OWNER_SECURITY_INFORMATION | windows.DACL_SECURITY_INFORMATION | windows.PROTECTED_DACL_SECURITY_INFORMATION
	if err := windows.SetKernelObjectSecurity(h, what, sd); err != nil {
		return fmt.Errorf("set the rights of %s: %w", path, err)
	}
	return nil
}

// open opens what path names itself, if need be by the privileges of a backup.
func open(path string, access uint32) (windows.Handle, windows.ByHandleFileInformation, error) {
	var info windows.ByHandleFileInformation
	name, err := wide(path)
	if err != nil {
		return 0, info, err
	}
	h, err := windows.CreateFile(name, access|windows.FILE_READ_ATTRIBUTES,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, nil, windows.OPEN_EXISTING,
		windows.FILE_FLAG_OPEN_REPARSE_POINT|windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if err != nil {
		return 0, info, err
	}
	if err := windows.GetFileInformationByHandle(h, &info); err != nil {
		windows.CloseHandle(h)
		return 0, info, err
	}
	return h, info, nil
}

// enable puts a privilege of this process in force.
func enable(name string) error {
	var t windows.Token
	if err := windows.OpenProcessToken(windows.CurrentProcess(), windows.TOKEN_ADJUST_PRIVILEGES|windows.TOKEN_QUERY, &t); err != nil {
		return fmt.Errorf("open our token: %w", err)
	}
	defer t.Close()
	p := windows.Tokenprivileges{PrivilegeCount: 1}
	p.Privileges[0].Attributes = windows.SE_PRIVILEGE_ENABLED
	text, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return err
	}
	if err := windows.LookupPrivilegeValue(nil, text, &p.Privileges[0].Luid); err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	if err := windows.AdjustTokenPrivileges(t, false, &p, 0, nil, nil); err != nil {
		return fmt.Errorf("enable %s: %w", name, err)
	}
	return nil
}
