package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/creack/pty"

	"ssmagent/internal/wire/ssm"
)

// pluginSession is an open shell behind the stock client, which sits at a
// terminal of its own.
type pluginSession struct {
	b    *bench
	id   string
	cmd  *exec.Cmd
	tty  *os.File
	buf  []byte
	seen []byte // output not yet looked at
}

// openPlugin starts a session as `aws ssm start-session` does, and returns at
// the prompt.
func (b *bench) openPlugin(ctx context.Context) (*pluginSession, error) {
	path, err := filepath.Abs(b.plugin)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return nil, fmt.Errorf("the stock client is missing, `make build/tools/session-manager-plugin` builds it: %w", err)
	}
	in := ssm.StartSessionInput{Target: b.node}
	out, err := b.client.StartSession(ctx, in)
	if err != nil {
		return nil, err
	}
	answer, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	request, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	s := &pluginSession{b: b, id: out.SessionId, buf: make([]byte, 64<<10)}
	s.cmd = exec.CommandContext(ctx, path, string(answer), b.client.Region(), "StartSession", "", string(request), b.url)
	if s.tty, err = pty.StartWithSize(s.cmd, &pty.Winsize{Cols: 80, Rows: 24}); err != nil {
		return nil, err
	}
	if err := s.until(ctx, prompt()); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// until reads output up to text, which it takes.
func (s *pluginSession) until(_ context.Context, text string) error {
	for {
		if i := bytes.Index(s.seen, []byte(text)); i >= 0 {
			s.seen = s.seen[i+len(text):]
			return nil
		}
		if keep := len(text); len(s.seen) > keep {
			s.seen = append(s.seen[:0], s.seen[len(s.seen)-keep:]...)
		}
		n, err := s.tty.Read(s.buf)
		if err != nil {
			return fmt.Errorf("wait for %q from the stock client: %w", text, err)
		}
		s.seen = append(s.seen, s.buf[:n]...)
	}
}

func (s *pluginSession) send(_ context.Context, text string) error {
	_, err := s.tty.WriteString(text)
	return err
}

// close ends the session and the client with it.
func (s *pluginSession) close() {
	_ = s.b.client.TerminateSession(context.Background(), s.id)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, s.tty) // a client that cannot print does not end
	}()
	_ = s.cmd.Wait()
	_ = s.tty.Close()
	<-gone
}
