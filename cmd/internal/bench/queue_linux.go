package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// thousand measures a thousand commands at once: each adds its number to a
// file, so that one that is lost or run twice is seen.
func (b *bench) thousand(ctx context.Context) error {
	const n = 1000
	file := filepath.Join(b.root, "thousand")
	b.plane.drain()
	ended := make(chan error, 1)
	var last time.Time
	go func() {
		for range n {
			_, at, err := b.plane.line("since_delivery=")
			if err != nil {
				ended <- err
				return
			}
			last = at
		}
		ended <- nil
	}()
	begin := time.Now()
	ids := make([]string, n)
	for i := range ids {
		var err error
		if ids[i], err = b.client.SendShell(ctx, b.node, []string{fmt.Sprintf("echo %d >>%s", i, file)}); err != nil {
			return err
		}
	}
	if err := <-ended; err != nil {
		return err
	}
	b.table.least("1,000 queued commands", "1/s", n/last.Sub(begin).Seconds(), 120, 66)
	lost := 0
	for _, id := range ids {
		inv, err := b.client.Wait(ctx, id, b.node, func(string) {})
		if err != nil {
			return err
		}
		if inv.Status != "Success" {
			lost++
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	ran := strings.Fields(string(text))
	slices.Sort(ran)
	lost += n - len(slices.Compact(slices.Clone(ran)))
	b.table.most("of 1,000 queued commands lost", "", float64(lost), 0, 0)
	b.table.most("of 1,000 queued commands run twice", "", float64(len(ran)-len(slices.Compact(ran))), 0, 0)
	return b.after(ctx)
}

// after measures what a queue costs that has been emptied.
func (b *bench) after(ctx context.Context) error {
	<-time.After(5 * time.Second) // last acknowledgements
	from, err := read(b.agent.cmd.Process.Pid)
	if err != nil {
		return err
	}
	select {
	case <-time.After(b.idle):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	to, err := read(b.agent.cmd.Process.Pid)
	if err != nil {
		return err
	}
	b.table.most("context switches once the queue is empty", "1/s", (to.switches-from.switches)/b.idle.Seconds(), 0.5, 8.2)
	return nil
}

// drain forgets the lines that have come.
func (p *running) drain() {
	for {
		select {
		case <-p.lines:
		default:
			return
		}
	}
}

// syncs counts what agent and worker make durable for a command, by strace.
func (b *bench) syncs(ctx context.Context) error {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return errors.New("fsyncs are counted with strace, which is not installed")
	}
	const n = 20
	file := filepath.Join(b.root, "strace")
	trace := exec.Command(strace, "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", file, "-p", strconv.Itoa(b.agent.cmd.Process.Pid))
	if err := trace.Start(); err != nil {
		return err
	}
	defer func() { _ = trace.Process.Kill(); _ = trace.Wait() }()
	if err := b.traced(ctx); err != nil {
		return err
	}
	for range n + 1 { // the first one shows that strace is there
		if _, err := b.client.RunShell(ctx, b.node, []string{"true"}, func(string) {}); err != nil {
			return err
		}
	}
	<-time.After(time.Second) // the last acknowledgement
	if err := trace.Process.Signal(syscall.SIGINT); err != nil {
		return err
	}
	_ = trace.Wait()
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	b.table.most("fsyncs of the node per command", "", float64(strings.Count(string(text), "sync("))/(n+1), 10, 0)
	return nil
}

// traced waits until a thread of the agent is traced.
func (b *bench) traced(ctx context.Context) error {
	for range time.Tick(10 * time.Millisecond) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.agent.cmd.Process.Pid))
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if field(status, "TracerPid") != 0 {
			return nil
		}
	}
	return nil
}

// polled measures how soon a command is seen by a node that has only
// ec2messages: the one after another, which is where a pause would show.
func (b *bench) polled(ctx context.Context) error {
	if err := b.restart("ws://127.0.0.1:9/", "polling for commands"); err != nil { // the port of discarding
		return err
	}
	var seen []float64
	for range 2 * runs {
		b.agent.drain()
		id, err := b.client.SendShell(ctx, b.node, []string{"true"})
		if err != nil {
			return err
		}
		queued := time.Now()
		_, at, err := b.agent.line("command accepted")
		if err != nil {
			return err
		}
		seen = append(seen, millis(at.Sub(queued)))
		if _, err := b.client.Wait(ctx, id, b.node, func(string) {}); err != nil {
			return err
		}
	}
	b.table.most("by polling: next command seen after it is queued", "ms", median(seen), 50, 1476)
	return b.restart("ws"+strings.TrimPrefix(b.url, "http"), onlineLine)
}
