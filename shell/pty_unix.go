//go:build unix

package shell

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"ssmagent/platform/proc"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// openPTY returns both ends of a new terminal that has its size, its owner and
// its modes. The master end can be interrupted: the runtime polls it.
func openPTY(s Spec) (master, slave *os.File, err error) {
	m, slave, err := pty.Open()
	if err != nil {
		return nil, nil, explainPTY(err)
	}
	defer m.Close()
	fail := func(what string, err error) (*os.File, *os.File, error) {
		slave.Close()
		return nil, nil, fmt.Errorf("open a terminal: %s: %w", what, err)
	}
	if err := pty.Setsize(m, &pty.Winsize{Rows: s.Rows, Cols: s.Cols}); err != nil {
		return fail("set its size", err)
	}
	if s.Principal.Set && int(s.Principal.UID) != os.Geteuid() {
		// Programs open their terminal again by its name, as its owner.
		if err := slave.Chown(int(s.Principal.UID), -1); err != nil {
			return fail("give it to its user", err)
		}
	}
	if utf8Locale(s.Env) {
		if err := setUTF8(slave); err != nil {
			return fail("set its modes", err)
		}
	}
	// pty's calls have made the descriptor a blocking one, on which neither
	// deadlines nor Close would end a Read.
	fd, err := unix.FcntlInt(m.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fail("duplicate its descriptor", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return fail("make it pollable", err)
	}
	return os.NewFile(uintptr(fd), m.Name()), slave, nil
}

// utf8Locale says whether env asks for UTF-8, by the C library's precedence.
func utf8Locale(env []string) bool {
	for _, name := range []string{"LC_ALL=", "LC_CTYPE=", "LANG="} {
		for i := len(env) - 1; i >= 0; i-- {
			if v, ok := strings.CutPrefix(env[i], name); ok && v != "" {
				v = strings.ToLower(v)
				return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
			}
		}
	}
	return false
}

// setUTF8 makes the erase key of the line editor take whole characters away.
func setUTF8(slave *os.File) error {
	fd := int(slave.Fd())
	t, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return err
	}
	t.Iflag |= unix.IUTF8
	return unix.IoctlSetTermios(fd, setTermios, t)
}

// control runs f on the descriptor without making it a blocking one.
func control(f *os.File, do func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var doErr error
	if err := c.Control(func(fd uintptr) { doErr = do(int(fd)) }); err != nil {
		return err
	}
	return doErr
}

func setSize(master *os.File, rows, cols uint16) error {
	return control(master, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
}

// echoes asks the master end, which answers for the terminal.
func echoes(master *os.File) bool {
	on := false
	err := control(master, func(fd int) error {
		t, err := unix.IoctlGetTermios(fd, getTermios)
		on = err == nil && t.Lflag&unix.ECHO != 0
		return err
	})
	return err == nil && on
}

// startOn starts s with slave as its standard files and controlling terminal.
func startOn(slave *os.File, s Spec) (int, error) {
	switch {
	case s.Principal.Token != 0:
		return 0, fmt.Errorf("start %s: tokens exist on Windows only: %w", s.Path, errors.ErrUnsupported)
	case s.Path == "" || s.Path[0] != '/':
		return 0, fmt.Errorf("start %q: the path of a shell must be absolute", s.Path)
	}
	env := s.Env
	if env == nil {
		env = []string{}
	}
	if err := proc.CloseOnExec(); err != nil {
		return 0, fmt.Errorf("start %s: %w", s.Path, err)
	}
	fd := slave.Fd()
	attr := &syscall.ProcAttr{
		Dir: s.Dir, Env: env, Files: []uintptr{fd, fd, fd},
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: true, Credential: credential(s.Principal)},
	}
	pid, err := syscall.ForkExec(s.Path, s.Args, attr)
	runtime.KeepAlive(slave)
	if err != nil {
		return 0, explainStart(s, err)
	}
	return pid, nil
}

// credential is nil when p is what we are: changing to it takes rights that we
// may not have.
func credential(p proc.Principal) *syscall.Credential {
	if !p.Set {
		return nil
	}
	same := int(p.UID) == os.Geteuid() && int(p.GID) == os.Getegid()
	if same && p.Groups == nil && p.UID != 0 {
		return nil
	}
	return &syscall.Credential{Uid: p.UID, Gid: p.GID, Groups: p.Groups}
}
