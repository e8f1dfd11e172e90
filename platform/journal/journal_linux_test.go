package journal

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSends(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "journal") // t.TempDir's names can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	send, ok := dial(path, "amazon-ssm-agent")
	if !ok {
		t.Fatal("no way to the journal")
	}
	if err := send(slog.LevelWarn, "two\nlines", map[string]string{"SSM_SESSION_ID": "s-1"}); err != nil {
		t.Fatal(err)
	}
	if err := l.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := l.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	want := "MESSAGE\n\x09\x00\x00\x00\x00\x00\x00\x00two\nlines\nPRIORITY=4\nSYSLOG_IDENTIFIER=amazon-ssm-agent\nSSM_SESSION_ID=s-1\n"
	if string(b[:n]) != want {
		t.Errorf("got %q", b[:n])
	}
	if _, ok := dial(path+".none", "x"); ok {
		t.Error("there is a way to nobody")
	}
}

func TestPriorities(t *testing.T) {
	t.Parallel()
	for level, want := range map[slog.Level]string{slog.LevelDebug: "7", slog.LevelInfo: "6", slog.LevelWarn: "4", slog.LevelError: "3"} {
		if !strings.Contains(string(datagram(level, "m", "i", nil)), "\nPRIORITY="+want+"\n") {
			t.Errorf("%v is not %s", level, want)
		}
	}
}

func TestIsStream(t *testing.T) {
	t.Parallel()
	st := unix.Stat_t{Dev: 10, Ino: 4711}
	for variable, want := range map[string]bool{"10:4711": true, "10:47": false, "": false, "x": false} {
		if isStream(variable, st) != want {
			t.Errorf("%q", variable)
		}
	}
}
