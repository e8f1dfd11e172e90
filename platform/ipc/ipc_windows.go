package ipc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// buffered is how much a pipe takes before its writer waits.
const buffered = 64 << 10

// pipeName derives a pipe's name from path: pipes have one flat name space,
// and paths do not know case.
func pipeName(path string) (*uint16, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("pipe for %s: %w", path, err)
	}
	sum := sha256.Sum256([]byte(strings.ToLower(abs)))
	return windows.UTF16PtrFromString(`\\.\pipe\ssmagent-` + hex.EncodeToString(sum[:16]))
}

// address is the path that a pipe stands for.
type address string

// Network implements net.Addr.
func (address) Network() string { return "pipe" }

// String implements net.Addr.
func (a address) String() string { return string(a) }

// conn is one end of a pipe. Its handle is for operations that overlap, which
// the runtime then waits for without a thread.
type conn struct {
	*os.File
	at     address
	server bool // we are
}

func newConn(h windows.Handle, path string, server bool) *conn {
	return &conn{File: os.NewFile(uintptr(h), path), at: address(path), server: server}
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.at }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.at }

// listener is the server of a pipe's name. There is always one instance more
// than connections, so that the name is nobody else's for a moment.
type listener struct {
	at       address
	name     *uint16
	security *windows.SecurityAttributes
	ended    windows.Handle // event

	accepting sync.Mutex
	next      windows.Handle // the instance for whoever comes next; under accepting
	closed    sync.Once
}

func listen(path string) (net.Listener, error) {
	l, err := newListener(path)
	if err != nil {
		return nil, fmt.Errorf("listen on the pipe of %s: %w", path, err)
	}
	return l, nil
}

func newListener(path string) (*listener, error) {
	name, err := pipeName(path)
	if err != nil {
		return nil, err
	}
	security, err := rights()
	if err != nil {
		return nil, err
	}
	l := &listener{at: address(path), name: name, security: security}
	// A pipe without a server does not exist, so nothing can be left over.
	if l.next, err = l.instance(windows.FILE_FLAG_FIRST_PIPE_INSTANCE); errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_PIPE_BUSY) {
		return nil, fmt.Errorf("another process serves it; stop that first: %w", err)
	}
	if err != nil {
		return nil, err
	}
	if l.ended, err = windows.CreateEvent(nil, 1, 0, nil); err != nil {
		return nil, errors.Join(err, windows.CloseHandle(l.next))
	}
	return l, nil
}

func (l *listener) instance(flag uint32) (windows.Handle, error) {
	return windows.CreateNamedPipe(l.name, windows.PIPE_ACCESS_DUPLEX|windows.FILE_FLAG_OVERLAPPED|flag,
		windows.PIPE_REJECT_REMOTE_CLIENTS, windows.PIPE_UNLIMITED_INSTANCES, buffered, buffered, 0, l.security)
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.at }

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	l.accepting.Lock()
	defer l.accepting.Unlock()
	if l.next == 0 {
		return nil, l.failed(net.ErrClosed)
	}
	for {
		err := l.await(l.next)
		if errors.Is(err, windows.ERROR_NO_DATA) { // it came and has gone
			err = windows.DisconnectNamedPipe(l.next)
			if err == nil {
				continue
			}
		}
		if err != nil {
			_ = windows.CloseHandle(l.next)
			l.next = 0
			return nil, l.failed(err)
		}
		break
	}
	c := newConn(l.next, string(l.at), true)
	var err error
	if l.next, err = l.instance(0); err != nil {
		l.next = 0
		return nil, l.failed(errors.Join(err, c.Close()))
	}
	return c, nil
}

func (l *listener) failed(err error) error {
	return &net.OpError{Op: "accept", Net: l.at.Network(), Addr: l.at, Err: err}
}

// await waits for a client at h, or for Close.
func (l *listener) await(h windows.Handle) error {
	came, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(came)
	o := &windows.Overlapped{HEvent: came}
	err = windows.ConnectNamedPipe(h, o)
	if errors.Is(err, windows.ERROR_IO_PENDING) {
		which, werr := windows.WaitForMultipleObjects([]windows.Handle{l.ended, came}, false, windows.INFINITE)
		if werr != nil || which == windows.WAIT_OBJECT_0 {
			_ = windows.CancelIoEx(h, o)
		}
		var n uint32
		err = windows.GetOverlappedResult(h, o, &n, true) // until then o is the system's
		if errors.Is(err, windows.ERROR_OPERATION_ABORTED) {
			err = errors.Join(werr, net.ErrClosed)
		}
	}
	if errors.Is(err, windows.ERROR_PIPE_CONNECTED) {
		return nil
	}
	return err
}

// Close implements net.Listener.
func (l *listener) Close() error {
	var err error
	l.closed.Do(func() {
		err = windows.SetEvent(l.ended)
		l.accepting.Lock() // Accept has gone
		defer l.accepting.Unlock()
		if l.next != 0 {
			err = errors.Join(err, windows.CloseHandle(l.next))
			l.next = 0
		}
		err = errors.Join(err, windows.CloseHandle(l.ended))
	})
	return err
}

// turn is how long a client that finds all instances taken waits for the next
// one before it looks whether it still wants to: the system wakes it earlier.
const turn = 100 * time.Millisecond

func dial(ctx context.Context, path string) (net.Conn, error) {
	c, err := dialPipe(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("connect to the pipe of %s: %w", path, err)
	}
	return c, nil
}

func dialPipe(ctx context.Context, path string) (*conn, error) {
	name, err := pipeName(path)
	if err != nil {
		return nil, err
	}
	waitNamedPipe := windows.NewLazySystemDLL("kernel32.dll").NewProc("WaitNamedPipeW") // x/sys has none
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		// Whoever serves it may learn who we are, and not act as us.
		h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING,
			windows.FILE_FLAG_OVERLAPPED|windows.SECURITY_SQOS_PRESENT|windows.SECURITY_IDENTIFICATION, 0)
		if err == nil {
			if err := checkOwner(h); err != nil {
				return nil, errors.Join(err, windows.CloseHandle(h))
			}
			return newConn(h, path, false), nil
		}
		if !errors.Is(err, windows.ERROR_PIPE_BUSY) {
			return nil, err
		}
		_, _, _ = waitNamedPipe.Call(uintptr(unsafe.Pointer(name)), uintptr(turn.Milliseconds())) // CreateFile tells
	}
}
