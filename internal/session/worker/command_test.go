package worker_test

import (
	"slices"
	"strings"
	"testing"

	"ssmagent/internal/wire/mgs"
)

// streams are the words of a client of ours that runs commands.
func streams() mgs.Extension {
	return mgs.Extension{MaxPayload: mgs.LargePayload, Streams: true}
}

// said waits for the end and returns what the client got.
func (l *lab) said(status, output string) (out, errs string, exits []string) {
	l.t.Helper()
	l.ended(status, output)
	l.gw.await("the session's last word", func() bool { return slices.Contains(l.gw.states, mgs.SessionTerminating) })
	l.gw.mu.Lock()
	defer l.gw.mu.Unlock()
	return l.gw.out.String(), l.gw.errs.String(), l.gw.exits
}

func TestCommandOfOurClient(t *testing.T) {
	for name, tc := range map[string]struct{ commands, out, errs, exit string }{
		"zero":     {`true`, "", "", "EXIT_CODE: 0"},
		"one":      {`sh -c '{{ command }}'`, "", "", "EXIT_CODE: 1"},
		"42":       {`sh -c 'echo \"a b\"; echo err >&2; exit 42'`, "a b\n", "err\n", "EXIT_CODE: 42"},
		"255":      {`sh -c 'exit 255'`, "", "", "EXIT_CODE: 255"},
		"killed":   {`sh -c 'kill -9 $$'`, "", "", "EXIT_CODE: -1 SIGNAL: 9 SIGKILL"},
		"no shell": {`echo $HOME ; > *`, "$HOME ; > *\n", "", "EXIT_CODE: 0"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.gw.extends(streams())
			m, _ := l.agent()
			l.order(m, commands(mgs.SessionNonInteractiveCommands, `{"commands":"`+tc.commands+`"}`))
			out, errs, exits := l.said("Success", "")
			if out != tc.out || errs != tc.errs || !slices.Equal(exits, []string{tc.exit}) {
				t.Errorf("%q %q %q", out, errs, exits)
			}
		})
	}
}

func TestCommandInput(t *testing.T) {
	l := newLab(t)
	l.gw.extends(streams())
	m, _ := l.agent()
	l.order(m, commands(mgs.SessionNonInteractiveCommands, `{"commands":"sh -c 'trap \"echo caught\" INT; echo ready; cat; echo end'"}`))
	l.gw.expect("ready\n")
	l.gw.typed("a \x03 is no signal\n")
	l.gw.expect("a \x03 is no signal\n")
	l.gw.says(mgs.PayloadFlag, mgs.FlagInputEnd.Encode())
	out, _, exits := l.said("Success", "")
	if !strings.HasSuffix(out, "signal\nend\n") || !slices.Equal(exits, []string{"EXIT_CODE: 0"}) {
		t.Errorf("%q %q", out, exits)
	}
}

func TestCommandSignals(t *testing.T) {
	for name, tell := range map[string]func(*gateway, byte){
		"ours": func(g *gateway, b byte) {
			g.says(mgs.PayloadFlag, map[byte]mgs.Flag{3: mgs.FlagInterrupt, 0x1c: mgs.FlagQuit}[b].Encode())
		},
		"stock": func(g *gateway, b byte) { g.says(mgs.PayloadOutput, []byte{'x', b, 3}) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			if name == "ours" {
				l.gw.extends(streams())
			} else {
				l.gw.stock("1.3.0.0")
			}
			m, _ := l.agent()
			l.order(m, commands(mgs.SessionNonInteractiveCommands, `{"commands":"sh -c 'trap \"echo caught\" INT; trap \"echo quit; exit 6\" QUIT; echo ready; while :; do sleep 0.02; done'"}`))
			l.gw.expect("ready\n")
			tell(l.gw, 3)
			l.gw.expect("caught\n")
			tell(l.gw, 0x1c)
			if out, _, _ := l.said("Success", ""); !strings.HasSuffix(out, "quit\n") {
				t.Errorf("%q", out)
			}
		})
	}
}

func TestCommandOfStockClient(t *testing.T) {
	const script = `"commands":"sh -c 'echo one; echo two >&2; cat; echo three; exit 7'"`
	for name, tc := range map[string]struct {
		property, out, errs string
		exits               []string
	}{
		"merged":   {`{` + script + `,"separateOutputStream":"false"}`, "one\ntwo\nthree\n", "", nil},
		"apart":    {`{` + script + `,"separateOutputStream":true}`, "one\nthree\n", "two\n", []string{"EXIT_CODE: 7"}},
		"killed":   {`{"commands":"sh -c 'kill -9 $$'","separateOutputStream":"true"}`, "", "", []string{"EXIT_CODE: -1"}},
		"prefixes": {`{"commands":"sh -c 'printf one; sleep 0.3; echo two >&2; echo three'","separateOutputStream":true,"stdOutSeparatorPrefix":"OUT:","stdErrSeparatorPrefix":"ERR:"}`, "OUT:onethree\n", "ERR:two\n", []string{"EXIT_CODE: 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.gw.stock("1.3.0.0")
			m, _ := l.agent()
			l.order(m, commands(mgs.SessionNonInteractiveCommands, tc.property))
			out, errs, exits := l.said("Success", "")
			if out != tc.out || errs != tc.errs || !slices.Equal(exits, tc.exits) {
				t.Errorf("%q %q %q", out, errs, exits)
			}
		})
	}
}

// A command that cannot run is told to the client, and to the service.
func TestCommandNotStarted(t *testing.T) {
	for name, tc := range map[string]struct {
		ours     bool
		property string
		why      string
		exits    []string
	}{
		"no such program":          {true, `{"commands":"no-such-program x"}`, "no-such-program", []string{"EXIT_CODE: 127"}},
		"no such file":             {true, `{"commands":"/no/such/file"}`, "no such file", []string{"EXIT_CODE: 127"}},
		"bad quotes":               {true, `{"commands":"echo 'x"}`, "not closed", []string{"EXIT_CODE: 127"}},
		"stock":                    {false, `{"commands":"/no/such/file"}`, "no such file", nil},
		"stock with streams apart": {false, `{"commands":"/no/such/file","separateOutputStream":true}`, "no such file", []string{"EXIT_CODE: 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			if l.gw.stock("1.3.0.0"); tc.ours {
				l.gw.extends(streams())
			}
			m, _ := l.agent()
			l.order(m, commands(mgs.SessionNonInteractiveCommands, tc.property))
			out, errs, exits := l.said("Failed", "Unable to start command: ")
			if out != "" || !strings.HasPrefix(errs, "Unable to start command: ") || !strings.Contains(errs, tc.why) || !slices.Equal(exits, tc.exits) {
				t.Errorf("%q %q %q", out, errs, exits)
			}
		})
	}
}

func TestCommandTerminated(t *testing.T) {
	l := newLab(t)
	l.gw.extends(streams())
	m, _ := l.agent()
	l.order(m, commands(mgs.SessionNonInteractiveCommands, `{"commands":"sh -c 'trap : HUP; sleep 1000 & (setsid sleep 1001 &) ; echo pids $$ $! end; cat'"}`))
	pids := l.pids()
	l.gw.send(mgs.TypeChannelClosed, "{}")
	l.ended("Success", "")
	l.gone(pids)
}

// Old clients that print both outputs as one are told so, where that matters.
func TestCommandOfOldClient(t *testing.T) {
	for name, tc := range map[string]struct {
		version, apart string
		hint           bool
	}{
		"old":             {"1.2.295", "true", true},
		"not so old":      {"1.2.295.0", "true", false},
		"old, not apart":  {"1.2.295", "false", false},
		"of no known age": {"?", "true", true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.gw.stock(tc.version)
			m, _ := l.agent()
			l.order(m, commands(mgs.SessionNonInteractiveCommands, `{"commands":"echo out","separateOutputStream":"`+tc.apart+`"}`))
			l.said("Success", "")
			l.gw.mu.Lock()
			defer l.gw.mu.Unlock()
			if got := strings.HasSuffix(l.gw.hint, "1.2.312.0 or later.\r\n"); got != tc.hint || !got && l.gw.hint != "" {
				t.Errorf("told %q", l.gw.hint)
			}
		})
	}
}
