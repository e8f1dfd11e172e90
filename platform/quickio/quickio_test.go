package quickio

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

const patience = 20 * time.Second

// pair is a connection with both its ends quick.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Listener(plain)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a = Conn(c)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// TestConn: much more than the system holds comes whole and in order, from
// several writers too, and the end of one side is io.EOF at the other.
func TestConn(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<19)
	go func() {
		if n, err := a.Write(want); n != len(want) || err != nil {
			t.Error(n, err)
		}
		_ = a.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(want), err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { _, _ = b.Write(bytes.Repeat([]byte("x"), 100000)) })
	}
	go func() { wg.Wait(); b.Close() }()
	if got, err := io.ReadAll(a); len(got) != 400000 || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n, err := a.Read(nil); n != 0 || err != nil {
		t.Error(n, err)
	}
}

// TestCopy: what copies by itself goes the same way.
func TestCopy(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	go func() {
		_, _ = io.Copy(a, bytes.NewReader(make([]byte, 1<<20)))
		a.Close()
	}()
	var got bytes.Buffer
	if n, err := io.Copy(&got, b); n != 1<<20 || err != nil || got.Len() != 1<<20 {
		t.Error(n, err, got.Len())
	}
}

// TestConnEnds: deadlines and Close end what waits, and the errors are those
// of other connections.
func TestConnEnds(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	_ = a.SetReadDeadline(time.Unix(1, 0))
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	_ = a.SetReadDeadline(time.Time{})
	go func() { // something is there when the deadline comes
		_, _ = b.Read(make([]byte, 1))
		_ = a.SetWriteDeadline(time.Unix(1, 0))
	}()
	if n, err := a.Write(make([]byte, 64<<20)); n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(n, err)
	}
	ended := make(chan error, 1)
	go func() { _, err := a.Read(make([]byte, 1)); ended <- err }()
	time.AfterFunc(20*time.Millisecond, func() { a.Close() })
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Close does not end a Read")
	}
	_ = b.(interface{ SetLinger(int) error }).SetLinger(0)
	b.Close()
	if _, err := b.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// TestReset: a peer that is gone is an error that names the connection.
func TestReset(t *testing.T) {
	t.Parallel()
	if os.Getenv("SSMAGENT_WINE") != "" {
		t.Skip("wine takes a connection that was reset for one that was ended")
	}
	a, b := pair(t)
	_ = b.(interface{ SetLinger(int) error }).SetLinger(0)
	b.Close()
	_ = a.SetReadDeadline(time.Now().Add(patience))
	_, err := a.Read(make([]byte, 1))
	if op, ok := errors.AsType[*net.OpError](err); !ok || op.Addr == nil || op.Timeout() {
		t.Errorf("%T %v", err, err)
	}
}

// other is a connection that is not the system's.
type other struct{ net.Conn }

func TestOther(t *testing.T) {
	t.Parallel()
	if c := Conn(other{}); c != (other{}) {
		t.Errorf("%T", c)
	}
}

// TestFile: pipes carry all, wait, and end.
func TestFile(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in, out := File(r), File(w)
	want := bytes.Repeat([]byte("abc"), 1<<20)
	go func() {
		if n, err := out.Write(want); n != len(want) || err != nil {
			t.Error(n, err)
		}
		w.Close()
	}()
	if got, err := io.ReadAll(in); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
	r.Close()
	if _, err := in.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a closed pipe: %v", err)
	}
}

// TestBlockingFile: a file that could hold up the program is left alone.
func TestBlockingFile(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	_ = r.Fd() // makes it one
	if f := File(r); f != io.ReadWriter(r) {
		t.Errorf("%T", f)
	}
}
