package program

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"ssmagent/internal/client"
	"ssmagent/internal/client/clienttest"
	"ssmagent/internal/transfer"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
	"ssmagent/platform/tty"
)

// desk is a terminal with a person at it.
type desk struct {
	person, terminal *os.File
	before           unix.Termios
	screen           chan []byte
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	person, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(person, &pty.Winsize{Cols: 132, Rows: 43}); err != nil {
		t.Fatal(err)
	}
	d := &desk{person: person, terminal: terminal, screen: make(chan []byte, 1000)}
	d.before = d.mode(t)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for {
			b := make([]byte, 4096)
			n, err := person.Read(b)
			if err != nil {
				return
			}
			d.screen <- b[:n]
		}
	}()
	t.Cleanup(func() {
		// A read that still waits would keep the file open: give it a key.
		_, _ = person.WriteString("\r")
		terminal.Close()
		person.Close()
		<-read
	})
	return d
}

func (d *desk) mode(t *testing.T) unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(d.terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *m
}

// shows waits until text stands on the screen.
func (d *desk) shows(t *testing.T, text string) {
	t.Helper()
	var all []byte
	deadline := time.After(20 * time.Second)
	for !bytes.Contains(all, []byte(text)) {
		select {
		case b := <-d.screen:
			all = append(all, b...)
		case <-deadline:
			t.Fatalf("the screen shows %q, not %q", all, text)
		}
	}
}

func (d *desk) types(t *testing.T, keys string) {
	t.Helper()
	if _, err := d.person.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// TestShellTerminal: a person's keys come through untouched, sizes are told,
// Enter ~ ? helps and Enter ~ . leaves, and the terminal is as it was.
func TestShellTerminal(t *testing.T) {
	t.Parallel()
	desk := newDesk(t)
	d := clienttest.NewDouble(t, clienttest.Options{})
	c := &calls{d: d}
	code := make(chan int, 1)
	go func() {
		code <- openShell(t.Context(), streams{desk.terminal, desk.terminal, desk.terminal}, c, ssm.StartSessionInput{Target: "mi-1"})
	}()
	wants := func(typ uint32, want string) {
		t.Helper()
		var got []byte
		for len(got) < len(want) {
			k, b, ok := d.Recv()
			if !ok || k != typ {
				t.Fatalf("payload of type %d: %q, %v", k, b, ok)
			}
			got = append(got, b...)
		}
		if string(got) != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	wants(mgs.PayloadSize, `{"cols":132,"rows":43}`)
	desk.shows(t, "Enter ~? for help")
	d.Send(mgs.PayloadOutput, []byte("\x1b[1m$ \xff\n"))
	desk.shows(t, "\x1b[1m$ \xff\n") // no CR is put in
	const keys = "€漢👍\x03\x1a\x11\x13\x1c\x0f\x16\x7f\xff\x1b[A\r"
	desk.types(t, keys)
	wants(mgs.PayloadOutput, keys)
	if err := pty.Setsize(desk.person, &pty.Winsize{Cols: 20, Rows: 5}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	wants(mgs.PayloadSize, `{"cols":20,"rows":5}`)
	desk.types(t, "~?")
	desk.shows(t, "send a ~")
	desk.types(t, "~~x\r")
	wants(mgs.PayloadOutput, "~x\r")
	desk.types(t, "~.")
	if n := <-code; n != 255 || c.terminated() != 1 {
		t.Errorf("code %d, terminated %d times", n, c.terminated())
	}
	if desk.mode(t) != desk.before {
		t.Error("the terminal is not as it was")
	}
	desk.shows(t, "has ended]\r\n")
}

// TestShellLeavesAtAnyTime: also while nothing answers, with much typed.
func TestShellLeavesAtAnyTime(t *testing.T) {
	t.Parallel()
	desk := newDesk(t)
	d := clienttest.NewDouble(t, clienttest.Options{HoldComplete: true})
	c := &calls{d: d}
	code := make(chan int, 1)
	go func() {
		code <- openShell(t.Context(), streams{desk.terminal, desk.terminal, desk.terminal}, c, ssm.StartSessionInput{Target: "mi-1"})
	}()
	desk.shows(t, "help")
	desk.types(t, strings.Repeat("x", 2000)+"\r~.")
	if n := <-code; n != 255 || c.terminated() != 1 {
		t.Errorf("code %d, terminated %d times", n, c.terminated())
	}
	if desk.mode(t) != desk.before {
		t.Error("the terminal is not as it was")
	}
}

// TestShellAway: a person hears of an outage that lasts, and of its end.
func TestShellAway(t *testing.T) {
	t.Parallel()
	desk := newDesk(t)
	d := clienttest.NewDouble(t, clienttest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() {
		code <- openShell(ctx, streams{desk.terminal, desk.terminal, desk.terminal}, &calls{d: d}, ssm.StartSessionInput{Target: "mi-1"})
	}()
	d.Response()
	d.FailResume(2)
	d.Cut()
	desk.shows(t, "the connection is lost, reconnecting: the service has a bad day; Enter ~. leaves]\r\n")
	desk.shows(t, "connected again]\r\n")
	cancel() // as by SIGTERM
	if n := <-code; n != 255 {
		t.Errorf("code %d", n)
	}
	if desk.mode(t) != desk.before {
		t.Error("the terminal is not as it was")
	}
}

// TestShellLeavesOnce: a signal and the end of the terminal together make one
// call, which has a deadline.
func TestShellLeavesOnce(t *testing.T) {
	t.Parallel()
	desk := newDesk(t)
	d := clienttest.NewDouble(t, clienttest.Options{})
	c := &stubborn{calls: calls{d: d}, called: make(chan context.Context, 10), answer: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() {
		code <- openShell(ctx, streams{desk.terminal, desk.terminal, desk.terminal}, c, ssm.StartSessionInput{Target: "mi-1"})
	}()
	desk.shows(t, "help")
	cancel()
	call := <-c.called
	if left, ok := call.Deadline(); !ok || time.Until(left) > leaveWithin {
		t.Errorf("it may take until %v", left)
	}
	desk.types(t, "\r~.")
	desk.types(t, "\r~.")
	close(c.answer)
	if n := <-code; n != 255 || len(c.called) != 0 {
		t.Errorf("code %d, %d more calls", n, len(c.called))
	}
}

// stubborn answers TerminateSession late, and with an error.
type stubborn struct {
	calls
	called chan context.Context
	answer chan struct{}
}

func (c *stubborn) TerminateSession(ctx context.Context, _ string) error {
	c.called <- ctx
	<-c.answer
	return errors.New("the service is gone")
}

// TestShellPanic: not even a bug of ours leaves a terminal in raw mode.
func TestShellPanic(t *testing.T) {
	t.Parallel()
	desk := newDesk(t)
	sh := newSitting(streams{desk.terminal, desk.terminal, desk.terminal})
	raw, err := tty.MakeRaw(desk.terminal, desk.terminal)
	if err != nil {
		t.Fatal(err)
	}
	sh.raw = raw
	if desk.mode(t) == desk.before {
		t.Fatal("the mode did not change")
	}
	defer func() {
		if recover() == nil {
			t.Error("the panic is gone")
		}
		if desk.mode(t) != desk.before {
			t.Error("the terminal is not as it was")
		}
	}()
	sh.guard(func() { sh.told(client.Event{Kind: client.Lost}); panic("ouch") })
}

// TestForwardTable: a person sees the table, and how it ended.
func TestForwardTable(t *testing.T) {
	t.Parallel()
	desk := newDesk(t)
	d := clienttest.NewDouble(t, clienttest.Options{SessionType: mgs.SessionPort, Properties: []byte(`{"portNumber":"80","type":"LocalPortForwarding"}`)})
	served := make(chan struct{})
	go func() {
		defer close(served)
		d.ServePorts(nil)
	}()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	code := make(chan int, 1)
	go func() {
		code <- forwardAll(ctx, streams{nil, desk.terminal, desk.terminal}, &calls{d: d}, "mi-1", []way{{"tcp", "localhost:0", "", "80", ""}}, false)
	}()
	desk.shows(t, "UP/s")
	desk.shows(t, "mi-1 port 80  open")
	cancel()
	desk.shows(t, "ended; 0 connections")
	if c := <-code; c != exitOK {
		t.Errorf("code %d", c)
	}
	d.Stop()
	<-served
}

// TestCopyBar: a person sees how far a copy is, and that it was checked.
func TestCopyBar(t *testing.T) {
	t.Parallel()
	desk := newDesk(t)
	b := newBar(streams{err: desk.terminal})
	b.during(func() {
		b.watch(transfer.Progress{Total: transfer.Total{Files: 1, Bytes: 2 << 20}, DoneBytes: 1 << 20, Name: "name"})
		desk.shows(t, "]  50%  1.0 MiB of 2.0 MiB")
	})
	desk.shows(t, "\r\x1b[K")
}
