package program

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"ssmagent/internal/clock"
	"ssmagent/internal/session/terminal"
	"ssmagent/internal/session/worker"
	"ssmagent/platform/ipc"
	"ssmagent/platform/proc"
	"ssmagent/platform/quickio"
	"ssmagent/platform/secfile"
	"ssmagent/shell"
)

// sessionUser is the account of shells on the system.
const sessionUser = "ssm-user"

// sessionGC keeps the heap of a session's processes small: what they hold at a
// time is little.
const sessionGC = 50

// sessionWorker is the hidden program that serves one session.
func sessionWorker(ctx context.Context, s streams, args []string) int {
	debug.SetGCPercent(sessionGC)
	runtime.GOMAXPROCS(sessionProcs)
	exe, err := os.Executable()
	if err != nil {
		s.failf("ssm-session-worker", "find this program: %v", err)
		return exitFailed
	}
	level := slog.LevelInfo
	if os.Getenv("SSMAGENT_DEBUG") != "" {
		level = slog.LevelDebug
	}
	return worker.Main(ctx, args, worker.Deps{
		FS: secfile.OS(), Stdin: pollable(os.Stdin), Stdout: pollable(os.Stdout), Stderr: s.err,
		Log: slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: level})), Clock: clock.Real{}, Lock: secfile.Lock,
		Listen: ipc.Listen, Start: proc.Start, Screen: shell.OpenScreen, Executable: exe, Env: os.Environ(),
		Account: account, Program: findProgram, Lookup: lookup, Dial: dial,
	})
}

// lookup and dial are the system's, for port sessions.
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

func dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err
	}
	return quickio.Conn(conn), nil
}

// sessionTerminal is the hidden program that holds a session's terminal.
func sessionTerminal(ctx context.Context, _ streams, _ []string) int {
	debug.SetGCPercent(sessionGC)
	runtime.GOMAXPROCS(sessionProcs)
	return terminal.Main(ctx, terminal.Deps{In: quickio.File(pollable(os.Stdin)), Out: quickio.File(pollable(os.Stdout)), Open: shell.Open, Line: func() *os.File { return os.NewFile(3, "line") },
		System: terminal.System{Start: proc.Start, Subreaper: proc.BecomeSubreaper, KillDescendants: proc.KillDescendants}})
}

// account is who shells run as: whoever started the agent, or ssm-user when
// the agent may choose.
func account(invoker bool) (worker.Account, error) {
	if invoker || os.Geteuid() != 0 {
		home, name := os.Getenv("HOME"), ""
		if u, err := user.Current(); err == nil {
			name = u.Username
			if home == "" {
				home = u.HomeDir
			}
		}
		return worker.Account{Home: home, Dir: startDir(home), Name: name}, nil
	}
	u, err := user.Lookup(sessionUser)
	if _, unknown := errors.AsType[user.UnknownUserError](err); unknown {
		return worker.Account{}, fmt.Errorf("shells run as %s, an account that does not exist on this node; create it with: useradd -m %s", sessionUser, sessionUser)
	}
	if err != nil {
		return worker.Account{}, fmt.Errorf("look up the account %s: %w", sessionUser, err)
	}
	p, err := principal(u)
	if err != nil {
		return worker.Account{}, fmt.Errorf("the account %s: %w", sessionUser, err)
	}
	return worker.Account{Principal: p, Home: u.HomeDir, Dir: startDir(u.HomeDir), Name: u.Username}, nil
}

func principal(u *user.User) (proc.Principal, error) {
	p := proc.Principal{Set: true}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return p, fmt.Errorf("its user id %q is no number", u.Uid)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return p, fmt.Errorf("its group id %q is no number", u.Gid)
	}
	if uid == 0 || gid == 0 {
		return p, errors.New("it has user or group id 0, which a shell must not; give it others")
	}
	p.UID, p.GID = uint32(uid), uint32(gid)
	groups, err := u.GroupIds()
	if err != nil {
		return p, fmt.Errorf("its groups: %w", err)
	}
	for _, g := range groups {
		n, err := strconv.ParseUint(g, 10, 32)
		if err != nil {
			return p, fmt.Errorf("its group id %q is no number", g)
		}
		p.Groups = append(p.Groups, uint32(n))
	}
	return p, nil
}

// startDir is home, or the root where there is none.
func startDir(home string) string {
	if fi, err := os.Stat(home); filepath.IsAbs(home) && err == nil && fi.IsDir() {
		return home
	}
	return string(filepath.Separator)
}

// findProgram looks for a program as a shell would, in absolute directories
// only. The node's end of copies is this program.
func findProgram(name string, env []string) (string, error) {
	if name == copyProgram {
		return os.Executable()
	}
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok && v != "" {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if fi, err := os.Stat(file); filepath.IsAbs(file) && err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("there is no %s in PATH (%s): %w", name, path, fs.ErrNotExist)
}
