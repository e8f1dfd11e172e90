package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"

	"ssmagent/internal/client"
	"ssmagent/internal/client/forward"
	"ssmagent/internal/clock"
	"ssmagent/platform/quickio"
)

// forwardMain is `ssm-local forward`.
func forwardMain(ctx context.Context, s streams, args []string) int {
	f := newClientFlags(s, "ssm-local forward", "ssm-local forward [flags] NODE [BIND:]PORT[:HOST:PORT]…")
	document := f.String("document", "", "session document with the parameters portNumber and, for other hosts, host (default: the service's)")
	node, ways, code, ok := forwardArgs(s, f.FlagSet, args)
	if !ok {
		return code
	}
	for i := range ways {
		ways[i].document = *document
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	signal.Ignore(syscall.SIGPIPE) // whoever reads our lines may go; the connections stay
	defer signal.Reset(syscall.SIGPIPE)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(sessionProcs)) // it passes bytes on as the node's end does
	c, err := f.open()
	if err != nil {
		s.failf("forward", "%v", err)
		return exitLost
	}
	return forwardAll(ctx, s, c, node, ways, f.output == "json")
}

// forwardArgs reads the command line; flags may stand on both sides of the node.
func forwardArgs(s streams, fs *flag.FlagSet, args []string) (node string, ways []way, code int, ok bool) {
	if code, ok := parse(fs, args, -1); !ok {
		return "", nil, code, false
	}
	if node = fs.Arg(0); fs.NArg() > 1 {
		if code, ok := parse(fs, fs.Args()[1:], -1); !ok {
			return "", nil, code, false
		}
		for _, a := range fs.Args() {
			w, err := parseWay(a)
			if err != nil {
				s.failf("forward", "%v", err)
				return "", nil, exitUsage, false
			}
			ways = append(ways, w)
		}
	}
	if len(ways) == 0 {
		s.failf("forward", "name a node and what to forward: ssm-local forward mi-0123456789abcdef0 8080:80")
		return "", nil, exitUsage, false
	}
	return node, ways, exitOK, true
}

// tunnel is one way that is being forwarded.
type tunnel struct {
	way
	node     string
	listener net.Listener
	session  opened
	forward  *forward.Forward

	mu    sync.Mutex
	state string
	over  bool
}

func (t *tunnel) set(state string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		t.state = state
	}
}

func (t *tunnel) is() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state
}

// address is where the tunnel listens.
func (t *tunnel) address() string { return t.listener.Addr().String() }

// forwardAll opens all ways, or none, and carries connections until it is
// asked to end or no session is left.
func forwardAll(ctx context.Context, s streams, c sessions, node string, ways []way, asJSON bool) int {
	b := newBoard(s, asJSON)
	tunnels, err := openTunnels(ctx, c, node, ways, b)
	if err != nil {
		s.failf("forward", "%v", err)
		return exitLost
	}
	// The sessions have their own context: they are to be ended, not left alone.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { leaveAll(ctx, tunnels, b) })()
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		b.show(run, tunnels)
	}()
	var wg sync.WaitGroup
	failed := make([]bool, len(tunnels))
	for i, t := range tunnels {
		wg.Go(func() { failed[i] = !t.run(run, ctx, b) })
	}
	wg.Wait()
	stop()
	<-shown
	for _, f := range failed {
		if f {
			return exitLost
		}
	}
	return exitOK
}

// run works a tunnel to its end; false says that it is not the one asked for.
func (t *tunnel) run(run, asked context.Context, b *board) bool {
	var session sync.WaitGroup
	session.Go(func() { _ = t.session.Run(run) })
	err := t.forward.Run(run)
	if err != nil { // the session goes on, of no use to anybody
		leaveAll(asked, []*tunnel{t}, b)
	}
	session.Wait()
	end := t.session.End()
	switch {
	case asked.Err() != nil:
		return t.ended(b, "", true)
	case err != nil:
		return t.ended(b, err.Error(), false)
	}
	return t.ended(b, orText(end.Text, "ended by the service"), false)
}

// ended says that t has ended; good: as it was asked to.
func (t *tunnel) ended(b *board, why string, good bool) bool {
	t.set("ended")
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	b.say(t, "ended", why)
	return good
}

func orText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// openTunnels listens first: a port that is taken is known before the service
// is asked for anything.
func openTunnels(ctx context.Context, c sessions, node string, ways []way, b *board) ([]*tunnel, error) {
	var all []*tunnel
	undo := func() {
		for _, t := range all {
			_ = t.listener.Close()
		}
	}
	for _, w := range ways {
		l, err := net.Listen(w.network, w.local)
		if err == nil && w.network == "unix" {
			err = os.Chmod(w.local, 0o600) // only its owner's, as the node is
		}
		if err != nil {
			undo()
			return nil, fmt.Errorf("listen for %s: %w", w.target(node), err)
		}
		all = append(all, &tunnel{way: w, node: node, listener: l, state: "connecting"})
	}
	var g errgroup.Group
	for _, t := range all {
		g.Go(func() (err error) {
			t.session, err = openSession(ctx, c, t.order(node, t.listener.Addr()), nil, func(e client.Event) { t.told(b, e) })
			return err
		})
	}
	if err := g.Wait(); err != nil {
		leaveAll(ctx, all, b)
		undo()
		return nil, err
	}
	for _, t := range all {
		t.forward = forward.New(forward.Options{Session: t.session.Session, Listener: quickio.Listener(t.listener), Clock: clock.Real{}, Notify: func(e forward.Event) { t.happened(b, e) }})
	}
	return all, nil
}

// leaveAll ends the sessions, also when ctx is over.
func leaveAll(ctx context.Context, all []*tunnel, b *board) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	var wg sync.WaitGroup
	for _, t := range all {
		if t.session.Session == nil {
			continue
		}
		wg.Go(func() {
			if err := t.session.Leave(ctx); err != nil && !errors.Is(err, client.ErrGone) {
				b.say(t, "left", fmt.Sprintf("session %s could not be terminated, it ends when it has been idle for long enough: %v", t.session.id, err))
			}
		})
	}
	wg.Wait()
}

// told hears of a tunnel's data channel.
func (t *tunnel) told(b *board, e client.Event) {
	was := t.is()
	switch {
	case e.Kind == client.Retrying && was != "reconnecting":
		t.set("reconnecting")
		b.say(t, "reconnecting", e.Err.Error())
	case e.Kind == client.Connected && was == "reconnecting":
		t.set("open")
		b.say(t, "connected again", "")
	}
}

// happened hears of a tunnel's connections.
func (t *tunnel) happened(b *board, e forward.Event) {
	switch e.Kind {
	case forward.Opened:
		t.set("open")
		b.say(t, "open", "")
	case forward.Refused:
		b.say(t, "refused", "the node could not connect to the destination")
	case forward.Full:
		b.say(t, "full", "a connection was reset: too many are open")
	case forward.Message:
		b.say(t, "message", e.Text)
	}
}
