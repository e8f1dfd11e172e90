package program

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
	"ssmagent/internal/logbook"
)

// readEvery is how often a log that is followed is looked at.
const readEvery = 500 * time.Millisecond

// maxLogLine bounds a line of a log.
const maxLogLine = 256 << 10

// logView is what of a log is shown.
type logView struct {
	out   io.Writer
	words []string // each must be in a line
}

// logsMain is `ssm-cli logs`.
func logsMain(ctx context.Context, s streams, root string, args []string) int {
	fs := nodeFlags(s, "logs")
	n := fs.Int("n", 100, "how many lines to show, the last ones")
	follow := fs.Bool("f", false, "go on with what is written from now on")
	onlyErrors := fs.Bool("errors", false, "the log of errors, which says where in the program they come from")
	session := fs.String("session", "", "lines of this session only")
	command := fs.String("command", "", "lines of this command only")
	if code, ok := parse(fs, args, 0); !ok {
		return code
	}
	if *n < 0 || *n > 1_000_000 {
		s.failf("ssm-cli", "-n is %d; use 0 to 1000000", *n)
		return exitUsage
	}
	p, err := pathsFor(root)
	if err != nil {
		return s.told(err)
	}
	name := mainLog
	if *onlyErrors {
		name = errorsLog
	}
	v := logView{out: s.out}
	for key, id := range map[string]string{"session": *session, "command": *command} {
		if id != "" {
			v.words = append(v.words, " "+key+"="+id+" ")
		}
	}
	err = v.show(ctx, filepath.Join(p.Logs, name+".log"), *n, *follow)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("there is no log in %s; it begins with the agent's first start", p.Logs)
	}
	return s.told(err)
}

// show prints the last n lines of the log at path, older files first, and with
// follow what comes after them.
func (v logView) show(ctx context.Context, path string, n int, follow bool) error {
	files, err := logbook.Rolled(path)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return os.ErrNotExist
	}
	var last []string
	var current *os.File
	var r *bufio.Reader
	for _, name := range files {
		if current != nil {
			_ = current.Close() // it was read
		}
		if current, err = os.Open(name); err != nil {
			return err
		}
		r = bufio.NewReaderSize(current, maxLogLine)
		err = v.lines(r, func(line string) error {
			if last = append(last, line); len(last) > n {
				last = last[1:]
			}
			return nil
		})
		if err != nil {
			return errors.Join(err, current.Close())
		}
	}
	for _, line := range last {
		if _, err := io.WriteString(v.out, line); err != nil {
			return errors.Join(err, current.Close())
		}
	}
	if !follow {
		return current.Close()
	}
	return v.follow(ctx, path, current, r)
}

// lines gives what is shown of r to each, up to its end for now.
func (v logView) lines(r *bufio.Reader, each func(string) error) error {
	for {
		line, err := r.ReadSlice('\n')
		if text := harmless(string(line)); text != "" && v.wants(text) {
			if err := each(text); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

func (v logView) wants(line string) bool {
	padded := strings.TrimRight(line, "\n") + " "
	for _, w := range v.words {
		if !strings.Contains(padded, w) {
			return false
		}
	}
	return true
}

// follow prints what is added, also after the log was rolled over, until ctx
// ends.
func (v logView) follow(ctx context.Context, path string, f *os.File, r *bufio.Reader) error {
	defer func() { _ = f.Close() }()
	show := func(line string) error {
		_, err := io.WriteString(v.out, line)
		return err
	}
	for {
		if backoff.Wait(ctx, clock.Real{}, readEvery) != nil {
			return nil
		}
		named, err := os.Stat(path)
		if err := v.lines(r, show); err != nil {
			return err
		}
		ours, oerr := f.Stat()
		if err != nil || oerr != nil || os.SameFile(named, ours) {
			continue // or it is just being rolled over
		}
		next, err := os.Open(path)
		if err != nil {
			continue
		}
		_ = f.Close() // it was read
		f, r = next, bufio.NewReaderSize(next, maxLogLine)
	}
}
