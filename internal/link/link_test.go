package link

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"ssmagent/platform/proc"
)

// ended is a process that has ended.
type ended struct {
	proc.Process
	state proc.State
}

func (e ended) Wait(context.Context) (proc.State, error) { return e.state, nil }

type event struct{ N int }

func nobody(context.Context, string) (net.Conn, error) { return nil, errors.New("nobody listens") }

func TestReachOfOneThatIsGone(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]proc.State{"exit code 3": {Code: 3}, "signal: killed": {Code: -1, Signal: "killed"}, "nobody saw how": {Code: -1, Signal: "unknown"}} {
		_, err := Reach[event](t.Context(), nobody, "", ended{state: s}, 64)
		var gone *Gone
		if !errors.As(err, &gone) || gone.State != s || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func TestConversation(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	l, err := Reach[event](t.Context(), func(context.Context, string) (net.Conn, error) { return ours, nil }, "", ended{}, 64)
	if err != nil {
		t.Fatal(err)
	}
	go l.Order(event{7})
	b, err := ReadLine(bufio.NewReader(theirs), 64)
	if err != nil || string(b) != "{\"N\":7}\n" {
		t.Fatalf("%q, %v", b, err)
	}
	go func() {
		_ = WriteLine(theirs, event{8})
		_, _ = theirs.Write([]byte("no JSON\n"))
	}()
	if ev := <-l.Events; ev.N != 8 {
		t.Errorf("event %+v", ev)
	}
	if ev, ok := <-l.Events; ok {
		t.Errorf("what no worker says became %+v", ev)
	}
	l.Close()
	l.Close()
}

func TestLaunchThatFails(t *testing.T) {
	t.Parallel()
	no := errors.New("no more processes")
	_, err := Launch[event](func(s proc.Spec) (proc.Process, error) {
		if s.Stdin == nil || s.Stdout == nil {
			t.Error("no pipes")
		}
		return nil, no
	}, proc.Spec{}, 64)
	if !errors.Is(err, no) {
		t.Error(err)
	}
}

func FuzzReadLine(f *testing.F) {
	f.Add([]byte("{}\n{}\n"), 10)
	f.Add(bytes.Repeat([]byte("x"), 200), 100)
	f.Fuzz(func(t *testing.T, b []byte, most int) {
		most = 16 + most&0xfff
		r := bufio.NewReaderSize(bytes.NewReader(b), 16)
		var got []byte
		for {
			line, err := ReadLine(r, most)
			if err != nil {
				break
			}
			if len(line) > most+16 || bytes.IndexByte(line, '\n') != len(line)-1 {
				t.Fatalf("line of %d bytes, at most %d: %q", len(line), most, line)
			}
			got = append(got, line...)
		}
		if !bytes.HasPrefix(b, got) {
			t.Fatalf("%q is not the beginning of %q", got, b)
		}
	})
}
