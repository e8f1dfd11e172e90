package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"ssmagent/internal/client"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

// shellSession is an open shell as a person has it, without the person.
type shellSession struct {
	*client.Session
	id    string
	ended chan error
	asked time.Time
	first time.Time // of the first output
	seen  []byte    // output not yet looked at
}

// open starts a session and returns at its first output, the prompt.
func (b *bench) open(ctx context.Context) (*shellSession, error) {
	return b.openOn(ctx, b.node, prompt())
}

// openOn is open on any node.
func (b *bench) openOn(ctx context.Context, node, prompt string) (*shellSession, error) {
	s := &shellSession{asked: time.Now(), ended: make(chan error, 1)}
	out, err := b.client.StartSession(ctx, ssm.StartSessionInput{Target: node})
	if err != nil {
		return nil, err
	}
	s.id = out.SessionId
	transport, err := ssmclient.Transport(nil)
	if err != nil {
		return nil, err
	}
	s.Session, err = client.New(client.Options{
		StreamURL: out.StreamUrl, SessionID: out.SessionId, Token: string(out.TokenValue), ClientVersion: "3.3.9000.0", Transport: transport,
		Resume: func(ctx context.Context) (string, error) {
			o, err := b.client.ResumeSession(ctx, out.SessionId)
			return string(o.TokenValue), err
		},
		Terminate: func(ctx context.Context) error { return b.client.TerminateSession(ctx, out.SessionId) },
	})
	if err != nil {
		return nil, err
	}
	s.Resize(80, 24)
	go func() { s.ended <- s.Run(ctx) }()
	if err := s.until(ctx, prompt); err != nil {
		return nil, err
	}
	return s, nil
}

// prompt is how the shell's ends.
func prompt() string {
	if os.Geteuid() == 0 {
		return "# "
	}
	return "$ "
}

// until reads output up to text, which it takes.
func (s *shellSession) until(ctx context.Context, text string) error {
	for {
		if i := bytes.Index(s.seen, []byte(text)); i >= 0 {
			s.seen = s.seen[i+len(text):]
			return nil
		}
		if keep := len(text); len(s.seen) > keep {
			s.seen = append(s.seen[:0], s.seen[len(s.seen)-keep:]...)
		}
		m, err := s.Next(ctx)
		if err != nil {
			return fmt.Errorf("wait for %q: %w (%v)", text, err, s.End())
		}
		if s.first.IsZero() {
			s.first = time.Now()
		}
		s.seen = append(s.seen, m.Payload...)
	}
}

func (s *shellSession) send(ctx context.Context, text string) error {
	return s.Write(ctx, mgs.PayloadOutput, []byte(text))
}

// finish types exit and waits for the end of the session.
func (s *shellSession) finish(ctx context.Context) error {
	if err := s.send(ctx, " exit\n"); err != nil {
		return err
	}
	for {
		if _, err := s.Next(ctx); err != nil {
			break
		}
	}
	return <-s.ended
}

// prompt measures opening a shell, and its end.
func (b *bench) prompt(ctx context.Context) error {
	var orders, opens, ends, gone []float64
	for range runs {
		s, err := b.open(ctx)
		if err != nil {
			return err
		}
		// The control plane says so just before it sends the order.
		_, ordered, err := b.plane.line("session started")
		if err != nil {
			return err
		}
		orders = append(orders, millis(s.first.Sub(ordered)))
		opens = append(opens, millis(s.first.Sub(s.asked)))
		t := time.Now()
		if err := s.finish(ctx); err != nil {
			return err
		}
		ends = append(ends, millis(time.Since(t)))
		for len(processesOf(b.root, "ssm-session")) > 0 {
			<-time.After(time.Millisecond)
		}
		gone = append(gone, millis(time.Since(t)))
	}
	b.table.most("order to first prompt, our client", "ms", median(orders), 50, 1037)
	b.table.most("StartSession to prompt, our client", "ms", median(opens), 90, 0)
	b.table.most("exit typed to session closed at the client", "ms", median(ends), 4, 3.9)
	b.table.most("exit typed to worker gone", "ms", median(gone), 50, 3034)
	return nil
}

// many measures sizes of ten sessions, and two hundred opened at once.
func (b *bench) many(ctx context.Context) error {
	ten, _, err := b.crowd(ctx, 10)
	if err != nil {
		return err
	}
	pids := sessionProcesses(b.root)
	if len(pids) != 20 {
		return fmt.Errorf("ten sessions have %d processes instead of 20", len(pids))
	}
	var rss, pss float64
	for _, pid := range pids {
		mb, err := peak(pid)
		if err != nil {
			return err
		}
		rss += mb
		pss += proportional(pid)
	}
	b.table.most("session worker and terminal RSS", "MB", rss/10, 14, 24)
	b.table.most("ten sessions PSS", "MB", pss, 60, 104)
	if err := disperse(ctx, ten); err != nil {
		return err
	}
	crowd, took, err := b.crowd(ctx, 200)
	if err != nil {
		return err
	}
	b.table.most("200 shells opened at once", "s", took.Seconds(), 15, 0)
	return disperse(ctx, crowd)
}

// crowd opens n sessions at once.
func (b *bench) crowd(ctx context.Context, n int) ([]*shellSession, time.Duration, error) {
	all := make([]*shellSession, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	t := time.Now()
	for i := range n {
		wg.Go(func() { all[i], errs[i] = b.open(ctx) })
	}
	wg.Wait()
	return all, time.Since(t), errors.Join(errs...)
}

func disperse(ctx context.Context, all []*shellSession) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() { errs[i] = s.finish(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// soak opens and ends sessions one after the other and compares what the agent
// holds before and after.
func (b *bench) soak(ctx context.Context) error {
	n := b.soakRuns
	warm := max(n/10, 5)
	var before [2]float64
	for i := range n + warm {
		if i == warm {
			before = b.held()
		}
		s, err := b.open(ctx)
		if err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
		if err := s.finish(ctx); err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
	}
	for len(processesOf(b.root, "ssm-session")) > 0 {
		<-time.After(10 * time.Millisecond)
	}
	after := b.held()
	b.table.most(fmt.Sprintf("descriptors of the agent after %d sessions, more than before", n), "", after[0]-before[0], 0, 0)
	b.table.most(fmt.Sprintf("RSS of the agent after %d sessions, more than before", n), "MB", after[1]-before[1], 2, 0)
	return nil
}

// held is what the agent holds: descriptors, and resident MB.
func (b *bench) held() [2]float64 {
	dir := "/proc/" + strconv.Itoa(b.agent.cmd.Process.Pid)
	fds, _ := os.ReadDir(dir + "/fd")
	u, _ := read(b.agent.cmd.Process.Pid)
	return [2]float64{float64(len(fds)), u.rss}
}
