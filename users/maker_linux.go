package users

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// instead is what helps where no account can be made.
const instead = "put the account into the node's image (useradd -m " + Name + "), or have the session document name another one (runAsEnabled, runAsDefaultUser)"

// noMaker says what is missing.
const noMaker = "neither useradd nor BusyBox's adduser"

// maker is nil on a system without one.
func (l *Local) maker(ctx context.Context) maker {
	if l.tool("useradd") != "" {
		return shadow{l}
	}
	if busy := l.busybox(ctx); busy != "" {
		return busybox{l, busy}
	}
	return nil
}

// shadow is the tools of the package "shadow", in most distributions.
type shadow struct{ l *Local }

func (s shadow) add(ctx context.Context, w Wish, own string) error {
	args := []string{"-m"}
	if w.System {
		args = append(args, "-r")
	}
	if w.UID > 0 {
		args = append(args, "-u", strconv.Itoa(w.UID))
	}
	args = option(args, "-g", own)
	args = option(args, "-d", w.Home)
	args = option(args, "-s", w.Shell)
	args = option(args, "-G", strings.Join(w.Groups, ","))
	return s.l.do(ctx, s.l.tool("useradd"), append(args, Name)...)
}

func (s shadow) addGroup(ctx context.Context, gid int, system bool) error {
	args := []string{"-g", strconv.Itoa(gid)}
	if system {
		args = append(args, "-r")
	}
	return s.l.do(ctx, s.l.tool("groupadd"), append(args, Name)...)
}

func (s shadow) complete(ctx context.Context, groups []string) error {
	if len(groups) == 0 {
		return nil
	}
	return s.l.do(ctx, s.l.tool("usermod"), "-a", "-G", strings.Join(groups, ","), Name)
}

// busybox is BusyBox's applets. Others have programs of the same names that
// take other options.
type busybox struct {
	l    *Local
	path string
}

// busybox is where a BusyBox is that makes accounts, which Debian's does not;
// empty when there is none.
func (l *Local) busybox(ctx context.Context) string {
	file := l.tool("busybox")
	if file == "" {
		return ""
	}
	out, _, err := l.ask(ctx, file, "--list")
	if applets := strings.Fields(out); err != nil || !slices.Contains(applets, "adduser") || !slices.Contains(applets, "addgroup") {
		return ""
	}
	return file
}

func (b busybox) add(ctx context.Context, w Wish, own string) error {
	args := []string{"adduser", "-D"} // without a password
	if w.System {
		args = append(args, "-S")
	}
	if w.UID > 0 {
		args = append(args, "-u", strconv.Itoa(w.UID))
	}
	args = option(args, "-G", own)
	args = option(args, "-h", w.Home)
	args = option(args, "-s", w.Shell)
	if err := b.l.do(ctx, b.path, append(args, Name)...); err != nil {
		return err
	}
	return b.complete(ctx, w.Groups)
}

func (b busybox) addGroup(ctx context.Context, gid int, system bool) error {
	args := []string{"addgroup", "-g", strconv.Itoa(gid)}
	if system {
		args = append(args, "-S")
	}
	return b.l.do(ctx, b.path, append(args, Name)...)
}

func (b busybox) complete(ctx context.Context, groups []string) error {
	for _, g := range groups {
		if err := b.l.do(ctx, b.path, "addgroup", Name, g); err != nil {
			return err
		}
	}
	return nil
}

// ownGroup is the name or number of the account's primary group, which is made
// if the wish has a number that no group has. Empty: the tool chooses.
func (l *Local) ownGroup(ctx context.Context, m maker, w Wish) (string, error) {
	if w.GID > 0 {
		gid := uint32(w.GID)
		if g, ok, err := l.group(func(g group) bool { return g.gid == gid }); err != nil || ok {
			return g.name, err
		}
		return Name, m.addGroup(ctx, w.GID, w.System)
	}
	g, ok, err := l.group(func(g group) bool { return g.name == Name })
	if err != nil || !ok {
		return "", err
	}
	if g.gid == 0 {
		return "", fmt.Errorf("the group %s has id 0, which a session must not have: give it another", Name)
	}
	return g.name, nil
}

func (l *Local) group(wanted func(group) bool) (g group, ok bool, err error) {
	err = l.read("group", func(r io.Reader) error {
		g, ok, err = find(r, parseGroup, wanted)
		return err
	})
	return g, ok, err
}
