package program

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"

	"ssmagent/internal/client/clienttest"
	"ssmagent/internal/datakey"
	"ssmagent/internal/secret"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

// calls answers the calls of a session out of a double.
type calls struct {
	d     *clienttest.Double
	start error
	gone  error

	mu    sync.Mutex
	asked ssm.StartSessionInput
	ended int
}

func (s *calls) StartSession(_ context.Context, in ssm.StartSessionInput) (ssm.SessionOutput, error) {
	s.asked = in
	return ssm.SessionOutput{SessionId: clienttest.SessionID, StreamUrl: s.d.StreamURL(), TokenValue: secret.Text(s.d.Token())}, s.start
}

func (s *calls) ResumeSession(ctx context.Context, id string) (ssm.SessionOutput, error) {
	token, err := s.d.Resume(ctx)
	if token == "" && err == nil {
		err = s.gone
	}
	return ssm.SessionOutput{SessionId: id, TokenValue: secret.Text(token)}, err
}

func (s *calls) DataKey(context.Context, datakey.Session) (key, sealed []byte, err error) {
	return nil, nil, errors.New("no KMS here")
}

func (s *calls) TerminateSession(context.Context, string) error {
	s.mu.Lock()
	s.ended++
	s.mu.Unlock()
	s.d.Close("")
	return nil
}

func (s *calls) terminated() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// lines is a writer that several use.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestShellPiped: bytes pass as they are, the end of the input does not end
// the session, output and errors stay apart, the exit code comes through.
func TestShellPiped(t *testing.T) {
	t.Parallel()
	d := clienttest.NewDouble(t, clienttest.Options{})
	const script = "echo ~.\n~.\n\x03\xff\x00"
	go func() {
		var got []byte
		for len(got) < len(script) {
			typ, b, ok := d.Recv()
			if !ok || typ != mgs.PayloadOutput {
				t.Errorf("payload of type %d, %v", typ, ok)
				return
			}
			got = append(got, b...)
		}
		if string(got) != script {
			t.Errorf("input %q", got)
		}
		d.Send(mgs.PayloadOutput, []byte("out\xff\r\n"))
		d.Send(mgs.PayloadStdErr, []byte("err\r\n"))
		d.Send(mgs.PayloadFlag, mgs.FlagConnectToPortError.Encode())
		d.Send(mgs.PayloadExitCode, mgs.FormatExitCode(7))
		d.Drained()
		d.Close("")
	}()
	var out, errs lines
	code := openShell(t.Context(), streams{strings.NewReader(script), &out, &errs}, &calls{d: d}, ssm.StartSessionInput{Target: "mi-1"})
	if code != 7 || out.String() != "out\xff\r\n" || errs.String() != "err\r\n" {
		t.Errorf("code %d, out %q, err %q", code, out.String(), errs.String())
	}
}

func TestShellEnds(t *testing.T) {
	t.Parallel()
	gone := &ssmclient.Error{Code: "DoesNotExistException"}
	for _, tc := range []struct {
		name string
		opt  clienttest.Options
		do   func(d *clienttest.Double)
		gone error
		code int
		says string
	}{
		{"no code", clienttest.Options{}, func(d *clienttest.Double) { d.Close("") }, nil, 0, ""},
		{"stock", clienttest.Options{Style: clienttest.Stock}, func(d *clienttest.Double) { d.Close("") }, nil, 0, ""},
		{"zero", clienttest.Options{}, func(d *clienttest.Double) {
			d.Send(mgs.PayloadExitCode, mgs.FormatExitCode(0))
			d.Drained()
			d.Close("")
		}, nil, 0, ""},
		{"signal", clienttest.Options{}, func(d *clienttest.Double) {
			d.Send(mgs.PayloadExitCode, mgs.FormatExitCode(-1))
			d.Drained()
			d.Close("")
		}, nil, 255, ""},
		{"Windows code", clienttest.Options{}, func(d *clienttest.Double) {
			d.Send(mgs.PayloadExitCode, mgs.FormatExitCode(1000))
			d.Drained()
			d.Close("")
		}, nil, 255, ""},
		{"reason", clienttest.Options{}, func(d *clienttest.Double) { d.Close("idle for\x1b[2J too long") }, nil, 255,
			"shell: session " + clienttest.SessionID + ": idle for [2J too long\n"},
		{"timed out", clienttest.Options{}, func(d *clienttest.Double) { d.Forget(); d.Cut() }, nil, 255, "no longer knows"},
		{"unknown", clienttest.Options{}, func(d *clienttest.Double) { d.Forget(); d.Cut() }, gone, 255, "no longer knows"},
		{"port", clienttest.Options{SessionType: mgs.SessionPort}, func(d *clienttest.Double) { d.Response(); d.Close("") }, nil, 255, "a port, not a shell"},
		{"welcome", clienttest.Options{Customer: "Hello.\r\n"}, func(d *clienttest.Double) {
			d.Response()
			d.Send(mgs.PayloadFlag, []byte("xxxx"))
			d.Drained()
			d.Close("")
		}, nil, 0, "[Hello.]\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := clienttest.NewDouble(t, tc.opt)
			go func() {
				for len(d.Hellos()) == 0 { // a double without a client cannot be cut
					d.Response()
				}
				tc.do(d)
			}()
			var out, errs lines
			code := openShell(t.Context(), streams{strings.NewReader(""), &out, &errs}, &calls{d: d, gone: tc.gone}, ssm.StartSessionInput{})
			if code != tc.code || !strings.Contains(errs.String(), tc.says) || tc.says == "" && errs.String() != "" {
				t.Errorf("code %d, said %q", code, errs.String())
			}
		})
	}
}

func TestShellCannotStart(t *testing.T) {
	t.Parallel()
	d := clienttest.NewDouble(t, clienttest.Options{})
	var errs lines
	s := &calls{d: d, start: &ssmclient.Error{Code: "TargetNotConnected", Message: "mi-1 is not connected."}}
	if code := openShell(t.Context(), streams{strings.NewReader(""), io.Discard, &errs}, s, ssm.StartSessionInput{Target: "mi-1"}); code != 255 {
		t.Errorf("code %d", code)
	}
	if !strings.Contains(errs.String(), "mi-1: TargetNotConnected") {
		t.Errorf("said %q", errs.String())
	}
}

// TestShellInterrupted: a signal ends the session, not only the program.
func TestShellInterrupted(t *testing.T) {
	t.Parallel()
	d := clienttest.NewDouble(t, clienttest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer w.Close()
	go func() {
		d.Response()
		cancel()
	}()
	s := &calls{d: d}
	if code := openShell(ctx, streams{r, io.Discard, io.Discard}, s, ssm.StartSessionInput{}); code != 255 || s.terminated() != 1 {
		t.Errorf("code %d, terminated %d times", code, s.terminated())
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// TestShellOutputBroken: who cannot show anything ends the session.
func TestShellOutputBroken(t *testing.T) {
	t.Parallel()
	d := clienttest.NewDouble(t, clienttest.Options{})
	go d.Send(mgs.PayloadOutput, []byte("x"))
	var errs lines
	s := &calls{d: d}
	code := openShell(t.Context(), streams{strings.NewReader(""), broken{}, &errs}, s, ssm.StartSessionInput{})
	if code != 255 || s.terminated() != 1 || !strings.Contains(errs.String(), "disk full") {
		t.Errorf("code %d, terminated %d times, said %q", code, s.terminated(), errs.String())
	}
}

func TestShellArgs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, args string
		want       ssm.StartSessionInput
		ok         bool
	}{
		{"node", "mi-1", ssm.StartSessionInput{Target: "mi-1"}, true},
		{"flags after", "mi-1 -document D -reason why", ssm.StartSessionInput{Target: "mi-1", DocumentName: "D", Reason: "why"}, true},
		{"flags around", "-region r mi-1 -document D", ssm.StartSessionInput{Target: "mi-1", DocumentName: "D"}, true},
		{"parameters", "mi-1 -parameters a=1 -parameters a=2=3 -parameters {\"b\":[\"x,y\"]}",
			ssm.StartSessionInput{Target: "mi-1", Parameters: map[string][]string{"a": {"1", "2=3"}, "b": {"x,y"}}}, true},
		{"no node", "-document D", ssm.StartSessionInput{}, false},
		{"two nodes", "mi-1 mi-2", ssm.StartSessionInput{}, false},
		{"no value", "mi-1 -parameters a", ssm.StartSessionInput{}, false},
		{"bad JSON", "mi-1 -parameters {\"a\":1}", ssm.StartSessionInput{}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := streams{nil, io.Discard, io.Discard}
			f := newClientFlags(s, "shell", "")
			f.Init("shell", flag.ContinueOnError)
			in, code, ok := shellArgs(s, f, strings.Fields(tc.args))
			if ok != tc.ok || ok && !reflect.DeepEqual(in, tc.want) || !ok && code != exitUsage {
				t.Errorf("got %+v, %d, %v", in, code, ok)
			}
		})
	}
}
