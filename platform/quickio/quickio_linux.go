package quickio

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// way is one direction of a descriptor. What a call needs is kept here, so that
// a call allocates nothing.
type way struct {
	try func(uintptr) bool // makes the system call; false: to be tried again when the descriptor is ready

	mu    sync.Mutex // held by the caller at work, as long as that waits
	p     []byte
	n     int
	errno syscall.Errno
}

// do runs try, by the runtime's poller, until it is done with p.
func (w *way) do(poll func(func(uintptr) bool) error, p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.p, w.n, w.errno = p, 0, 0
	err := poll(w.try)
	w.p = nil
	if err == nil && w.errno != 0 {
		err = w.errno
	}
	return w.n, err
}

// read reads what there is.
func (w *way) read(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(w.p))), uintptr(len(w.p)))
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		case 0:
			w.n = int(n)
		default:
			w.errno = errno
		}
		return true
	}
}

// write writes all.
func (w *way) write(fd uintptr) bool {
	for w.n < len(w.p) {
		rest := w.p[w.n:]
		n, _, errno := syscall.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uintptr(len(rest)))
		switch errno {
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		case 0:
			w.n += int(n)
		default:
			w.errno = errno
			return true
		}
	}
	return true
}

// ways are both directions.
type ways struct {
	raw     syscall.RawConn
	in, out way
}

func newWays(raw syscall.RawConn) *ways {
	w := &ways{raw: raw}
	w.in.try, w.out.try = w.in.read, w.out.write
	return w
}

func (w *ways) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := w.in.do(w.raw.Read, p)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (w *ways) write(p []byte) (int, error) { return w.out.do(w.raw.Write, p) }

// quickConn is a TCP connection.
type quickConn struct {
	*net.TCPConn
	ways *ways
}

// conn leaves alone what is no TCP connection: tests have others.
func conn(c net.Conn) net.Conn {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return c
	}
	return quickConn{t, newWays(raw)}
}

// Read implements net.Conn.
func (c quickConn) Read(p []byte) (int, error) {
	n, err := c.ways.read(p)
	return n, c.explain("read", err)
}

// Write implements net.Conn.
func (c quickConn) Write(p []byte) (int, error) {
	n, err := c.ways.write(p)
	return n, c.explain("write", err)
}

// ReadFrom hides the one of TCPConn, which would go past Write.
func (c quickConn) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{c}, r)
}

// WriteTo hides the one of TCPConn, which would go past Read.
func (c quickConn) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}

// explain words a failure as net does.
func (c quickConn) explain(op string, err error) error {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return err // nil, io.EOF, or the poller's
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
}

// quickFile is a pipe or a terminal.
type quickFile struct {
	f    *os.File
	ways *ways
}

func file(f *os.File) io.ReadWriter {
	raw, err := f.SyscallConn()
	if err != nil {
		return f
	}
	flags := 0
	if cerr := raw.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0) }); cerr != nil || err != nil || flags&unix.O_NONBLOCK == 0 {
		return f
	}
	return quickFile{f, newWays(raw)}
}

// Read implements io.Reader.
func (q quickFile) Read(p []byte) (int, error) {
	n, err := q.ways.read(p)
	return n, q.explain("read", err)
}

// Write implements io.Writer.
func (q quickFile) Write(p []byte) (int, error) {
	n, err := q.ways.write(p)
	return n, q.explain("write", err)
}

// explain words a failure as os does.
func (q quickFile) explain(op string, err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return &fs.PathError{Op: op, Path: q.f.Name(), Err: errno}
	}
	return err
}
