package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ssmagent/internal/wire/ssm"
)

const (
	carried     = 256 << 20 // bytes, each way
	carriedSlow = 64 << 20  // through the stock client
	carriedUp   = 4 << 20   // to which it pauses after every KiB
	dials       = 300
	forwardRuns = 3
)

// ends are destinations on the node: one that talks, one that listens and then
// says so, one that says a byte.
type ends struct {
	all               []net.Listener
	talk, listen, say string // ports
}

func newEnds(bytes int64) (*ends, error) {
	e := &ends{}
	serve := func(handle func(net.Conn)) (string, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		e.all = append(e.all, l)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { defer c.Close(); handle(c) }()
			}
		}()
		_, port, err := net.SplitHostPort(l.Addr().String())
		return port, err
	}
	var err error
	text := make([]byte, 1<<20)
	if e.talk, err = serve(func(c net.Conn) {
		for n := int64(0); n < bytes; n += int64(len(text)) {
			if _, err := c.Write(text); err != nil {
				return
			}
		}
	}); err == nil {
		e.listen, err = serve(func(c net.Conn) { _, _ = io.CopyN(io.Discard, c, bytes); _, _ = c.Write([]byte("x")) })
	}
	if err == nil {
		e.say, err = serve(func(c net.Conn) { _, _ = c.Write([]byte("x")); _, _ = c.Read(make([]byte, 1)) })
	}
	return e, err
}

func (e *ends) close() {
	for _, l := range e.all {
		_ = l.Close()
	}
}

// pull takes n bytes from addr and says how many MiB came in a second.
func pull(addr string, n int) (float64, error) {
	t := time.Now()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
		return 0, fmt.Errorf("read %d bytes from %s: %w", n, addr, err)
	}
	return float64(n>>20) / time.Since(t).Seconds(), nil
}

// pushTo says n bytes to addr.
func pushTo(addr string, n int) (float64, error) {
	t := time.Now()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	text := make([]byte, 1<<20)
	for i := 0; i < n; i += len(text) {
		if _, err := c.Write(text); err != nil {
			return 0, err
		}
	}
	if _, err := io.ReadFull(c, text[:1]); err != nil {
		return 0, fmt.Errorf("write %d bytes to %s: %w", n, addr, err)
	}
	return float64(n>>20) / time.Since(t).Seconds(), nil
}

// repeat gives the median of what f measures.
func repeat(n int, f func() (float64, error)) (float64, error) {
	var all []float64
	for range n {
		v, err := f()
		if err != nil {
			return 0, err
		}
		all = append(all, v)
	}
	return median(all), nil
}

// tunnels starts our client for the ends, and returns where they are reached.
func (b *bench) tunnels(e *ends) (*running, map[string]string, error) {
	p, err := launch(b.bin, "ssm-local", "forward", "-root", b.root, "-output", "json", b.node, "0:"+e.talk, "0:"+e.listen, "0:"+e.say)
	if err != nil {
		return nil, nil, err
	}
	at := map[string]string{}
	for len(at) < 3 {
		text, _, err := p.line(`"event":"open"`)
		if err != nil {
			p.stop()
			return nil, nil, err
		}
		var open struct{ Local, Target string }
		if err := json.Unmarshal([]byte(text), &open); err != nil {
			p.stop()
			return nil, nil, err
		}
		at[open.Target[strings.LastIndexByte(open.Target, ' ')+1:]] = open.Local
	}
	return p, at, nil
}

// cpu is what the processes have used, in seconds.
func cpu(pids []int) (sum float64) {
	for _, pid := range pids {
		if u, err := read(pid); err == nil {
			sum += u.cpuMillis / 1000
		}
	}
	return sum
}

// ports measures what our client carries.
func (b *bench) ports(context.Context) error {
	e, err := newEnds(carried)
	if err != nil {
		return err
	}
	defer e.close()
	p, at, err := b.tunnels(e)
	if err != nil {
		return err
	}
	defer p.stop()
	workers := sessionProcesses(b.root)
	both := append([]int{p.cmd.Process.Pid}, workers...)
	used := cpu(both)
	down, err := repeat(forwardRuns, func() (float64, error) { return pull(at[e.talk], carried) })
	if err != nil {
		return err
	}
	perMiB := (cpu(both) - used) / (forwardRuns * carried >> 20)
	up, err := repeat(forwardRuns, func() (float64, error) { return pushTo(at[e.listen], carried) })
	if err != nil {
		return err
	}
	first, err := repeat(dials, func() (float64, error) {
		t := time.Now()
		_, err := pull(at[e.say], 1)
		return millis(time.Since(t)), err
	})
	if err != nil {
		return err
	}
	memory := 0.0
	for _, pid := range workers {
		if m, err := peak(pid); err == nil {
			memory = max(memory, m)
		}
	}
	b.table.least("forward down, our client", "MiB/s", down, 200, 0.72)
	b.table.least("forward up, our client", "MiB/s", up, 150, 0.73)
	b.table.most("forward down, CPU of agent and client", "s/MiB", perMiB, 0.008, 0.32)
	b.table.most("forward, connection to first byte p50", "ms", first, 0.8, 1.28)
	b.table.most("memory of a port worker at full load", "MB", memory, 24, 0)
	return b.portsSSH(e, down)
}

// portsSSH measures ssh -L in the same run, where there is an sshd.
func (b *bench) portsSSH(e *ends, ours float64) error {
	server, err := newSSHServer(b.root)
	if errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(os.Stderr, "  no sshd here: forward is not compared with ssh -L")
		return nil
	}
	if err != nil {
		return err
	}
	defer server.close()
	at, stop, err := server.forward(e.talk)
	if err != nil {
		return err
	}
	defer stop()
	theirs, err := repeat(forwardRuns, func() (float64, error) { return pull(at, carried) })
	if err != nil {
		return err
	}
	b.table.least("forward down as a share of ssh -L", "", ours/theirs, 0.5, 0)
	return nil
}

// portsPlugin measures what the stock client carries.
func (b *bench) portsPlugin(ctx context.Context) error {
	e, err := newEnds(carriedSlow)
	if err != nil {
		return err
	}
	defer e.close()
	down := 0.0
	err = b.throughPlugin(ctx, e.talk, func(addr string) (err error) {
		down, err = pull(addr, carriedSlow)
		return err
	})
	if err != nil {
		return err
	}
	b.table.least("forward down, stock client", "MiB/s", down, 60, 0.72)
	slow, err := newEnds(carriedUp)
	if err != nil {
		return err
	}
	defer slow.close()
	up := 0.0
	err = b.throughPlugin(ctx, slow.listen, func(addr string) (err error) {
		up, err = pushTo(addr, carriedUp)
		return err
	})
	if err != nil {
		return err
	}
	b.table.least("forward up, stock client, which pauses after every KiB", "MiB/s", up, 0, 0.73)
	return nil
}

// throughPlugin gives use the address at which the stock client reaches a port.
func (b *bench) throughPlugin(ctx context.Context, to string, use func(addr string) error) error {
	path, err := filepath.Abs(b.plugin)
	if err != nil {
		return err
	}
	in := ssm.StartSessionInput{Target: b.node, DocumentName: "AWS-StartPortForwardingSession", Parameters: map[string][]string{"portNumber": {to}, "localPortNumber": {"0"}}}
	out, err := b.client.StartSession(ctx, in)
	if err != nil {
		return err
	}
	defer func() { _ = b.client.TerminateSession(context.WithoutCancel(ctx), out.SessionId) }()
	answer, err := json.Marshal(out)
	if err != nil {
		return err
	}
	request, err := json.Marshal(in)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, string(answer), b.client.Region(), "StartSession", "", string(request), b.url)
	cmd.Stderr = os.Stderr
	lines, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	port := 0
	for s := bufio.NewScanner(lines); port == 0 && s.Scan(); {
		if _, err := fmt.Sscanf(s.Text(), "Port %d opened", &port); err != nil {
			port = 0
		}
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	return use("127.0.0.1:" + strconv.Itoa(port))
}

// programs measures our client's exec from start to end.
func (b *bench) programs(ctx context.Context) error {
	took, err := repeat(runs, func() (float64, error) {
		t := time.Now()
		out, err := exec.CommandContext(ctx, filepath.Join(b.bin, "ssm-local"), "exec", "-root", b.root, b.node, "--", "echo", "x").CombinedOutput()
		if err == nil && string(out) != "x\n" {
			err = fmt.Errorf("exec said %q", out)
		}
		return millis(time.Since(t)), err
	})
	if err != nil {
		return err
	}
	b.table.most("exec of a program, our client from start to end", "ms", took, 100, 0)
	return nil
}

// copies measures our client's cp.
func (b *bench) copies(ctx context.Context) error {
	dir := filepath.Join(b.root, "copies")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, make([]byte, carried), 0o600); err != nil {
		return err
	}
	for name, c := range map[string][2]string{
		"cp up":   {source, b.node + ":" + filepath.Join(dir, "up")},
		"cp down": {b.node + ":" + source, filepath.Join(dir, "down")},
	} {
		rate, err := repeat(forwardRuns, func() (float64, error) {
			t := time.Now()
			out, err := exec.CommandContext(ctx, filepath.Join(b.bin, "ssm-local"), "cp", "-root", b.root, c[0], c[1]).CombinedOutput()
			if err != nil {
				err = fmt.Errorf("cp: %w: %s", err, out)
			}
			return (carried >> 20) / time.Since(t).Seconds(), err
		})
		if err != nil {
			return err
		}
		b.table.least(name+", our client", "MiB/s", rate, 150, 0)
	}
	return nil
}
