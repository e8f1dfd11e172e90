package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"ssmagent/cmd/internal/connect"
	"ssmagent/internal/operator"
	"ssmagent/internal/wire/ssm"
	"ssmagent/platform"
)

const (
	idleTime = 60 * time.Second
	runs     = 11
)

// bench is a control plane, an agent, and what is measured of them.
type bench struct {
	bin      string
	idle     time.Duration
	soakRuns int
	only     string
	plugin   string // the stock client's program
	root     string
	url      string
	plane    *running
	agent    *running
	client   *operator.Client
	node     string
	table    table
}

// running is a started program whose lines are read.
type running struct {
	cmd     *exec.Cmd
	started time.Time
	lines   chan logLine
	done    chan struct{}
}

// logLine is a line and when it came.
type logLine struct {
	text string
	at   time.Time
}

func launch(bin, name string, args ...string) (*running, error) {
	r, w := io.Pipe()
	p := &running{cmd: exec.Command(filepath.Join(bin, name), args...), lines: make(chan logLine, 1024), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	p.cmd.Env = append(os.Environ(), "AWS_EC2_METADATA_DISABLED=true")
	p.cmd.WaitDelay = time.Second // sessions that outlive an agent have its standard error
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = p.cmd.Wait(); w.Close(); close(p.done) }()
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case p.lines <- logLine{s.Text(), time.Now()}:
			default:
			}
		}
	}()
	return p, nil
}

// line waits for a line with text and says when it came.
func (p *running) line(text string) (string, time.Time, error) {
	limit := time.After(30 * time.Second)
	for {
		select {
		case l, ok := <-p.lines:
			if !ok {
				return "", time.Time{}, fmt.Errorf("%s ended before it said %q", p.cmd.Path, text)
			}
			if strings.Contains(l.text, text) {
				return l.text, l.at, nil
			}
		case <-limit:
			return "", time.Time{}, fmt.Errorf("%s never said %q", p.cmd.Path, text)
		}
	}
}

// stop asks it to end and returns how long that took, in milliseconds.
func (p *running) stop() float64 {
	t := time.Now()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.done
	return millis(time.Since(t))
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// close ends what runs. Sessions outlive an agent on purpose, so those that a
// failure left open are ended one by one.
func (b *bench) close() {
	for _, p := range []*running{b.agent, b.plane} {
		if p != nil {
			p.stop()
		}
	}
	if b.root != "" {
		for _, pid := range processesOf(b.root, "ssm-session") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = os.RemoveAll(b.root)
	}
}

func (b *bench) run() error {
	if b.bin == "" {
		return errors.New("SSMAGENT_BIN names no folder of built programs: run `make bench`")
	}
	ctx := context.Background()
	parts := []struct {
		name  string
		steps []func(context.Context) error
	}{
		{"", []func(context.Context) error{b.setUp, b.startStop, b.size}},
		{"commands", []func(context.Context) error{b.single, b.syncs, b.worker, b.wide, b.long}},
		{"queue", []func(context.Context) error{b.queued, b.thousand}},
		{"poll", []func(context.Context) error{b.polled}},
		{"prompt", []func(context.Context) error{b.prompt}},
		{"keys", []func(context.Context) error{b.echo, b.echoPlugin, b.echoBeside, b.echoBesideForward}},
		{"output", []func(context.Context) error{b.flood}},
		{"paste", []func(context.Context) error{b.paste}},
		{"ports", []func(context.Context) error{b.ports, b.portsPlugin}},
		{"copies", []func(context.Context) error{b.programs, b.copies}},
		{"many", []func(context.Context) error{b.many}},
		{"first", []func(context.Context) error{b.first}},
		{"soak", []func(context.Context) error{b.soak}},
		{"idle", []func(context.Context) error{b.watchIdle}},
	}
	wanted := strings.Split(strings.ReplaceAll(b.only, "sessions", "prompt,keys,output,paste,ports,copies,many,first"), ",")
	for _, p := range parts {
		if p.name != "" && b.only != "" && !slices.Contains(wanted, p.name) {
			continue
		}
		for _, step := range p.steps {
			sctx, done := context.WithTimeout(ctx, 10*time.Minute)
			err := step(sctx)
			done()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// setUp starts a control plane and registers a node.
func (b *bench) setUp(ctx context.Context) (err error) {
	if b.root, err = os.MkdirTemp("", "ssmagent-bench-"); err != nil {
		return err
	}
	if b.plane, err = launch(b.bin, "ssm-local", "serve", "-root", b.root, "-listen", "127.0.0.1:0"); err != nil {
		return err
	}
	l, _, err := b.plane.line("ready at ")
	if err != nil {
		return err
	}
	url := strings.Fields(l[strings.Index(l, "ready at ")+9:])[0]
	b.url = url
	p := platform.PathsBelow(b.root)
	if b.client, err = connect.Operator(p, connect.Target{}, "bench"); err != nil {
		return err
	}
	act, err := b.client.CreateActivation(ctx, ssm.CreateActivationInput{IamRole: "bench"})
	if err != nil {
		return err
	}
	if err := b.configure("ws" + strings.TrimPrefix(url, "http")); err != nil {
		return err
	}
	out, err := exec.Command(filepath.Join(b.bin, "amazon-ssm-agent"), "-root", b.root, "-register", "-code", string(act.ActivationCode), "-id", act.ActivationId, "-region", b.client.Region(), "-y").CombinedOutput()
	if err != nil {
		return fmt.Errorf("register: %w: %s", err, out)
	}
	var reg struct{ ManagedInstanceID string }
	raw, err := os.ReadFile(filepath.Join(p.Data, "registration"))
	if err == nil {
		err = json.Unmarshal(raw, &reg)
	}
	b.node = reg.ManagedInstanceID
	return err
}

// configure writes the node's configuration with this gateway.
func (b *bench) configure(gateway string) error {
	file := platform.PathsBelow(b.root).ConfigFile
	cfg, err := b.config(gateway)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, cfg, 0o600)
}

func (b *bench) config(gateway string) ([]byte, error) {
	at := func(url string) map[string]string { return map[string]string{"Endpoint": url} }
	return json.Marshal(map[string]any{"Ssm": at(b.url), "Mds": at(b.url), "Mgs": at(gateway)})
}

// restart starts the agent anew with another gateway and waits for a line.
func (b *bench) restart(gateway, line string) (err error) {
	if err := b.configure(gateway); err != nil {
		return err
	}
	b.agent.stop()
	if b.agent, err = launch(b.bin, "amazon-ssm-agent", "-root", b.root); err != nil {
		return err
	}
	_, _, err = b.agent.line(line)
	return err
}

// startStop measures the agent's start to online and SIGTERM to gone.
func (b *bench) startStop(ctx context.Context) error {
	var up, down []float64
	for i := range runs {
		a, err := launch(b.bin, "amazon-ssm-agent", "-root", b.root)
		if err != nil {
			return err
		}
		_, at, err := a.line(onlineLine)
		if err != nil {
			return err
		}
		up = append(up, millis(at.Sub(a.started)))
		if i == runs-1 {
			b.agent = a
			break
		}
		down = append(down, a.stop())
	}
	b.table.most("start to online", "ms", median(up), 150, 1034)
	b.table.most("SIGTERM to gone, idle", "ms", median(down), 300, 8490)
	_, err := b.client.WaitOnline(ctx, b.node)
	return err
}

// onlineLine is what the agent logs when its control channel is open.
const onlineLine = "control channel open"

func (b *bench) size(context.Context) error {
	fi, err := os.Stat(filepath.Join(b.bin, "amazon-ssm-agent"))
	if err == nil {
		b.table.most("agent executable", "MB", float64(fi.Size())/1e6, 20, 113)
	}
	return err
}

// single measures one command at a time.
func (b *bench) single(ctx context.Context) error {
	var seen, inside []float64
	for i := range 3 * runs {
		t := time.Now()
		inv, err := b.client.RunShell(ctx, b.node, []string{"true"}, func(string) {})
		if err != nil {
			return err
		}
		if inv.Status != "Success" {
			return fmt.Errorf("true ended as %s: %s", inv.StatusDetails, inv.StandardErrorContent)
		}
		if i >= runs { // the first ones warm the caches
			seen = append(seen, millis(time.Since(t)))
		}
	}
	b.table.most("SendCommand of true to Success seen by the operator", "ms", median(seen), 25, 0)
	inside, err := b.deliveries()
	if err == nil {
		b.table.most("delivery to final reply", "ms", median(inside), 18, 21.8)
	}
	return err
}

// deliveries reads from the control plane's log how long each command took
// from its delivery to its final reply.
func (b *bench) deliveries() ([]float64, error) {
	var all []float64
	for {
		select {
		case l := <-b.plane.lines:
			if i := strings.Index(l.text, "since_delivery="); i >= 0 {
				d, err := time.ParseDuration(strings.Fields(l.text[i+len("since_delivery="):])[0])
				if err != nil {
					return nil, err
				}
				all = append(all, millis(d))
			}
			continue
		default:
		}
		if len(all) == 0 {
			return nil, errors.New("the control plane's log tells no since_delivery")
		}
		return all, nil
	}
}

// queued measures fifty commands at once.
func (b *bench) queued(ctx context.Context) error {
	const n = 50
	var rates, cpus, left []float64
	for range 5 {
		before, err := read(b.agent.cmd.Process.Pid)
		if err != nil {
			return err
		}
		ids := make([]string, n)
		t := time.Now()
		for i := range ids {
			if ids[i], err = b.client.SendShell(ctx, b.node, []string{"true"}); err != nil {
				return err
			}
		}
		// One after the other, the last first: fifty pollers would measure
		// themselves.
		for i := n - 1; i >= 0; i-- {
			if _, err := b.client.Wait(ctx, ids[i], b.node, func(string) {}); err != nil {
				return err
			}
		}
		took := time.Since(t)
		<-time.After(100 * time.Millisecond)
		left = append(left, float64(len(workers(b.root))))
		after, err := read(b.agent.cmd.Process.Pid)
		if err != nil {
			return err
		}
		rates = append(rates, n/took.Seconds())
		cpus = append(cpus, (after.cpuMillis-before.cpuMillis)/n)
	}
	b.table.least("50 queued commands", "1/s", median(rates), 120, 66)
	b.table.most("CPU of agent, worker and script per queued command", "ms", median(cpus), 15, 28)
	b.table.most("workers alive 100 ms after the end", "", median(left), 0, 50)
	return nil
}

// worker measures the resident size of a document worker at work.
func (b *bench) worker(ctx context.Context) error {
	var sizes []float64
	for range 5 {
		started := filepath.Join(b.root, "started")
		open := filepath.Join(b.root, "open")
		_ = os.Remove(open)
		_ = os.Remove(started)
		id, err := b.client.SendShell(ctx, b.node, []string{"touch " + started, "until [ -e " + open + " ]; do sleep 0.02; done"})
		if err != nil {
			return err
		}
		for range time.Tick(5 * time.Millisecond) {
			if _, err := os.Stat(started); err == nil {
				break
			}
		}
		for _, pid := range workers(b.root) {
			mb, err := peak(pid)
			if err != nil {
				return err
			}
			sizes = append(sizes, mb)
		}
		if err := os.WriteFile(open, nil, 0o600); err != nil {
			return err
		}
		if _, err := b.client.Wait(ctx, id, b.node, func(string) {}); err != nil {
			return err
		}
	}
	if len(sizes) == 0 {
		return errors.New("no document worker was seen")
	}
	b.table.most("document worker RSS", "MB", median(sizes), 14, 26.3)
	return nil
}

// watchIdle watches a fresh agent that has nothing to do.
func (b *bench) watchIdle(context.Context) error {
	b.agent.stop()
	a, err := launch(b.bin, "amazon-ssm-agent", "-root", b.root)
	if err != nil {
		return err
	}
	b.agent = a
	if _, _, err := a.line(onlineLine); err != nil {
		return err
	}
	<-time.After(b.idle)
	from, err := read(a.cmd.Process.Pid)
	if err != nil {
		return err
	}
	<-time.After(b.idle)
	to, err := read(a.cmd.Process.Pid)
	if err != nil {
		return err
	}
	b.table.most("idle agent RSS", "MB", to.rss, 18, 42.5)
	b.table.most("idle agent RSS, anonymous", "MB", to.anon, 18, 0)
	b.table.most("idle agent RSS, file", "MB", to.file, 18, 0)
	b.table.most("idle agent context switches", "1/s", (to.switches-from.switches)/b.idle.Seconds(), 0.5, 8.2)
	b.table.most("idle agent CPU a minute", "ms", (to.cpuMillis-from.cpuMillis)/b.idle.Minutes(), 5, 20)
	return nil
}
