package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode"

	"ssmagent/internal/client"
	"ssmagent/internal/wire/mgs"
	"ssmagent/platform/tty"
)

// sitting is a person, or a script, in front of a session.
type sitting struct {
	s       streams
	in, out *os.File // nil when they are no files
	session *client.Session
	leaving sync.Once

	connection connection

	mu    sync.Mutex
	raw   *tty.Raw // nil: the input is no terminal
	left  bool     // we ended the session
	code  int
	coded bool // the agent reported an exit code
}

func newSitting(s streams) *sitting {
	sh := &sitting{s: s}
	sh.in, _ = s.in.(*os.File)
	sh.out, _ = s.out.(*os.File)
	return sh
}

// sit works the session to its end and returns the exit code.
func (sh *sitting) sit(ctx context.Context, sess *client.Session, node, id string) int {
	sh.session = sess
	defer sh.restore()
	if tty.IsTerminal(sh.in) {
		raw, err := tty.MakeRaw(sh.in, sh.out)
		if err != nil {
			sh.s.failf("shell", "%v", err)
			sh.leave(ctx)
			return exitLost
		}
		sh.mu.Lock()
		sh.raw = raw
		sh.mu.Unlock()
		sh.say("session %s on %s; Enter ~? for help", id, node)
	}
	// The session has its own context: it is to be ended, not left alone.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { sh.guard(func() { sh.leave(ctx) }) })()
	sh.follow(run)
	var ran sync.WaitGroup
	ran.Go(func() { sh.guard(func() { _ = sess.Run(run) }) })
	go sh.guard(func() { sh.read(run) }) // nothing ends a read of the standard input
	err := sh.print(run)
	if err != nil {
		sh.leave(ctx)
	}
	stop()
	ran.Wait()
	sh.restore()
	return sh.report(id, err)
}

// guard runs f; a panic in it restores the terminal first.
func (sh *sitting) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			sh.restore()
			panic(p)
		}
	}()
	f()
}

// restore gives the terminal back as it was.
func (sh *sitting) restore() {
	sh.mu.Lock()
	raw := sh.raw
	sh.mu.Unlock()
	if raw == nil {
		return
	}
	if err := raw.Restore(); err != nil {
		fmt.Fprintf(sh.s.err, "\r\nshell: %v\r\n", err)
	}
}

// say writes a line of ours.
func (sh *sitting) say(format string, args ...any) {
	start, end := "", "\n"
	sh.mu.Lock()
	raw := sh.raw
	sh.mu.Unlock()
	if raw != nil {
		start, end = "\r\n", "\r\n"
	}
	fmt.Fprintf(sh.s.err, "%s[%s]%s", start, visible(fmt.Sprintf(format, args...)), end)
}

// visible takes out what a terminal would obey.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// follow sends the size of the terminal, now and after each change.
func (sh *sitting) follow(ctx context.Context) {
	send := func() {
		if cols, rows, ok := tty.Size(sh.out, sh.in); ok {
			sh.session.Resize(cols, rows)
		}
	}
	send()
	changed := tty.Resized(ctx, sh.out)
	send() // what changed in between
	go sh.guard(func() {
		for {
			select {
			case <-changed:
				send()
			case <-ctx.Done():
				return
			}
		}
	})
}

// told hears of the connection.
func (sh *sitting) told(e client.Event) {
	switch lost, back := sh.connection.hear(e); {
	case lost:
		sh.say("the connection is lost, reconnecting: %v; Enter ~. leaves", e.Err)
	case back:
		sh.say("connected again")
	}
}

// leave ends the session, also when ctx is over. A signal, the end of the
// terminal and a write that fails may all ask for it, together even: who comes
// later waits for the first, and nothing is tried twice.
func (sh *sitting) leave(ctx context.Context) {
	sh.leaving.Do(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
		defer cancel()
		sh.mu.Lock()
		sh.left = true
		sh.mu.Unlock()
		if err := sh.session.Leave(ctx); err != nil {
			sh.say("the session could not be terminated, it ends when it has been idle for long enough: %v", err)
		}
	})
}

// read takes what is typed until the input ends or the session does. The end
// of a pipe ends the input only, as with ssh; that of a terminal everything.
func (sh *sitting) read(ctx context.Context) {
	sh.mu.Lock()
	raw := sh.raw
	sh.mu.Unlock()
	if raw != nil {
		sh.keys(ctx, raw)
		return
	}
	feed(ctx, sh.session, sh.s.in)
}

func (sh *sitting) keys(ctx context.Context, raw io.Reader) {
	buf := make([]byte, 32<<10)
	var send []byte
	esc, queue := newEscapes(), newTyped(sh.session, sh.guard)
	for {
		n, err := raw.Read(buf)
		for b := buf[:n]; len(b) > 0; {
			var used int
			var action escapeAction
			send, used, action = esc.feed(send[:0], b)
			b = b[used:]
			if queue.put(ctx, send) != nil {
				return
			}
			switch action {
			case escapeNone:
			case escapeHelpWanted:
				fmt.Fprint(sh.s.err, escapeHelp)
			case escapeLeave:
				sh.leave(ctx)
				return
			}
		}
		if err != nil { // the terminal is gone
			sh.leave(ctx)
			return
		}
	}
}

// print shows what comes until the session ends. The error is the output's.
func (sh *sitting) print(ctx context.Context) error {
	for {
		m, err := sh.session.Next(ctx)
		if err != nil {
			return nil // the end
		}
		switch m.Type {
		case mgs.PayloadOutput:
			_, err = sh.s.out.Write(m.Payload)
		case mgs.PayloadStdErr:
			_, err = sh.s.err.Write(m.Payload)
		case mgs.PayloadExitCode:
			if code, perr := mgs.ParseExitCode(m.Payload); perr == nil {
				sh.code, sh.coded = code, true
			}
		case mgs.PayloadHandshakeComplete:
			sh.say("%s", strings.TrimSpace(string(m.Payload)))
		}
		if err != nil {
			return fmt.Errorf("write the output: %w", err)
		}
	}
}

// report says how the session ended, and returns the exit code.
func (sh *sitting) report(id string, outErr error) int {
	sh.mu.Lock()
	person, left := sh.raw != nil, sh.left
	sh.raw = nil // lines end plainly from now on
	sh.mu.Unlock()
	end := sh.session.End()
	switch {
	case outErr != nil:
		if !errors.Is(outErr, os.ErrClosed) {
			sh.s.failf("shell", "%v", outErr)
		}
		return exitLost
	case end.Reason == client.Failed, end.Reason == client.TimedOut:
		sh.s.failf("shell", "session %s: %s", id, visible(end.Text))
		return exitLost
	case end.Reason == client.Closed && end.Text != "":
		sh.s.failf("shell", "session %s: %s", id, visible(end.Text))
	case person:
		sh.say("session %s has ended", id)
	}
	switch {
	case sh.coded && sh.code >= 0 && sh.code <= 255:
		return sh.code
	case sh.coded, left, end.Text != "":
		return exitLost // ended by a signal, by us, or for a reason
	}
	return exitOK
}
