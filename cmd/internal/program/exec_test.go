package program

import (
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"

	"ssmagent/internal/client/clienttest"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

// TestExec: input with its end, both outputs apart, and every way to end.
func TestExec(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		exit *mgs.Exit
		end  string // of the channel
		code int
		says string
	}{
		{"zero", &mgs.Exit{}, "", 0, ""},
		{"one", &mgs.Exit{Code: 1}, "", 1, ""},
		{"255", &mgs.Exit{Code: 255}, "", 255, ""},
		{"killed", &mgs.Exit{Code: -1, Signal: 9, Name: "SIGKILL"}, "", 137, "exec: the command was ended by SIGKILL (signal 9)\n"},
		{"signal without a name", &mgs.Exit{Code: -1}, "", 255, "exec: the command was ended by a signal\n"},
		{"Windows code", &mgs.Exit{Code: 1073807364}, "", 255, "exec: the command's exit code is 1073807364\n"},
		{"no code", nil, "", 255, "exec: the node did not tell an exit code\n"},
		{"terminated", nil, "terminated by ada", 255, "exec: session " + clienttest.SessionID + ": terminated by ada\n"},
		{"late reason", &mgs.Exit{Code: 3}, "a full disk", 3, "exec: session " + clienttest.SessionID + ": a full disk\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := clienttest.NewDouble(t, clienttest.Options{SessionType: mgs.SessionNonInteractiveCommands})
			go func() {
				var got []byte
				for {
					typ, b, ok := d.Recv()
					if f, err := mgs.DecodeFlag(b); typ == mgs.PayloadFlag && err == nil && f == mgs.FlagInputEnd {
						break
					}
					if !ok || typ != mgs.PayloadOutput {
						t.Errorf("payload of type %d, %v", typ, ok)
						return
					}
					got = append(got, b...)
				}
				d.Send(mgs.PayloadOutput, got)
				d.Send(mgs.PayloadStdErr, []byte("err\n"))
				if tc.exit != nil {
					d.Send(mgs.PayloadExitCode, mgs.FormatExit(*tc.exit))
				}
				d.Drained()
				d.Close(tc.end)
			}()
			var out, errs lines
			c := &calls{d: d}
			code := execute(t.Context(), streams{strings.NewReader("in\xff\x03\n"), &out, &errs}, c, commandOrder("mi-1", []string{"cat"}))
			if code != tc.code || out.String() != "in\xff\x03\n" || errs.String() != "err\n"+tc.says {
				t.Errorf("code %d, out %q, err %q", code, out.String(), errs.String())
			}
			if c.asked.DocumentName != documentCommand || c.asked.Parameters["command"][0] != "cat" {
				t.Errorf("%+v", c.asked)
			}
		})
	}
}

// TestExecStock: what a stock agent lacks is said, and nothing is sent to it.
func TestExecStock(t *testing.T) {
	t.Parallel()
	d := clienttest.NewDouble(t, clienttest.Options{Style: clienttest.Stock, SessionType: mgs.SessionNonInteractiveCommands})
	go func() {
		d.Response()
		d.Send(mgs.PayloadOutput, []byte("out\n"))
		d.Send(mgs.PayloadExitCode, mgs.FormatExitCode(42))
		d.Drained()
		d.Close("")
	}()
	var out, errs lines
	code := execute(t.Context(), streams{strings.NewReader("in"), &out, &errs}, &calls{d: d}, commandOrder("mi-1", []string{"true"}))
	if code != 42 || out.String() != "out\n" || d.Largest() > 1024 || !strings.Contains(errs.String(), "no standard input") {
		t.Errorf("code %d, out %q, err %q", code, out.String(), errs.String())
	}
}

// TestExecInterrupt: ^C is the command's, which may end as it likes.
func TestExecInterrupt(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		style clienttest.Style
		typ   uint32
		want  string
	}{
		"ours":  {clienttest.Ours, mgs.PayloadFlag, string(mgs.FlagInterrupt.Encode())},
		"stock": {clienttest.Stock, mgs.PayloadOutput, "\x03"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := clienttest.NewDouble(t, clienttest.Options{Style: tc.style, SessionType: mgs.SessionNonInteractiveCommands})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				d.Response()
				cancel()
				typ, b, _ := d.Recv()
				if typ != tc.typ || string(b) != tc.want {
					t.Errorf("payload of type %d: %q", typ, b)
				}
				d.Send(mgs.PayloadExitCode, mgs.FormatExitCode(5))
				d.Drained()
				d.Close("")
			}()
			in, w := io.Pipe()
			defer w.Close()
			var out lines
			c := &calls{d: d}
			if code := execute(ctx, streams{in, &out, &out}, c, commandOrder("mi-1", []string{"true"})); code != 5 || c.terminated() != 0 {
				t.Errorf("code %d, terminated %d times: %s", code, c.terminated(), out.String())
			}
		})
	}
}

// TestQuoted: a shell gets the words back.
func TestQuoted(t *testing.T) {
	t.Parallel()
	for _, words := range [][]string{{"ls", "-la", "/tmp"}, {"echo", "a b", "", "it's", `$HOME "x" \`, "*", "a\nb", "日本"}} {
		b, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "printf '%s\\0' "+quoted(words)).Output()
		if err != nil {
			t.Skip("no shell here: ", err)
		}
		if got := strings.Join(words, "\x00") + "\x00"; string(b) != got {
			t.Errorf("%q: %q", words, b)
		}
	}
	if got := quoted([]string{"ls", "-la"}); got != "ls -la" {
		t.Error(got)
	}
}

// TestSSHProxy: bytes pass as they are, the end of our input ends the session.
func TestSSHProxy(t *testing.T) {
	t.Parallel()
	d := clienttest.NewDouble(t, clienttest.Options{SessionType: mgs.SessionPort, Properties: []byte(`{"portNumber":"22"}`)})
	go func() {
		d.Send(mgs.PayloadOutput, []byte("SSH-2.0-x\r\n\x00\xff\n"))
		d.Recv()
		typ, b, _ := d.Recv()
		if f, err := mgs.DecodeFlag(b); typ != mgs.PayloadFlag || err != nil || f != mgs.FlagTerminateSession {
			t.Errorf("payload of type %d: %q", typ, b)
		}
		d.Drained()
		d.Close("")
	}()
	var out, errs lines
	c := &calls{d: d}
	code := proxySSH(t.Context(), streams{strings.NewReader("SSH-2.0-me\r\n"), &out, &errs}, c, ssm.StartSessionInput{Target: "mi-1", DocumentName: documentSSH})
	if code != exitOK || out.String() != "SSH-2.0-x\r\n\x00\xff\n" || errs.String() != "" {
		t.Errorf("code %d, out %q, err %q", code, out.String(), errs.String())
	}
	for _, args := range [][]string{{}, {"mi-1", "x"}, {"mi-1", "22", "y"}} {
		if code := sshProxyMain(t.Context(), streams{nil, &out, &out}, args); code != exitUsage {
			t.Errorf("%q: code %d", args, code)
		}
	}
}
