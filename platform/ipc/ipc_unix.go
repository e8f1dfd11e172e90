//go:build unix

package ipc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// tempName is the length of the name that a socket has until it listens.
const tempName = 17

// backlog is how many connections may wait to be accepted.
const backlog = 128

// place is a name in an open directory.
type place struct {
	dir  *os.File
	name string
}

// openPlace opens the directory with flag: O_RDONLY for one that will be
// locked, passBy for one that will not.
func openPlace(path string, flag int) (place, error) {
	name := filepath.Base(path)
	if name == "." || name == ".." || name == string(filepath.Separator) || len(name) > 64 {
		return place{}, fmt.Errorf("socket %s: its name must have 1 to 64 bytes", path)
	}
	if err := fits(path); err != nil {
		return place{}, err
	}
	fd, err := unix.Open(filepath.Dir(path), flag|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return place{}, &fs.PathError{Op: "open directory of socket", Path: path, Err: err}
	}
	return place{os.NewFile(uintptr(fd), filepath.Dir(path)), name}, nil
}

func (p place) stat() (st unix.Stat_t, err error) {
	err = unix.Fstatat(int(p.dir.Fd()), p.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

// listener removes the socket it put in place, and no later one.
type listener struct {
	net.Listener
	addr   net.Addr
	at     place
	inode  uint64
	closed sync.Once
	err    error
}

func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) Close() error {
	l.closed.Do(func() {
		if st, err := l.at.stat(); err == nil && st.Ino == l.inode {
			l.err = unix.Unlinkat(int(l.at.dir.Fd()), l.at.name, 0)
		}
		l.err = errors.Join(l.err, l.Listener.Close(), l.at.dir.Close())
	})
	return l.err
}

func listen(path string) (net.Listener, error) {
	p, err := openPlace(path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	l, err := p.listen(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), p.dir.Close())
	}
	return l, nil
}

func (p place) listen(path string) (net.Listener, error) {
	// Two of us that start at once take turns, so that neither takes the
	// other's new socket for a left-over one.
	if err := unix.Flock(int(p.dir.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock the directory: %w", err)
	}
	defer unix.Flock(int(p.dir.Fd()), unix.LOCK_UN)
	if err := p.checkFree(); err != nil {
		return nil, err
	}
	var r [(tempName - 1) / 2]byte
	rand.Read(r[:])
	temp := "." + hex.EncodeToString(r[:])
	fd, err := p.bind(temp)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close() // FileListener duplicates it
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, errors.Join(err, unix.Unlinkat(int(p.dir.Fd()), temp, 0))
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := unix.Renameat(int(p.dir.Fd()), temp, int(p.dir.Fd()), p.name); err != nil {
		return nil, errors.Join(err, ln.Close(), unix.Unlinkat(int(p.dir.Fd()), temp, 0))
	}
	st, err := p.stat()
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return &listener{Listener: ln, addr: &net.UnixAddr{Name: path, Net: "unix"}, at: p, inode: st.Ino}, nil
}

// bind makes a listening socket that nobody but us could ever connect to: its
// rights are set before it listens.
func (p place) bind(name string) (int, error) {
	fd, err := newSocket()
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: p.address(name)}); err != nil {
		return -1, errors.Join(fmt.Errorf("bind: %w", err), unix.Close(fd))
	}
	err = unix.Fchmodat(int(p.dir.Fd()), name, 0o600, 0)
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd), unix.Unlinkat(int(p.dir.Fd()), name, 0))
	}
	return fd, nil
}

// checkFree allows nothing, or a socket that nobody serves.
func (p place) checkFree() error {
	st, err := p.stat()
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return errors.New("something that is no socket is in the way; remove it")
	}
	c, err := net.Dial("unix", p.address(p.name))
	if err == nil {
		return errors.Join(fmt.Errorf("another process serves it; stop that first: %w", unix.EADDRINUSE), c.Close())
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return nil
	}
	return fmt.Errorf("see whether it is in use: %w", err)
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	p, err := openPlace(path, passBy)
	if err != nil {
		return nil, err
	}
	defer p.dir.Close()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", p.address(p.name))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, underlying(err))
	}
	return c, nil
}

// underlying drops the address from the error's text: it need not be the path.
func underlying(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// peerUID asks the system who is at the other end.
func peerUID(c net.Conn) (uint32, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("peer of a %T: %w", c, errors.ErrUnsupported)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var uid uint32
	var asked error
	if err := raw.Control(func(fd uintptr) { uid, asked = credentials(int(fd)) }); err != nil {
		return 0, err
	}
	if asked != nil {
		return 0, fmt.Errorf("ask who the peer is: %w", asked)
	}
	return uid, nil
}

func checkPeer(c net.Conn) error {
	uid, err := peerUID(c)
	if err != nil {
		return err
	}
	if uid != 0 && int(uid) != os.Geteuid() {
		return fmt.Errorf("user %d may not do this: only root and user %d may", uid, os.Geteuid())
	}
	return nil
}
