package program

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"ssmagent/internal/clock"
	"ssmagent/internal/session"
	"ssmagent/internal/session/terminal"
	"ssmagent/internal/session/worker"
	"ssmagent/platform/ipc"
	"ssmagent/platform/proc"
	"ssmagent/platform/profile"
	"ssmagent/platform/quickio"
	"ssmagent/platform/secfile"
	"ssmagent/shell"
	"ssmagent/users"
)

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
	log := workerLog(s, session.WorkerName)
	return worker.Main(ctx, args, worker.Deps{
		FS: secfile.OS(), Stdin: pollable(os.Stdin), Stdout: pollable(os.Stdout), Stderr: s.err,
		Log: log, Clock: clock.Real{}, Lock: secfile.Lock,
		Listen: ipc.Listen, Start: holderStarter(), Screen: shell.OpenScreen, Executable: exe, Env: os.Environ(),
		Accounts: func(data string) worker.Accounts { return users.New(secfile.OS(), data, log) }, PowerShell: powerShell(), Cmd: olderShell(), Profile: profile.Load, Program: findProgram, Lookup: lookup, Dial: dial,
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
		System: terminal.System{Start: proc.Start, Subreaper: proc.BecomeSubreaper, KillDescendants: proc.KillDescendants, Attendant: attendant()}})
}

// sessionConsole is the hidden program that starts a session's on a console.
func sessionConsole(_ context.Context, _ streams, args []string) int { return shell.Attend(args) }

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
