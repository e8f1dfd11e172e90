package quickio

import (
	"io"
	"net"
	"os"
)

// Windows completes reads and writes in the background as it is: there is
// nothing to leave out.

func conn(c net.Conn) net.Conn { return c }

func file(f *os.File) io.ReadWriter { return f }
