package users

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountedReadOnly is the flag of such a file system.
const mountedReadOnly = unix.MNT_RDONLY

// renameNew renames unless the new name is taken.
func renameNew(from, to string) error { return unix.RenamexNp(from, to, unix.RENAME_EXCL) }

func (l *Local) self() (Account, error) {
	a := Account{Home: os.Getenv("HOME")} // of an id without an account
	e, ok, err := l.owner(context.Background(), uint32(os.Geteuid()))
	if err != nil || !ok {
		return a, err
	}
	if e, _, err = l.entry(context.Background(), e.name); err != nil {
		return Account{}, err
	}
	a.Name, a.Home, a.Shell = e.name, e.home, e.shell
	return a, nil
}

// loginPath is what path_helper would have, without additions of packages.
func (l *Local) loginPath(Account) string {
	text, err := l.text("paths")
	if err != nil {
		text = ""
	}
	return cmp.Or(searchPath(text), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
}

// homeOf is where the account's home is going to be.
func (l *Local) homeOf(w Wish) string { return cmp.Or(w.Home, filepath.Join("/Users", Name)) }

// entry asks the machine's directory and those that it searches besides: one
// program knows them all.
func (l *Local) entry(ctx context.Context, name string) (e entry, local bool, err error) {
	dscl := l.tool("dscl")
	if dscl == "" {
		return entry{}, false, fmt.Errorf("dscl, which knows the accounts, is not in %s", l.sys.path)
	}
	out, code, err := l.run(ctx, true, dscl, []string{"/Search", "-read", "/Users/" + name, "RecordName", "UniqueID", "PrimaryGroupID", "NFSHomeDirectory", "UserShell"})
	switch {
	case err != nil:
		return entry{}, false, err
	case strings.Contains(out, "eDSRecordNotFound"):
		return entry{}, false, ErrUnknown
	case code != 0:
		return entry{}, false, failure("dscl", code, out)
	}
	e, err = parseAttributes(out).entry(name)
	return e, true, err
}

// owner is the account that has a user id.
func (l *Local) owner(_ context.Context, uid uint32) (entry, bool, error) {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if _, unknown := errors.AsType[user.UnknownUserIdError](err); unknown {
		return entry{}, false, nil
	}
	if err != nil {
		return entry{}, false, fmt.Errorf("look up user id %d: %w", uid, err)
	}
	return entry{name: u.Username, home: u.HomeDir, uid: uid}, true, nil
}

// groups are the ids of all groups of e.
func (l *Local) groups(ctx context.Context, e entry, _ bool) ([]uint32, error) {
	id := l.tool("id")
	if id == "" {
		return nil, fmt.Errorf("id, which knows the groups, is not in %s", l.sys.path)
	}
	return l.askID(ctx, id, e)
}
