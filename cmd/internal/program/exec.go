package program

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os/signal"
	"strings"
	"syscall"

	"ssmagent/internal/client"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

// documentCommand is the service's document for commands without a terminal.
const documentCommand = "AWS-StartNonInteractiveCommand"

// signalled is added to the number of the signal that ended a command, as
// shells do.
const signalled = 128

// execMain is `ssm-local exec`: its exit code is the remote one; 255 is also
// ours.
func execMain(ctx context.Context, s streams, args []string) int {
	f := newClientFlags(s, "ssm-local exec", "ssm-local exec [flags] NODE -- COMMAND [ARGUMENT]…\n"+
		"The command is run as it is, without a shell between: for pipes and the like say sh -c '…'.")
	reason := f.String("reason", "", "why, for those who look at the session's record")
	if code, ok := parse(f.FlagSet, args, -1); !ok {
		return code
	}
	node, command, err := execArgs(f.FlagSet)
	if err != nil {
		s.failf("exec", "%v", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	signal.Ignore(syscall.SIGPIPE) // an error of that write
	defer signal.Reset(syscall.SIGPIPE)
	c, err := f.open()
	if err != nil {
		s.failf("exec", "%v", err)
		return exitLost
	}
	in := commandOrder(node, command)
	in.Reason = *reason
	return execute(ctx, s, c, in)
}

// execArgs takes NODE [--] COMMAND… from what flags left.
func execArgs(fs *flag.FlagSet) (node string, command []string, err error) {
	words := fs.Args()
	if len(words) > 1 && words[1] == "--" {
		words = append(words[:1:1], words[2:]...)
	}
	if len(words) < 2 {
		return "", nil, errors.New("name a node and, after --, the command: ssm-local exec mi-0123456789abcdef0 -- uptime")
	}
	return words[0], words[1:], nil
}

// commandOrder is what StartSession is asked for.
func commandOrder(node string, command []string) ssm.StartSessionInput {
	return ssm.StartSessionInput{Target: node, DocumentName: documentCommand, Parameters: map[string][]string{
		// Agents cut the command into words as a shell would, and run it.
		"command": {quoted(command)}, "separateOutputStream": {"true"},
	}}
}

// quoted writes words so that they stay what they are when they are cut as a
// shell does it.
func quoted(words []string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		plain := func(r rune) bool {
			return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,+@%", r)
		}
		if w != "" && strings.IndexFunc(w, func(r rune) bool { return !plain(r) }) < 0 {
			b.WriteString(w)
			continue
		}
		b.WriteString("'" + strings.ReplaceAll(w, "'", `'"'"'`) + "'")
	}
	return b.String()
}

// commandOnly refuses sessions that are no commands.
func commandOnly(sessionType string, _ json.RawMessage) error {
	if sessionType != mgs.SessionNonInteractiveCommands {
		return fmt.Errorf("the document opens a session of type %s, not %s", sessionType, mgs.SessionNonInteractiveCommands)
	}
	return nil
}

// execute runs a command and returns its exit code.
func execute(ctx context.Context, s streams, c sessions, in ssm.StartSessionInput) int {
	p := &piped{s: s, verb: "exec"}
	var err error
	if p.session, err = openSession(ctx, c, in, commandOnly, p.told, withStreams); err != nil {
		s.failf("exec", "%v", err)
		return exitLost
	}
	p.begin = func(peer client.Peer) bool {
		if !peer.Streams {
			s.failf("exec", "the node's agent (%s) does not know ssmagent's way to run commands: they get no standard input, and a signal that ends them has no name", peer.AgentVersion)
		}
		return peer.Streams
	}
	p.inputEnd = func(ctx context.Context) { p.flag(ctx, mgs.FlagInputEnd) }
	p.interrupt = func(ctx context.Context) bool {
		if p.session.Peer().Streams {
			return p.flag(ctx, mgs.FlagInterrupt)
		}
		return p.session.Write(ctx, mgs.PayloadOutput, []byte{0x03}) == nil // ^C, as stock agents know it
	}
	outErr := p.run(ctx)
	bad := p.ended(outErr)
	return p.code(bad)
}

// code is the exit code for a command that has ended. bad: its session did not
// end as it should.
func (p *piped) code(bad bool) int {
	switch e := p.exit; {
	case e == nil:
		if !bad {
			p.s.failf(p.verb, "the node did not tell an exit code")
		}
	case e.Signal > 0:
		p.s.failf(p.verb, "the command was ended by %s (signal %d)", e.Name, e.Signal)
		return (signalled + e.Signal) & 0xff
	case e.Code < 0:
		p.s.failf(p.verb, "the command was ended by a signal")
	case e.Code > 255:
		p.s.failf(p.verb, "the command's exit code is %d", e.Code)
	default:
		return e.Code
	}
	return exitLost
}
