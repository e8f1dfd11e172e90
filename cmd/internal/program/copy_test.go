package program

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ssmagent/internal/client/clienttest"
	"ssmagent/internal/transfer"
	"ssmagent/internal/wire/mgs"
)

// copied runs `cp` against a node that is this process.
func copied(t *testing.T, source, destination string, style clienttest.Style) (code int, c *calls, errs *lines) {
	t.Helper()
	d := clienttest.NewDouble(t, clienttest.Options{Style: style, SessionType: mgs.SessionNonInteractiveCommands})
	job, err := newCopy(source, destination)
	if err != nil {
		t.Fatal(err)
	}
	in, typed := io.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer typed.Close()
		for {
			typ, b, ok := d.Recv()
			if !ok || typ == mgs.PayloadFlag {
				return
			}
			if _, err := typed.Write(b); err != nil {
				return
			}
		}
	})
	wg.Go(func() {
		if d.Response(); style == clienttest.Stock {
			return
		}
		code := sessionCopy(t.Context(), streams{in, sends{d}, io.Discard}, job.command()[1:])
		in.Close()
		d.Send(mgs.PayloadExitCode, mgs.FormatExitCode(code))
		d.Drained()
		d.Close("")
	})
	c, errs = &calls{d: d}, &lines{}
	var out lines
	code = job.run(t.Context(), streams{strings.NewReader(""), &out, errs}, c, false)
	d.Stop()
	wg.Wait()
	return code, c, errs
}

// sends prints what is written to it.
type sends struct{ d *clienttest.Double }

func (s sends) Write(b []byte) (int, error) {
	if !s.d.Send(mgs.PayloadOutput, b) {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

// TestCopy: both directions, files and folders.
func TestCopy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	content := bytes.Repeat([]byte("0123456789"), 300<<10)
	if err := os.MkdirAll(filepath.Join(dir, "folder", "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "folder/two", "folder/deep/three"} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ source, destination, want string }{
		{"mi-1:" + dir + "/one", dir + "/down", "down"},
		{dir + "/one", "mi-1:" + dir + "/up", "up"},
		{"mi-1:" + dir + "/folder", dir + "/fdown", "fdown/deep/three"},
		{dir + "/folder/", "mi-1:" + dir + "/fup", "fup/deep/three"},
	} {
		if code, _, errs := copied(t, tc.source, tc.destination, clienttest.Ours); code != exitOK {
			t.Errorf("%s: code %d: %s", tc.source, code, errs)
		}
		if b, err := os.ReadFile(filepath.Join(dir, tc.want)); err != nil || !bytes.Equal(b, content) {
			t.Errorf("%s: %d bytes, %v", tc.source, len(b), err)
		}
	}
}

// TestCopyFails: what is missing on either side, and a stock agent.
func TestCopyFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tc := range []struct {
		source, destination string
		style               clienttest.Style
		says                string
	}{
		{"mi-1:" + dir + "/none", dir + "/down", clienttest.Ours, "no such file"},
		{dir + "/none", "mi-1:" + dir + "/up", clienttest.Ours, "no such file"},
		{"mi-1:" + dir, dir + "/no/where", clienttest.Ours, "no such file"},
		{"mi-1:" + dir, dir + "/down", clienttest.Stock, "cp needs ssmagent on the node"},
	} {
		code, c, errs := copied(t, tc.source, tc.destination, tc.style)
		if code != exitLost || !strings.Contains(errs.String(), tc.says) || c.terminated() > 1 {
			t.Errorf("%s to %s: code %d: %s", tc.source, tc.destination, code, errs)
		}
	}
}

func TestNewCopy(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		source, destination string
		want                copying
		command             []string
	}{
		{"mi-1:/etc/hosts", ".", copying{"mi-1", ".", "/etc/hosts", "hosts", false}, []string{"send", "/etc/hosts"}},
		{"mi-1:", "x", copying{"mi-1", "x", "", "", false}, []string{"send", ""}},
		{"mi-1:~/..", "x", copying{"mi-1", "x", "~/..", "", false}, []string{"send", "~/.."}},
		{`mi-1:C:\Users\me\f.txt`, "x", copying{"mi-1", "x", `C:\Users\me\f.txt`, "f.txt", false}, []string{"send", `C:\Users\me\f.txt`}},
		{"a/b/", "mi-1:/tmp", copying{"mi-1", "a/b/", "/tmp", "b", true}, []string{"receive", "/tmp", "b"}},
		{"./a:b", "mi-1:c", copying{"mi-1", "./a:b", "c", "a:b", true}, []string{"receive", "c", "a:b"}},
		{"C:", "mi-1:c", copying{"mi-1", "C:", "c", "", true}, []string{"receive", "c", ""}},
	} {
		got, err := newCopy(tc.source, tc.destination)
		if err != nil || got != tc.want || !slices.Equal(got.command(), append([]string{copyProgram}, tc.command...)) {
			t.Errorf("%s to %s: %+v %q, %v", tc.source, tc.destination, got, got.command(), err)
		}
	}
	for _, args := range [][2]string{{"a", "b"}, {"mi-1:a", "mi-2:b"}, {"", "mi-1:b"}, {"mi-1:a", ""}} {
		if got, err := newCopy(args[0], args[1]); err == nil {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

func TestProgressLine(t *testing.T) {
	t.Parallel()
	p := transfer.Progress{Total: transfer.Total{Files: 2, Bytes: 4 << 20}, Name: "a\x1b[2Jb", DoneFiles: 1, DoneBytes: 1 << 20}
	if got, want := progressLine(p, time.Second, 200), "[#####...............]  25%  1.0 MiB of 4.0 MiB  1.0 MiB/s  0:03  1/2  a [2Jb"; got != want {
		t.Errorf("%q", got)
	}
	if got := progressLine(transfer.Progress{}, 0, 10); len(got) != 10 {
		t.Errorf("%q", got)
	}
}

// TestAtHome: what a shell would make of a path.
func TestAtHome(t *testing.T) {
	t.Setenv("HOME", "/home/x")
	t.Setenv("USERPROFILE", "/home/x")
	for p, want := range map[string]string{"": ".", "~": "/home/x", "~/a": "/home/x/a", "~a": "~a", "/~": "/~"} {
		if got := atHome(p); got != want {
			t.Errorf("%q: %q", p, got)
		}
	}
}
