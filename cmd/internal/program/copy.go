package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"ssmagent/internal/client"
	"ssmagent/internal/session"
	"ssmagent/internal/transfer"
	"ssmagent/internal/wire/mgs"
)

// copyProgram is the node's end of a copy: this program again, found by this
// name as the command of a session, and run as the session's user.
const copyProgram = session.CopyName

// copyMain is `ssm-local cp`.
func copyMain(ctx context.Context, s streams, args []string) int {
	f := newClientFlags(s, "ssm-local cp", "ssm-local cp [flags] SOURCE DESTINATION\n"+
		"One of both is NODE:PATH. Folders are copied whole; into a folder that exists, else as the destination.")
	if code, ok := parse(f.FlagSet, args, 2); !ok {
		return code
	}
	job, err := newCopy(f.Arg(0), f.Arg(1))
	if err != nil {
		s.failf("cp", "%v", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	c, err := f.open()
	if err != nil {
		s.failf("cp", "%v", err)
		return exitLost
	}
	return job.run(ctx, s, c, f.output == "json")
}

// copying is a copy between here and a node.
type copying struct {
	node, local, remote string
	base                string // the name of what is copied; empty: what it holds
	up                  bool
}

// newCopy reads the command line.
func newCopy(source, destination string) (copying, error) {
	from, fromPath, fromNode := nodePath(source)
	to, toPath, toNode := nodePath(destination)
	switch {
	case source == "" || destination == "" || fromNode == toNode:
		return copying{}, errors.New("one of source and destination must be NODE:PATH, the other a path here (one with a colon begins with ./)")
	case fromNode:
		return copying{node: from, local: destination, remote: fromPath, base: lastName(fromPath)}, nil
	}
	return copying{node: to, local: source, remote: toPath, base: lastName(filepath.ToSlash(source)), up: true}, nil
}

// nodePath cuts NODE:PATH. A single letter in front is a drive of Windows.
func nodePath(s string) (node, p string, ok bool) {
	node, p, ok = strings.Cut(s, ":")
	if !ok || len(node) < 2 || strings.ContainsAny(node, `/\`) || strings.HasPrefix(node, ".") {
		return "", s, false
	}
	return node, p, true
}

// lastName is the name at the end of a path, of whichever system; empty when
// there is none.
func lastName(p string) string {
	p = strings.TrimRight(p, `/\`)
	p = p[strings.LastIndexAny(p, `/\`)+1:]
	if p == "." || p == ".." || p == "~" || strings.HasSuffix(p, ":") {
		return ""
	}
	return p
}

// command is what the node's end is called with.
func (c copying) command() []string {
	if c.up {
		return []string{copyProgram, "receive", c.remote, c.base}
	}
	return []string{copyProgram, "send", c.remote}
}

// run copies and returns the exit code.
func (c copying) run(ctx context.Context, s streams, calls sessions, asJSON bool) int {
	p := &piped{s: s, verb: "cp"}
	var err error
	if p.session, err = openSession(ctx, calls, commandOrder(c.node, c.command()), commandOnly, p.told, withStreams); err != nil {
		s.failf("cp", "%v", err)
		return exitLost
	}
	// The session has its own context: it is to be ended, not left alone.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { _ = p.session.Run(run) })
	wg.Go(func() { p.await(ctx, run) })
	began := time.Now()
	report, err := c.copy(run, p)
	if err != nil {
		p.leave(ctx)
	}
	for _, text := range report.Problems {
		s.failf("cp", "%s", visible(text))
	}
	if more := report.Failed + report.Skipped - int64(len(report.Problems)); more > 0 {
		s.failf("cp", "and %d more", more)
	}
	switch {
	case ctx.Err() != nil:
		s.failf("cp", "interrupted; the same command again goes on where this one was")
		return exitLost
	case err != nil:
		s.failf("cp", "%s", visible(err.Error()))
		return exitLost
	case asJSON:
		err = printJSON(s.out, report)
	case isTerminal(s.err):
		took := time.Since(began)
		s.failf("cp", "%d files, %s in %v, %s/s, SHA-256 checked", report.Files, amount(report.Bytes), took.Round(10*time.Millisecond), amount(rate(report.Bytes-report.Resumed, took)))
	}
	if err != nil || report.Failed > 0 {
		return exitFailed
	}
	return exitOK
}

// copy copies through the session, to its end when all went well.
func (c copying) copy(ctx context.Context, p *piped) (transfer.Report, error) {
	select {
	case <-p.session.Ready():
	case <-p.session.Done():
		return transfer.Report{}, p.lost()
	}
	if peer := p.session.Peer(); !peer.Streams {
		return transfer.Report{}, fmt.Errorf("the node's agent (%s) is not ssmagent, or an older one: cp needs ssmagent on the node; without it use scp with `ssm-local ssh-proxy`", peer.AgentVersion)
	}
	ends := &farEnd{ctx: ctx, p: p}
	bar := newBar(p.s)
	var report transfer.Report
	var err error
	bar.during(func() {
		if c.up {
			report, err = transfer.Send(ends, ends, c.local, bar.watch)
		} else {
			report, err = transfer.Receive(ends, ends, c.local, c.base, bar.watch)
		}
	})
	if err != nil {
		// A session that ends because of what failed here is not the cause.
		if p.session.End().Reason != client.Running && !errors.Is(err, transfer.ErrPeer) && !ofFiles(err) {
			return report, p.lost()
		}
		return report, errors.Join(err, ends.complaint())
	}
	p.flag(ctx, mgs.FlagInputEnd)
	_, _ = io.Copy(io.Discard, ends) // until the session ends
	if p.ended(nil) {
		return report, errors.New("the copy is complete, but its session did not end well")
	}
	return report, nil
}

// ofFiles says whether a file or folder of this machine is what failed.
func ofFiles(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	return errors.As(err, &path) || errors.As(err, &link)
}

// lost is why a session that ended is of no use.
func (p *piped) lost() error {
	return fmt.Errorf("session %s: %s", p.session.id, orText(p.session.End().Text, "it ended in mid-copy; the same command again goes on where this one was"))
}

// farEnd is the node's end of a copy: its standard input and output.
type farEnd struct {
	ctx  context.Context
	p    *piped
	rest []byte
	said []byte // on standard error
}

// Read implements io.Reader.
func (e *farEnd) Read(b []byte) (int, error) {
	for len(e.rest) == 0 {
		m, err := e.p.session.Next(e.ctx)
		if err != nil {
			return 0, err
		}
		switch m.Type {
		case mgs.PayloadOutput:
			e.rest = m.Payload
		case mgs.PayloadStdErr:
			if len(e.said) < 2000 {
				e.said = append(e.said, m.Payload...)
			}
		}
	}
	n := copy(b, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// Write implements io.Writer.
func (e *farEnd) Write(b []byte) (int, error) {
	if err := e.p.session.Write(e.ctx, mgs.PayloadOutput, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// complaint is what the node's end said on standard error.
func (e *farEnd) complaint() error {
	if text := strings.TrimSpace(string(e.said)); text != "" {
		return errors.New(text)
	}
	return nil
}

// sessionCopy is the hidden program at the node's end of a copy.
func sessionCopy(_ context.Context, s streams, args []string) int {
	signal.Ignore(syscall.SIGPIPE)
	var err error
	switch {
	case len(args) == 2 && args[0] == "send":
		_, err = transfer.Send(s.in, s.out, atHome(args[1]), nil)
	case len(args) == 3 && args[0] == "receive":
		_, err = transfer.Receive(s.in, s.out, atHome(args[1]), args[2], nil)
	default:
		s.failf(copyProgram, "this is the node's end of `ssm-local cp`")
		return exitUsage
	}
	if err != nil { // which the other end has been told
		return exitFailed
	}
	return exitOK
}

// atHome makes of a path what a shell would: ~ is the home, and so is nothing.
func atHome(p string) string {
	if p == "" {
		return "."
	}
	if rest, ok := strings.CutPrefix(p, "~"); ok && (rest == "" || rest[0] == '/') {
		if home, err := os.UserHomeDir(); err == nil {
			return home + rest
		}
	}
	return p
}
