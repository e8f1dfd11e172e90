// Package ipc is the seam for local conversation between our own processes: a
// stream socket with a name in the file system (Linux and macOS: a unix socket,
// 0600 in a 0700 directory; Windows: a named pipe for SYSTEM and
// Administrators).
package ipc

import (
	"context"
	"net"
)

// Listen listens at path (Windows derives the pipe's name from it). A left-over
// socket that nobody serves is replaced. The path may be longer than the
// system's limit for socket addresses, but not on macOS. Closing removes the
// socket.
func Listen(path string) (net.Listener, error) { return listen(path) }

// Dial connects to path.
func Dial(ctx context.Context, path string) (net.Conn, error) { return dial(ctx, path) }

// CheckPeer refuses who is at the other end of c if it is neither the system's
// administrator nor the user we run as. On Windows the pipe's rights have seen
// to that.
func CheckPeer(c net.Conn) error { return checkPeer(c) }
