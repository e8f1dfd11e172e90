package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"ssmagent/internal/admin"
	"ssmagent/platform/ipc"
)

// exitAbsent is the code of status and readyz when no agent answers, as init
// scripts have it.
const exitAbsent = 3

// askWithin bounds what the agent takes to answer.
const askWithin = 10 * time.Second

// adminClient asks the agent of this machine, or of the one below root, how it is.
func adminClient(root string) (admin.Client, error) {
	p, err := pathsFor(root)
	return admin.Client{Path: admin.Socket(p.IPC), Dial: ipc.Dial, Check: ipc.CheckPeer}, err
}

// agentStatus asks how the node is.
func agentStatus(ctx context.Context, root string) (admin.Status, error) {
	c, err := adminClient(root)
	if err != nil {
		return admin.Status{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	return c.Status(ctx)
}

// nodeFlags are those of a command of ssm-cli, whose faults go to standard error.
func nodeFlags(s streams, name string) *flag.FlagSet {
	fs := flag.NewFlagSet("ssm-cli "+name, flag.ContinueOnError)
	fs.SetOutput(s.err)
	return fs
}

// told is the exit code of a command, whose error it prints.
func (s streams) told(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, admin.ErrNone):
		s.failf("ssm-cli", "%v", err)
		return exitAbsent
	}
	s.failf("ssm-cli", "%v", err)
	return exitCommand
}

// statusMain is `ssm-cli status`.
func statusMain(ctx context.Context, s streams, root string, args []string) int {
	fs := nodeFlags(s, "status")
	output := outputFlag(fs)
	if code, ok := parse(fs, args, 0); !ok {
		return code
	}
	asJSON, err := output()
	if err != nil {
		s.failf("ssm-cli", "%v", err)
		return exitUsage
	}
	st, err := agentStatus(ctx, root)
	switch {
	case err != nil:
		return s.told(err)
	case asJSON:
		return s.told(printJSON(s.out, st))
	}
	return s.told(printStatus(s.out, st, time.Now()))
}

func printStatus(out io.Writer, st admin.Status, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	state := string(st.State)
	if st.Why != "" {
		state += ": " + printable(st.Why)
	}
	channel := dash(st.Channel)
	if st.ChannelOpen {
		channel += ", open"
	}
	files := fmt.Sprint(st.OpenFiles)
	if st.FileLimit > 0 {
		files += fmt.Sprintf(" of %d", st.FileLimit)
	}
	for _, l := range [][2]string{
		{"State", state},
		{"Node", fmt.Sprintf("%s in %s (%s)", st.InstanceID, st.Region, st.Identity)},
		{"Agent", fmt.Sprintf("%s, process %d, up %s", st.Version, st.PID, span(now.Sub(st.Started)))},
		{"Heartbeat", heartbeat(st, now)},
		{"Channel", channel},
		{"Clock", clockText(st.ClockBehind)},
		{"Credentials", expiry(st.CredentialsExpire, now)},
		{"Commands", fmt.Sprintf("%d running, %d waiting", st.CommandsRunning, st.CommandsWaiting)},
		{"Sessions", fmt.Sprint(st.Sessions)},
		{"Reports", fmt.Sprintf("%d not acknowledged", st.Unsent)},
		{"Memory", fmt.Sprintf("%s resident, %s of heap, limit %s", size(st.ResidentBytes), size(st.HeapBytes), size(st.MemoryLimitBytes))},
		{"Open files", files},
		{"Goroutines", fmt.Sprint(st.Goroutines)},
		{"Log level", st.LogLevel},
	} {
		fmt.Fprintf(w, "%s\t%s\n", l[0], l[1])
	}
	return w.Flush()
}

// span is a duration without what nobody wants to know.
func span(d time.Duration) string { return max(d, 0).Round(time.Second).String() }

func heartbeat(st admin.Status, now time.Time) string {
	if st.NoPings {
		return "none in container mode"
	}
	h := st.Heartbeat
	text := "never answered"
	if !h.Answered.IsZero() {
		text = fmt.Sprintf("answered %s ago (%s)", span(now.Sub(h.Answered)), when(h.Answered))
	}
	if failed := h.RefusedTotal + h.LostTotal; failed > 0 {
		text += fmt.Sprintf("; %d refused, %d lost", h.RefusedTotal, h.LostTotal)
	}
	return text
}

// clockText says what is wrong with this machine's clock.
func clockText(behind float64) string {
	d := time.Duration(behind * float64(time.Second)).Round(time.Second)
	switch {
	case d > 0:
		return fmt.Sprintf("%v behind the service's; please set it", d)
	case d < 0:
		return fmt.Sprintf("%v ahead of the service's; please set it", -d)
	}
	return "right"
}

func expiry(t, now time.Time) string {
	switch {
	case t.IsZero():
		return "-"
	case t.Before(now):
		return "expired at " + when(t)
	}
	return "until " + when(t)
}

// size is a number of bytes in MiB.
func size(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// readyzMain is `ssm-cli readyz`, for monitoring.
func readyzMain(ctx context.Context, s streams, root string, args []string) int {
	if code, ok := parse(nodeFlags(s, "readyz"), args, 0); !ok {
		return code
	}
	st, err := agentStatus(ctx, root)
	switch {
	case err != nil:
		return s.told(err)
	case !st.Ready:
		fmt.Fprintf(s.out, "not ready: %s %s\n", st.State, printable(st.Why))
		return exitFailed
	}
	fmt.Fprintf(s.out, "ready: %s\n", st.State)
	return exitOK
}

// metricsMain is `ssm-cli metrics`.
func metricsMain(ctx context.Context, s streams, root string, args []string) int {
	if code, ok := parse(nodeFlags(s, "metrics"), args, 0); !ok {
		return code
	}
	return s.told(withAgent(ctx, root, askWithin, func(ctx context.Context, c admin.Client) error { return c.Metrics(ctx, s.out) }))
}

// withAgent asks the agent something that may take so long.
func withAgent(ctx context.Context, root string, limit time.Duration, ask func(context.Context, admin.Client) error) error {
	c, err := adminClient(root)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return ask(ctx, c)
}

// setLogLevelMain is `ssm-cli set-log-level LEVEL`.
func setLogLevelMain(ctx context.Context, s streams, root string, args []string) int {
	fs := nodeFlags(s, "set-log-level")
	if code, ok := parse(fs, args, 1); !ok {
		return code
	}
	if _, err := admin.ParseLevel(fs.Arg(0)); err != nil {
		s.failf("ssm-cli", "%v", err)
		return exitUsage
	}
	err := withAgent(ctx, root, askWithin, func(ctx context.Context, c admin.Client) error { return c.SetLevel(ctx, fs.Arg(0)) })
	if err == nil {
		fmt.Fprintf(s.out, "the agent logs from %s on, until it is started again\n", fs.Arg(0))
	}
	return s.told(err)
}

// debugMain is `ssm-cli debug stacks|heap|profile`.
func debugMain(ctx context.Context, s streams, root string, args []string) int {
	word := ""
	if len(args) > 0 {
		word, args = args[0], args[1:]
	}
	fs := nodeFlags(s, "debug "+word)
	to := fs.String("o", "", "the file to write; standard output without it")
	seconds := 10
	var ask func(ctx context.Context, c admin.Client, w io.Writer) error
	switch word {
	case "stacks":
		ask = func(ctx context.Context, c admin.Client, w io.Writer) error { return c.Stacks(ctx, w) }
	case "heap":
		ask = func(ctx context.Context, c admin.Client, w io.Writer) error { return c.Heap(ctx, w) }
	case "profile":
		fs.IntVar(&seconds, "seconds", seconds, "how long to measure")
		ask = func(ctx context.Context, c admin.Client, w io.Writer) error { return c.Profile(ctx, seconds, w) }
	default:
		s.failf("ssm-cli", "debug stacks, heap or profile?")
		return exitUsage
	}
	if code, ok := parse(fs, args, 0); !ok {
		return code
	}
	return s.told(withAgent(ctx, root, askWithin+time.Duration(seconds)*time.Second, func(ctx context.Context, c admin.Client) error {
		return intoFile(*to, s.out, func(w io.Writer) error { return ask(ctx, c, w) })
	}))
}

// intoFile writes to a new file that only its owner reads, or to out where
// none is named.
func intoFile(name string, out io.Writer, write func(io.Writer) error) error {
	if name == "" {
		return write(out)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}
