package ipc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"
)

// pipeName derives a pipe's name from path: pipes have one flat name space,
// and paths do not know case.
func pipeName(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("pipe for %s: %w", path, err)
	}
	sum := sha256.Sum256([]byte(strings.ToLower(abs)))
	return `\\.\pipe\ssmagent-` + hex.EncodeToString(sum[:16]), nil
}

// rights is Protected; Generic All to SYSTEM, Administrators and whoever we are.
func rights() (string, error) {
	u, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return "", fmt.Errorf("find the invoking user: %w", err)
	}
	return "D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;" + u.User.Sid.String() + ")", nil
}

func listen(path string) (net.Listener, error) {
	name, err := pipeName(path)
	if err != nil {
		return nil, err
	}
	sddl, err := rights()
	if err != nil {
		return nil, err
	}
	// A pipe without a server does not exist, so nothing can be left over.
	l, err := winio.ListenPipe(name, &winio.PipeConfig{SecurityDescriptor: sddl})
	if err != nil {
		return nil, fmt.Errorf("listen on the pipe of %s: %w", path, err)
	}
	return l, nil
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	name, err := pipeName(path)
	if err != nil {
		return nil, err
	}
	c, err := winio.DialPipeContext(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("connect to the pipe of %s: %w", path, err)
	}
	return c, nil
}

// checkPeer has nothing to add to rights: whoever they let in may ask.
func checkPeer(net.Conn) error { return nil }
