package users

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"
)

// instead is what helps where no account can be made.
const instead = "make the account yourself (sysadminctl -addUser " + Name + "), or have the session document name another one (runAsEnabled, runAsDefaultUser)"

// noMaker says what is missing.
const noMaker = "neither sysadminctl nor dscl"

// noShell is the shell that stock agents give the account: nobody logs in with
// it, and sessions run sh whatever it is.
const noShell = "/usr/bin/false"

// maker is nil on a system without one.
func (l *Local) maker(context.Context) maker {
	if l.tool("sysadminctl") == "" || l.tool("dscl") == "" {
		return nil
	}
	return directory{l}
}

// directory is the machine's own directory of accounts.
type directory struct{ l *Local }

func (d directory) add(ctx context.Context, w Wish, own string) error {
	if w.System {
		return errors.New("macOS has no system accounts of this name: set ssmagent.SessionUser.System of the configuration to false")
	}
	args := []string{"-addUser", Name, "-shell", cmp.Or(w.Shell, noShell)}
	if w.UID > 0 {
		args = append(args, "-UID", strconv.Itoa(w.UID))
	}
	args = option(args, "-GID", own)
	args = option(args, "-home", w.Home)
	// It tells of failures in words only.
	said, code, err := d.l.run(ctx, true, d.l.tool("sysadminctl"), args)
	if err != nil {
		return err
	}
	if _, _, err := d.l.entry(ctx, Name); errors.Is(err, ErrUnknown) {
		return failure("sysadminctl", code, said)
	} else if err != nil {
		return err
	}
	return d.complete(ctx, w.Groups)
}

func (d directory) complete(ctx context.Context, groups []string) error {
	if err := d.withoutPassword(ctx); err != nil {
		return err
	}
	for _, g := range groups {
		if err := d.l.do(ctx, d.l.tool("dseditgroup"), "-o", "edit", "-a", Name, "-t", "user", g); err != nil {
			return err
		}
	}
	return nil
}

// withoutPassword leaves the account none that anyone could type: one that was
// made without has an empty one.
func (d directory) withoutPassword(ctx context.Context) error {
	dscl := d.l.tool("dscl")
	if err := d.l.do(ctx, dscl, ".", "-create", "/Users/"+Name, "Password", "*"); err != nil {
		return err
	}
	err := d.l.do(ctx, dscl, ".", "-delete", "/Users/"+Name, "AuthenticationAuthority")
	if err != nil && strings.Contains(err.Error(), "eDSAttributeNotFound") {
		return nil
	}
	return err
}

func (d directory) addGroup(ctx context.Context, gid int, _ bool) error {
	return d.l.do(ctx, d.l.tool("dseditgroup"), "-o", "create", "-i", strconv.Itoa(gid), Name)
}

// ownGroup is the number of the account's primary group, which is made if no
// group has it. Empty: the tool chooses.
func (l *Local) ownGroup(ctx context.Context, m maker, w Wish) (string, error) {
	if w.GID == 0 {
		return "", nil
	}
	gid := strconv.Itoa(w.GID)
	_, err := user.LookupGroupId(gid)
	if _, unknown := errors.AsType[user.UnknownGroupIdError](err); unknown {
		err = m.addGroup(ctx, w.GID, w.System)
	}
	if err != nil {
		return "", fmt.Errorf("the group %s: %w", gid, err)
	}
	return gid, nil
}
