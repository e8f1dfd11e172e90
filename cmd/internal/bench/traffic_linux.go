package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/creack/pty"
)

// sitting is an open shell and whoever sits at it.
type sitting interface {
	send(ctx context.Context, text string) error
	until(ctx context.Context, text string) error
}

// cat has the shell repeat every key, after its terminal has.
func cat(ctx context.Context, s sitting) error {
	if err := s.send(ctx, "stty -icanon -isig; cat\n"); err != nil {
		return err
	}
	return s.until(ctx, "cat\r") // the stock client's terminal adds another
}

// keys types single keys at cat and returns how long each took to come back,
// in order of size. The pause is between two keys.
func keys(ctx context.Context, s sitting, n int, pause time.Duration) ([]float64, error) {
	warm := n / 10
	var took []float64
	for i := range n + warm {
		key := string(rune('a' + i%26))
		t := time.Now()
		if err := s.send(ctx, key); err != nil {
			return nil, err
		}
		if err := s.until(ctx, key); err != nil {
			return nil, err
		}
		if i >= warm {
			took = append(took, millis(time.Since(t)))
		}
		if err := s.until(ctx, key); err != nil { // cat's own copy
			return nil, err
		}
		if pause > 0 {
			<-time.After(pause)
		}
	}
	slices.Sort(took)
	return took, nil
}

// echo measures single keys that come back.
func (b *bench) echo(ctx context.Context) error {
	s, err := b.open(ctx)
	if err != nil {
		return err
	}
	if err := cat(ctx, s); err != nil {
		return err
	}
	before := b.switches()
	const n = 2000
	took, err := keys(ctx, s, n, 0)
	if err != nil {
		return err
	}
	b.table.most("echo p50, our client", "ms", took[len(took)/2], 0.35, 0.35)
	b.table.most("echo p99, our client", "ms", took[len(took)*99/100], 0.75, 0.75)
	b.table.most("context switches a key, of relay, session worker and terminal", "", (b.switches()-before)/(n+n/10), 12, 0)
	return s.Leave(ctx)
}

// switches is how often the threads of the relay and of all sessions gave up
// their processor so far: what a key costs on a machine of any speed.
func (b *bench) switches() (sum float64) {
	for _, pid := range append(sessionProcesses(b.root), b.plane.cmd.Process.Pid) {
		u, err := read(pid)
		if err == nil {
			sum += u.switches
		}
	}
	return sum
}

// pluginPause is more than the stock client's own after every key, a
// millisecond, for which the next key would wait.
const pluginPause = 3 * time.Millisecond

// echoPlugin measures the same through the stock client.
func (b *bench) echoPlugin(ctx context.Context) error {
	s, err := b.openPlugin(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if err := cat(ctx, s); err != nil {
		return err
	}
	took, err := keys(ctx, s, 1000, pluginPause)
	if err != nil {
		return err
	}
	b.table.most("echo p50, stock plugin", "ms", took[len(took)/2], 0.75, 0.75)
	b.table.most("echo p99, stock plugin", "ms", took[len(took)*99/100], 1.3, 1.3)
	return nil
}

// echoBeside measures keys while another shell prints as fast as it can.
func (b *bench) echoBeside(ctx context.Context) error {
	loud, err := b.open(ctx)
	if err != nil {
		return err
	}
	if err := loud.send(ctx, "yes\n"); err != nil {
		return err
	}
	heard := make(chan error, 1)
	go func() {
		for {
			if _, err := loud.Next(ctx); err != nil {
				heard <- err
				return
			}
		}
	}()
	if err := b.beside(ctx, "a shell that prints flat out", 3); err != nil {
		return err
	}
	err = loud.Leave(ctx)
	if e := <-heard; !errors.Is(e, io.EOF) {
		err = errors.Join(err, e)
	}
	return err
}

// echoBesideForward measures keys while a forward of another session carries as
// much as it can.
func (b *bench) echoBesideForward(ctx context.Context) error {
	e, err := newEnds(1 << 40)
	if err != nil {
		return err
	}
	defer e.close()
	p, at, err := b.tunnels(e)
	if err != nil {
		return err
	}
	defer p.stop()
	c, err := net.Dial("tcp", at[e.talk])
	if err != nil {
		return err
	}
	carried := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, c) // until it is closed
		carried <- n
	}()
	err = b.beside(ctx, "a forward that runs flat out", 5)
	_ = c.Close()
	if n := <-carried; err == nil && n < 1<<20 {
		err = fmt.Errorf("the forward carried %d bytes only", n)
	}
	return err
}

// beside measures keys while something else keeps relay and node busy.
func (b *bench) beside(ctx context.Context, what string, target float64) error {
	s, err := b.open(ctx)
	if err != nil {
		return err
	}
	if err := cat(ctx, s); err != nil {
		return err
	}
	took, err := keys(ctx, s, 1000, 0)
	if err != nil {
		return err
	}
	b.table.most("echo p50 beside "+what, "ms", took[len(took)/2], target, 0)
	b.table.most("echo p99 beside "+what, "ms", took[len(took)*99/100], target, 0)
	return s.Leave(ctx)
}

// flood measures output without end.
func (b *bench) flood(ctx context.Context) error {
	const last = 5000000
	size := 0.0
	for n, digits := 1, 1; n <= last; n, digits = n*10, digits+1 {
		size += float64((min(n*10-1, last) - n + 1) * (digits + 2)) // with CR LF
	}
	pour := func(s sitting) (float64, error) {
		if err := s.send(ctx, "seq 1 "+strconv.Itoa(last)+"; echo do''ne\n"); err != nil {
			return 0, err
		}
		t := time.Now()
		if err := s.until(ctx, "done\r"); err != nil {
			return 0, err
		}
		return size / 1e6 / time.Since(t).Seconds(), nil
	}
	var ours, stock, bare []float64
	for range 3 { // in turns: the machine has better and worse times
		s, err := b.open(ctx)
		if err != nil {
			return err
		}
		if ours, err = gather(ours, func() (float64, error) { return pour(s) }); err != nil {
			return err
		}
		if err := s.finish(ctx); err != nil {
			return err
		}
		p, err := b.openPlugin(ctx)
		if err != nil {
			return err
		}
		stock, err = gather(stock, func() (float64, error) { return pour(p) })
		p.close()
		if err != nil {
			return err
		}
		if bare, err = gather(bare, func() (float64, error) { return bareTerminal(ctx, last) }); err != nil {
			return err
		}
	}
	b.table.least("seq 1 5000000 through the terminal, our client", "MB/s", median(ours), 40, 0)
	b.table.least("seq 1 5000000 through the terminal, stock plugin", "MB/s", median(stock), 15, 0)
	b.table.least("the same through a bare terminal of this machine, no session", "MB/s", median(bare), 0, 0)
	return nil
}

func gather(all []float64, measure func() (float64, error)) ([]float64, error) {
	v, err := measure()
	return append(all, v), err
}

// bareTerminal is the rate at which this machine's kernel passes seq through a
// terminal to a program that only reads: the most that any session can give.
func bareTerminal(ctx context.Context, last int) (float64, error) {
	t := time.Now()
	f, err := pty.Start(exec.CommandContext(ctx, "seq", "1", strconv.Itoa(last)))
	if err != nil {
		return 0, err
	}
	n, _ := io.Copy(io.Discard, f) // ends with EIO
	return float64(n) / 1e6 / time.Since(t).Seconds(), f.Close()
}

// paste measures a megabyte typed at once.
func (b *bench) paste(ctx context.Context) error {
	const size = 1 << 20
	var took []float64
	line := strings.Repeat("x", 63) + "\n"
	for i := range 5 {
		s, err := b.open(ctx)
		if err != nil {
			return err
		}
		file := filepath.Join(b.root, "pasted"+strconv.Itoa(i))
		if err := s.send(ctx, "stty -echo; cat >"+file+"; echo do''ne\n"); err != nil {
			return err
		}
		t := time.Now()
		if err := s.send(ctx, strings.Repeat(line, size/len(line))+"\x04"); err != nil {
			return err
		}
		if err := s.until(ctx, "done"); err != nil {
			return err
		}
		took = append(took, time.Since(t).Seconds())
		if fi, err := os.Stat(file); err != nil || fi.Size() != size {
			return fmt.Errorf("pasted %d bytes: %v, %w", size, fi, err)
		}
		if err := s.finish(ctx); err != nil {
			return err
		}
	}
	b.table.most("paste of 1 MiB into cat, our client", "s", median(took), 2, 0)
	return nil
}
