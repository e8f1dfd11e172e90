package users

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// maker is a system's way to make accounts.
type maker interface {
	// add makes the account with its home; own is its primary group, or empty.
	add(ctx context.Context, w Wish, own string) error
	addGroup(ctx context.Context, gid int, system bool) error
	// join adds the account to groups.
	join(ctx context.Context, groups []string) error
}

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

func (s shadow) join(ctx context.Context, groups []string) error {
	return s.l.do(ctx, s.l.tool("usermod"), "-a", "-G", strings.Join(groups, ","), Name)
}

func option(args []string, name, value string) []string {
	if value == "" {
		return args
	}
	return append(args, name, value)
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
	return b.join(ctx, w.Groups)
}

func (b busybox) addGroup(ctx context.Context, gid int, system bool) error {
	args := []string{"addgroup", "-g", strconv.Itoa(gid)}
	if system {
		args = append(args, "-S")
	}
	return b.l.do(ctx, b.path, append(args, Name)...)
}

func (b busybox) join(ctx context.Context, groups []string) error {
	for _, g := range groups {
		if err := b.l.do(ctx, b.path, "addgroup", Name, g); err != nil {
			return err
		}
	}
	return nil
}
