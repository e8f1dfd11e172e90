package program

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

// leaveWithin bounds the calls that end a session when we leave: long enough for
// another attempt, short enough for who waits for a prompt.
const leaveWithin = 3 * time.Second

// shellMain is `ssm-local shell`: its exit code is the remote one; 255 is ours.
func shellMain(ctx context.Context, s streams, args []string) int {
	f := newClientFlags(s, "ssm-local shell", "ssm-local shell [flags] NODE")
	in, code, ok := shellArgs(s, f, args)
	if !ok {
		return code
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	// A reader of our output that went away is an error of that write, not the
	// end of a program that has a terminal to restore.
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	c, err := f.open()
	if err != nil {
		s.failf("shell", "%v", err)
		return exitLost
	}
	return openShell(ctx, s, c, in)
}

// shellArgs reads the command line; flags may stand on both sides of the node.
func shellArgs(s streams, f *clientFlags, args []string) (in ssm.StartSessionInput, code int, ok bool) {
	f.StringVar(&in.DocumentName, "document", "", "session document; without one the preferences of the service count")
	f.StringVar(&in.Reason, "reason", "", "why, for those who look at the session's record")
	parameters := parameterList{}
	f.Var(&parameters, "parameters", "parameter of the document, KEY=VALUE; may be repeated; or all as JSON")
	if code, ok := parse(f.FlagSet, args, -1); !ok {
		return in, code, false
	}
	in.Target = f.Arg(0)
	if f.NArg() > 1 {
		if code, ok := parse(f.FlagSet, f.Args()[1:], 0); !ok {
			return in, code, false
		}
	}
	if in.Target == "" {
		s.failf("shell", "name a node: ssm-local shell mi-0123456789abcdef0")
		return in, exitUsage, false
	}
	if len(parameters) > 0 {
		in.Parameters = parameters
	}
	return in, exitOK, true
}

// openShell starts a session and works it to its end.
func openShell(ctx context.Context, s streams, c sessions, in ssm.StartSessionInput) int {
	sh := newSitting(s)
	sess, err := openSession(ctx, c, in, shellOnly, sh.told)
	if err != nil {
		s.failf("shell", "%v", err)
		return exitLost
	}
	return sh.sit(ctx, sess.Session, sess.node, sess.id)
}

// shellOnly refuses sessions that are no shells.
func shellOnly(sessionType string, _ json.RawMessage) error {
	if sessionType == mgs.SessionPort {
		return errors.New("the document opens a port, not a shell")
	}
	return nil
}

// parameterList collects -parameters flags: KEY=VALUE, the same key again for
// another value, or a whole JSON object of lists.
type parameterList map[string][]string

func (l *parameterList) String() string { return fmt.Sprint(map[string][]string(*l)) }

func (l *parameterList) Set(v string) error {
	if strings.HasPrefix(v, "{") {
		var all map[string][]string
		if err := json.Unmarshal([]byte(v), &all); err != nil {
			return fmt.Errorf(`write JSON as {"KEY":["VALUE"]}: %w`, err)
		}
		for k, values := range all {
			(*l)[k] = append((*l)[k], values...)
		}
		return nil
	}
	key, value, ok := strings.Cut(v, "=")
	if !ok || key == "" {
		return errors.New("write it as KEY=VALUE")
	}
	(*l)[key] = append((*l)[key], value)
	return nil
}
