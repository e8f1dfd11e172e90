package ipc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"ssmagent/platform/ipc"
)

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := ipc.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// echo serves l until it is closed.
func echo(t *testing.T, l net.Listener) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { io.Copy(c, c); c.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
}

func talk(t *testing.T, path string) error {
	t.Helper()
	c, err := ipc.Dial(t.Context(), path)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	b := make([]byte, 5)
	_, err = io.ReadFull(c, b)
	if string(b) != "hello" {
		t.Errorf("got %q back", b)
	}
	return err
}

func TestTalk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent")
	echo(t, listen(t, path))
	for range 3 {
		if err := talk(t, path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSecondServerIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent")
	echo(t, listen(t, path))
	if l, err := ipc.Listen(path); err == nil {
		l.Close()
		if os.Getenv("SSMAGENT_WINE") != "" {
			t.Skip("wine gives a pipe's name to everybody who asks for it alone")
		}
		t.Fatal("two serve one socket")
	}
	if err := talk(t, path); err != nil {
		t.Errorf("the first is of no use any more: %v", err)
	}
}

func TestAfterClose(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent")
	l := listen(t, path)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if _, err := ipc.Dial(t.Context(), path); err == nil {
		t.Error("connected to nobody")
	}
	echo(t, listen(t, path))
	if err := talk(t, path); err != nil {
		t.Error(err)
	}
}

func TestDialObeysContext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent")
	listen(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ipc.Dial(ctx, path); !errors.Is(err, context.Canceled) && err == nil {
		t.Errorf("error %v", err)
	}
}

func TestCheckPeer(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent")
	l := listen(t, path)
	c, err := ipc.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, end := range []net.Conn{c, s} {
		if err := ipc.CheckPeer(end); err != nil {
			t.Errorf("we ourselves are refused: %v", err)
		}
	}
	if err := ipc.CheckPeer(struct{ net.Conn }{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("not a socket: %v", err)
	}
}
