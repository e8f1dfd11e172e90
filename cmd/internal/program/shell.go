package program

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"ssmagent/internal/client"
	"ssmagent/internal/operator"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

// leaveWithin bounds the call that ends a session when we leave.
const leaveWithin = 5 * time.Second

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
	c, err := f.open(ctx)
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

// sessions are the calls that a session needs; *operator.Client.
type sessions interface {
	StartSession(ctx context.Context, in ssm.StartSessionInput) (ssm.SessionOutput, error)
	ResumeSession(ctx context.Context, id string) (ssm.SessionOutput, error)
	TerminateSession(ctx context.Context, id string) error
}

var _ sessions = (*operator.Client)(nil)

// openShell starts a session and works it to its end.
func openShell(ctx context.Context, s streams, c sessions, in ssm.StartSessionInput) int {
	transport, err := sessionTransport()
	if err != nil {
		s.failf("shell", "%v", err)
		return exitLost
	}
	out, err := c.StartSession(ctx, in)
	if err != nil {
		s.failf("shell", "%s: %v", in.Target, err)
		return exitLost
	}
	sh := newSitting(s)
	sess, err := client.New(client.Options{
		StreamURL: out.StreamUrl, SessionID: out.SessionId, Token: out.TokenValue, ClientVersion: version,
		Transport: transport, Accept: shellOnly, Notify: sh.told,
		Resume: func(ctx context.Context) (string, error) {
			o, err := c.ResumeSession(ctx, out.SessionId)
			if ssmclient.Code(err) == "DoesNotExistException" {
				return "", client.ErrGone
			}
			return o.TokenValue, err
		},
		Terminate: func(ctx context.Context) error { return c.TerminateSession(ctx, out.SessionId) },
	})
	if err != nil {
		s.failf("shell", "the service's answer is unusable: %v", err)
		return exitLost
	}
	return sh.sit(ctx, sess, in.Target, out.SessionId)
}

// shellOnly refuses sessions that are no shells.
func shellOnly(sessionType string, _ json.RawMessage) error {
	if sessionType == mgs.SessionPort {
		return errors.New("the document opens a port, not a shell")
	}
	return nil
}

// sessionTransport trusts what AWS_CA_BUNDLE names besides the system's store.
func sessionTransport() (*http.Transport, error) {
	file := os.Getenv("AWS_CA_BUNDLE")
	if file == "" {
		return ssmclient.Transport(nil)
	}
	ca, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("AWS_CA_BUNDLE: %w", err)
	}
	t, err := ssmclient.Transport(ca)
	if err != nil {
		return nil, fmt.Errorf("AWS_CA_BUNDLE %s: %w", file, err)
	}
	return t, nil
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
