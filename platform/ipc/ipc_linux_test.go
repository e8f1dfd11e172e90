package ipc_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"ssmagent/platform/ipc"
)

func TestLongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 200), strings.Repeat("e", 200))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "agent")
	l := listen(t, path)
	if l.Addr().String() != path {
		t.Errorf("address is %s", l.Addr())
	}
	echo(t, l)
	if err := talk(t, path); err != nil {
		t.Error(err)
	}
	l.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRightsWhateverTheUmask(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent")
	listen(t, path)
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	old.Close()
	echo(t, listen(t, path))
	if err := talk(t, path); err != nil {
		t.Error(err)
	}
}

func TestSomethingElseInTheWayStays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ipc.Listen(path); err == nil || !strings.Contains(err.Error(), "in the way") {
		t.Errorf("error %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}

func TestCloseLeavesALaterSocketAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent")
	first := listen(t, path)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	echo(t, listen(t, path))
	first.Close()
	if err := talk(t, path); err != nil {
		t.Error(err)
	}
}

func TestManyStartAtOnceAndOneWins(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent")
	var wg sync.WaitGroup
	won := make(chan net.Listener, 20)
	for range 20 {
		wg.Go(func() {
			l, err := ipc.Listen(path)
			if err == nil {
				won <- l
			} else if !errors.Is(err, unix.EADDRINUSE) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d serve the socket", len(won))
	}
	echo(t, <-won)
	if err := talk(t, path); err != nil {
		t.Error(err)
	}
}

func TestBadNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{"/", dir + "/..", filepath.Join(dir, strings.Repeat("n", 65)), filepath.Join(dir, "no", "agent")} {
		if _, err := ipc.Listen(path); err == nil {
			t.Errorf("listens on %s", path)
		}
		if _, err := ipc.Dial(t.Context(), path); err == nil {
			t.Errorf("connected to %s", path)
		} else if strings.Contains(err.Error(), "/proc/") {
			t.Errorf("the error speaks of our trick: %v", err)
		}
	}
	_, err := ipc.Dial(t.Context(), filepath.Join(dir, "nobody"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nobody there: %v", fmt.Sprint(err))
	}
}
