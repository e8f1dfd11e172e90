package program

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"ssmagent/cmd/internal/connect"
	"ssmagent/internal/operator"
	"ssmagent/platform"
)

// selftestWithin bounds a self-test on a machine that is very slow.
const selftestWithin = 2 * time.Minute

// trial is one step of the self-test.
type trial struct {
	Step         string
	OK           bool
	Milliseconds int64
	Error        string `json:",omitempty"`
}

// selftestMain is `ssm-cli selftest`: it takes this program through its work in
// a folder of its own, which goes afterwards.
func selftestMain(ctx context.Context, s streams, _ string, args []string) int {
	fs := nodeFlags(s, "selftest")
	output := outputFlag(fs)
	keep := fs.Bool("keep", false, "keep the folder with everything in it")
	if code, ok := parse(fs, args, 0); !ok {
		return code
	}
	asJSON, err := output()
	if err != nil {
		s.failf("ssm-cli", "%v", err)
		return exitUsage
	}
	root, err := os.MkdirTemp("", "ssmagent-selftest-")
	if err != nil {
		return s.told(err)
	}
	if !*keep {
		defer os.RemoveAll(root)
	}
	ctx, cancel := context.WithTimeout(ctx, selftestWithin)
	defer cancel()
	trials, err := selftest(ctx, root)
	if asJSON {
		err = errors.Join(printJSON(s.out, trials), err)
	} else {
		err = errors.Join(printTrials(s.out, trials), err)
	}
	if *keep {
		fmt.Fprintf(s.err, "everything is below %s\n", root)
	}
	if err != nil {
		s.failf("ssm-cli", "%v", err)
		return exitFailed
	}
	return exitOK
}

func printTrials(out io.Writer, trials []trial) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	var sum int64
	for _, t := range trials {
		word := "ok"
		if !t.OK {
			word = "FAILED: " + printable(t.Error)
		}
		fmt.Fprintf(w, "%s\t%d ms\t%s\n", t.Step, t.Milliseconds, word)
		sum += t.Milliseconds
	}
	fmt.Fprintf(w, "all\t%d ms\n", sum)
	return w.Flush()
}

// selftest does the main job below root; the error is that of the step that
// failed, or of the end.
func selftest(ctx context.Context, root string) (trials []trial, err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var said bytes.Buffer
	d := &demo{s: streams{strings.NewReader(""), &said, &said}, root: root, exe: exe}
	defer func() { err = errors.Join(err, d.stop()) }()
	var client *operator.Client
	var id string
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"control plane", func() (err error) {
			if err = d.startPlane(ctx); err == nil {
				client, err = connect.Operator(platform.PathsBelow(root), connect.Target{}, userAgent())
			}
			return err
		}},
		{"registration", func() (err error) { id, err = d.register(ctx, client); return err }},
		{"agent", func() error {
			if _, err := d.spawn("amazon-ssm-agent", "-root", root); err != nil {
				return err
			}
			return d.online(ctx, client, id)
		}},
		{"command", func() error { return d.command(ctx, client, id) }},
		{"shell", func() error { return d.shell(ctx, client, id) }},
		{"forward", func() error { return d.forward(ctx, id) }},
	} {
		start := time.Now()
		err := step.do()
		t := trial{Step: step.name, OK: err == nil, Milliseconds: time.Since(start).Milliseconds()}
		if err != nil {
			t.Error = err.Error()
			return append(trials, t), fmt.Errorf("%s: %w", step.name, err)
		}
		trials = append(trials, t)
	}
	return trials, nil
}

// forward sends bytes through a port session to a server of ours and back.
func (d *demo) forward(ctx context.Context, id string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan struct{})
	go func() { // it sends back what comes
		defer close(served)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(c, c)
	}()
	defer func() { _ = l.Close(); <-served }()
	c, err := d.spawn("ssm-local", "forward", "-root", d.root, "-output", "json", id, "0:"+strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	if err != nil {
		return err
	}
	line, err := d.until(ctx, c, `"event":"open"`)
	if err != nil {
		return err
	}
	var n news
	if err := json.Unmarshal([]byte(line), &n); err != nil {
		return fmt.Errorf("read where it listens: %w", err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", n.Local)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	sent := bytes.Repeat([]byte("there and back\n"), 4096)
	wrote := make(chan error, 1)
	go func() { _, err := conn.Write(sent); wrote <- err }()
	got := make([]byte, len(sent))
	_, err = io.ReadFull(conn, got)
	if err != nil {
		_ = conn.Close()
	}
	if err = errors.Join(err, <-wrote); err == nil && !bytes.Equal(got, sent) {
		err = errors.New("what came back is not what was sent")
	}
	return err
}
