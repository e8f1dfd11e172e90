// Package quickio is the seam for reading and writing descriptors that never
// hold up the system: sockets, pipes and terminals in non-blocking mode. Around
// every system call that might take long the Go runtime makes ready to move on
// without the calling thread, and wakes another thread to watch it. A program
// that does little more than pass bytes on pays more for that than for the
// calls; here it is left out, and nothing else is different.
package quickio

import (
	"io"
	"net"
	"os"
)

// Conn returns c with quick reads and writes, or c itself where there are none.
func Conn(c net.Conn) net.Conn { return conn(c) }

// Listener returns l with connections as Conn gives them.
func Listener(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return conn(c), nil
}

// File returns f's quick reads and writes, or f itself where there are none: a
// file in blocking mode, which would hold up all that runs in this program.
// Deadlines and Close are f's and end them as they end f's own, but the error
// after Close need not be os.ErrClosed.
func File(f *os.File) io.ReadWriter { return file(f) }
