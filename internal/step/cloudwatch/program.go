package cloudwatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/environ"
	"ssmagent/internal/fsys"
	"ssmagent/platform/proc"
)

const (
	programName = "AWS.CloudWatch.exe"
	configName  = "AWS.EC2.Windows.CloudWatch.json"
	recordName  = "ssmagent.json"
	lockName    = "ssmagent.lock"

	maxConfiguration = 1 << 20
	filePerm         = 0o600

	endWithin = 10 * time.Second
	// lookEvery is how often Keep looks whether the program should run.
	lookEvery = 15 * time.Minute
)

// Program is AWS's program, whose source is not public. It may run once on a
// machine; who asks for it here takes a lock.
type Program struct {
	Dir   string   // where it lies, with its configuration and our record
	Env   []string // of it; its proxies are taken from there too
	FS    fsys.FS
	Lock  func(file string) (unlock func(), err error)
	Start func(proc.Spec) (proc.Process, error)
	Find  func(proc.ID) (proc.Process, error)
	Clock clock.Clock
}

// record says that the program should run, and as which process it does.
type record struct {
	Arguments []string
	Process   proc.ID // zero: it was about to be started
}

// Enable gives the program its configuration, or with an empty one leaves it the
// one that is there, and starts it anew.
func (p Program) Enable(ctx context.Context, config, instanceID, region string) error {
	if err := p.there(); err != nil {
		return err
	}
	unlock, err := p.Lock(p.path(lockName))
	if err != nil {
		return err
	}
	defer unlock()
	if err := p.configure(config, true); err != nil {
		return err
	}
	if err := p.end(ctx); err != nil {
		return err
	}
	args := []string{instanceID, region, p.path(configName)}
	if proxy := environ.Get(p.Env, "http_proxy"); proxy != "" {
		args = append(args, proxy, environ.Get(p.Env, "no_proxy"))
	}
	_, err = p.begin(args)
	return err
}

// Disable ends the program and has it stay ended.
func (p Program) Disable(ctx context.Context) error {
	if err := p.there(); err != nil {
		return err
	}
	unlock, err := p.Lock(p.path(lockName))
	if err != nil {
		return err
	}
	defer unlock()
	if err := p.end(ctx); err != nil {
		return err
	}
	if err := p.FS.Remove(p.path(recordName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return p.configure("", false)
}

// Keep starts the program when it should run and does not: at once, when it has
// ended, and every 15 minutes. It returns when ctx ends, and leaves the program
// running. What goes wrong is handed to tell.
func (p Program) Keep(ctx context.Context, tell func(error)) {
	var running proc.Process
	for {
		next, err := p.resume(running)
		if err != nil {
			tell(fmt.Errorf("keep %s running: %w", programName, err))
		}
		running = next
		if !p.await(ctx, running) {
			return
		}
	}
}

// await waits for the time to look again; one that ends at once is not started
// without pause.
func (p Program) await(ctx context.Context, running proc.Process) bool {
	timer := p.Clock.NewTimer(lookEvery)
	defer timer.Stop()
	if running != nil {
		waiting, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if _, err := running.Wait(waiting); err != nil {
				<-waiting.Done()
			}
		}()
		select {
		case <-ended:
			timer.Reset(time.Minute)
		case <-timer.C():
			timer.Reset(0)
		case <-ctx.Done():
		}
		stop()
		<-ended
	}
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}

// resume returns the process that should run, and starts it if it does not. It
// takes the one that is known, if that is still the one.
func (p Program) resume(known proc.Process) (proc.Process, error) {
	if _, err := p.FS.Lstat(p.path(recordName)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	unlock, err := p.Lock(p.path(lockName))
	if err != nil {
		return nil, err
	}
	defer unlock()
	r, err := p.record()
	if err != nil || r == nil {
		return nil, err
	}
	if known != nil && known.ID() == r.Process {
		ended, stop := context.WithCancel(context.Background())
		stop()
		if _, err := known.Wait(ended); err != nil {
			return known, nil
		}
		return p.begin(r.Arguments)
	}
	process, err := p.Find(r.Process)
	if errors.Is(err, proc.ErrGone) {
		return p.begin(r.Arguments)
	}
	return process, err
}

// begin starts the program. That it should run is durable before it does.
func (p Program) begin(args []string) (proc.Process, error) {
	if err := p.keep(record{Arguments: args}); err != nil {
		return nil, err
	}
	program := p.path(programName)
	process, err := p.Start(proc.Spec{Path: program, Args: append([]string{program}, args...), Env: p.Env, Dir: p.Dir, Session: true})
	if err != nil {
		return nil, err
	}
	if err := p.keep(record{Arguments: args, Process: process.ID()}); err != nil {
		return nil, errors.Join(err, process.Kill())
	}
	return process, nil
}

// end ends the process of the record, if there is one.
func (p Program) end(ctx context.Context) error {
	r, err := p.record()
	if err != nil || r == nil {
		return err
	}
	process, err := p.Find(r.Process)
	if errors.Is(err, proc.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := process.KillGroup(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	if _, err := process.Wait(ctx); err != nil {
		return fmt.Errorf("%s does not end: %w", programName, err)
	}
	return nil
}

// there says how to have a program that is not there.
func (p Program) there() error {
	if info, err := os.Stat(p.path(programName)); err == nil && info.Mode().IsRegular() {
		return nil
	}
	return fmt.Errorf("%s is not there: logs and counters are sent by a program of AWS that only its own agent comes with; "+
		"copy the folder %s from a machine with the stock agent, or use the CloudWatch agent (package AmazonCloudWatchAgent)", p.path(programName), p.Dir)
}

// configure writes the program's configuration: a new one, or with an empty text
// the one that is there.
func (p Program) configure(text string, on bool) error {
	name := p.path(configName)
	if text == "" {
		b, err := fsys.ReadFile(p.FS, name, maxConfiguration)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !on:
			return nil
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("the step has no configuration, and %s is not there", name)
		case err != nil:
			return err
		}
		text = string(b)
	}
	b, err := switched(text, on)
	if err != nil {
		return err
	}
	return fsys.WriteFile(p.FS, name, b, filePerm)
}

func (p Program) record() (*record, error) {
	b, err := fsys.ReadFile(p.FS, p.path(recordName), maxConfiguration)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; remove it", p.path(recordName), err)
	}
	return &r, nil
}

func (p Program) keep(r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return fsys.WriteFile(p.FS, p.path(recordName), b, filePerm)
}

func (p Program) path(name string) string { return filepath.Join(p.Dir, name) }
