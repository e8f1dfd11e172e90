package program

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ssmagent/cmd/internal/connect"
	"ssmagent/internal/operator"
	"ssmagent/internal/wire/ssm"
	"ssmagent/platform"
)

// demo is `ssm-local demo`: the main job on this machine below one folder.
type demo struct {
	s     streams
	root  string
	exe   string
	kids  []*child
	url   string
	creds string
}

// child is a program of ours that the demo started.
type child struct {
	name  string
	cmd   *exec.Cmd
	lines chan string
	done  chan struct{}
}

const demoHelp = `usage: ssm-local demo [-root DIR] [-once]

Starts a control plane and an agent below DIR, registers the agent, runs a
command on it and stays up until Ctrl-C. Nothing outside DIR is changed.
`

func demoMain(ctx context.Context, s streams, args []string) int {
	fs := flag.NewFlagSet("ssm-local demo", flag.ContinueOnError)
	fs.SetOutput(s.err)
	fs.Usage = func() { fmt.Fprint(s.err, demoHelp); fs.PrintDefaults() }
	root := fs.String("root", ".run", "the folder that holds everything")
	once := fs.Bool("once", false, "end after the command instead of staying up")
	if code, ok := parse(fs, args, 0); !ok {
		return code
	}
	abs, err := filepath.Abs(*root)
	if err != nil {
		s.failf("demo", "%v", err)
		return exitFailed
	}
	exe, err := os.Executable()
	if err != nil {
		s.failf("demo", "%v", err)
		return exitFailed
	}
	d := &demo{s: s, root: abs, exe: exe}
	err = d.run(ctx, *once)
	if stopErr := d.stop(); err == nil {
		err = stopErr
	}
	if err != nil && !(ctx.Err() != nil && errors.Is(err, context.Canceled)) {
		s.failf("demo", "%v", err)
		return exitFailed
	}
	return exitOK
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.s.out, format+"\n", args...) }

func (d *demo) run(ctx context.Context, once bool) error {
	d.say("== 1. the control plane (ssm-local serve)")
	if err := d.startPlane(ctx); err != nil {
		return err
	}
	client, err := connect.Operator(platform.PathsBelow(d.root), connect.Target{}, userAgent())
	if err != nil {
		return err
	}
	d.say("== 2. hybrid activation, registration")
	id, err := d.register(ctx, client)
	if err != nil {
		return err
	}
	d.say("== 3. the agent (amazon-ssm-agent)")
	if _, err := d.spawn("amazon-ssm-agent", "-root", d.root); err != nil {
		return err
	}
	if err := d.online(ctx, client, id); err != nil {
		return err
	}
	d.say("== 4. a command (AWS-RunShellScript)")
	if err := d.command(ctx, client, id); err != nil {
		return err
	}
	d.say("== 5. a shell (Session Manager)")
	if err := d.shell(ctx, client, id); err != nil {
		return err
	}
	if once {
		d.say("== done")
		return nil
	}
	d.paste(id)
	return d.wait(ctx)
}

// spawn starts a program of ours and watches its lines.
func (d *demo) spawn(name string, args ...string) (*child, error) {
	cmd := exec.Command(d.exe, args...)
	cmd.Args[0] = name
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	cmd.Env = append(os.Environ(), "AWS_EC2_METADATA_DISABLED=true")
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c := &child{name: name, cmd: cmd, lines: make(chan string, 256), done: make(chan struct{})}
	d.kids = append(d.kids, c)
	go func() {
		_ = cmd.Wait()
		w.Close()
		close(c.done)
	}()
	go func() {
		defer close(c.lines)
		for sc := bufio.NewScanner(r); sc.Scan(); {
			select {
			case c.lines <- sc.Text():
			default: // nobody reads any more: the log file has it
			}
		}
	}()
	return c, nil
}

// until prints a child's lines up to one that holds text.
func (d *demo) until(ctx context.Context, c *child, text string) (string, error) {
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	var last string
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				return "", fmt.Errorf("%s ended: %s", c.name, last)
			}
			if last = line; strings.Contains(line, text) {
				return line, nil
			}
		case <-limit.C:
			return "", fmt.Errorf("%s did not come up within 30 s: %s", c.name, last)
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func (d *demo) startPlane(ctx context.Context) error {
	c, err := d.spawn("ssm-local", "serve", "-root", d.root, "-listen", "127.0.0.1:0")
	if err != nil {
		return err
	}
	line, err := d.until(ctx, c, readyAt)
	if err != nil {
		return err
	}
	d.url = strings.Fields(line[strings.Index(line, readyAt)+len(readyAt):])[0]
	d.creds = connect.CredentialsFile(platform.PathsBelow(d.root))
	d.say("   ready at %s, data below %s", d.url, d.root)
	return nil
}

// register writes the agent's configuration for this run's endpoint and, when
// the node does not know the control plane yet, activates and registers it.
func (d *demo) register(ctx context.Context, client *operator.Client) (string, error) {
	p := platform.PathsBelow(d.root)
	cfg, err := nodeConfig(d.url, "")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(p.ConfigFile), 0o700); err != nil {
		return "", err
	}
	if err := os.WriteFile(p.ConfigFile, cfg, 0o600); err != nil {
		return "", err
	}
	if id := registered(p); id != "" {
		if nodes, err := client.Nodes(ctx); err == nil {
			for _, n := range nodes {
				if n.InstanceId == id {
					d.say("   still registered as %s from an earlier run", id)
					return id, nil
				}
			}
		}
	}
	act, err := client.CreateActivation(ctx, ssm.CreateActivationInput{IamRole: "ssm-local", DefaultInstanceName: "demo"})
	if err != nil {
		return "", err
	}
	c, err := d.spawn("amazon-ssm-agent", "-root", d.root, "-register", "-code", string(act.ActivationCode), "-id", act.ActivationId, "-region", client.Region(), "-y")
	if err != nil {
		return "", err
	}
	if _, err := d.until(ctx, c, "Successfully registered"); err != nil {
		return "", err
	}
	<-c.done
	id := registered(p)
	d.say("   activation %s, registered as %s", act.ActivationId, id)
	return id, nil
}

// registered reads the id that the last registration left, "" for none.
func registered(p platform.Paths) string {
	b, err := os.ReadFile(filepath.Join(p.Data, "registration"))
	if err != nil {
		return ""
	}
	var r struct{ ManagedInstanceID string }
	_ = json.Unmarshal(b, &r) // what cannot be read is registered anew
	return r.ManagedInstanceID
}

func (d *demo) online(ctx context.Context, client *operator.Client, id string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	n, err := client.WaitOnline(ctx, id)
	if err != nil {
		return fmt.Errorf("wait for %s to be online: %w", id, err)
	}
	printNodes(d.s.out, []ssm.InstanceInformation{n})
	return nil
}

func (d *demo) command(ctx context.Context, client *operator.Client, id string) error {
	script := []string{`echo "hello from $(uname -n), as $(id -un)"`, `echo "and this is standard error" >&2`}
	inv, err := client.RunShell(ctx, id, script, func(status string) { d.say("   %s", status) })
	if err != nil {
		return err
	}
	d.say("   standard output: %s   standard error:  %s   exit code:       %d", inv.StandardOutputContent, inv.StandardErrorContent, inv.ResponseCode)
	if inv.Status != "Success" {
		return fmt.Errorf("the command ended as %s", inv.StatusDetails)
	}
	return nil
}

// shell opens a session, types into it and shows what came back.
func (d *demo) shell(ctx context.Context, client *operator.Client, id string) error {
	var out bytes.Buffer
	typed := "echo \"a shell of $(id -un), process $$\"\nexit 0\n"
	code := openShell(ctx, streams{strings.NewReader(typed), &out, &out}, client, ssm.StartSessionInput{Target: id, Reason: "demo"})
	for line := range strings.Lines(out.String()) {
		d.say("   | %s", strings.TrimRight(line, "\r\n"))
	}
	if code != exitOK || !strings.Contains(out.String(), "a shell of ") {
		return fmt.Errorf("the shell ended with %d", code)
	}
	return nil
}

// paste prints lines to copy.
func (d *demo) paste(id string) {
	d.say(`== up until Ctrl-C. In another terminal, the stock AWS CLI:

export AWS_SHARED_CREDENTIALS_FILE=%s AWS_DEFAULT_REGION=us-east-1
aws ssm describe-instance-information --endpoint-url %s
aws ssm send-command --endpoint-url %s --instance-ids %s --document-name AWS-RunShellScript --parameters 'commands=["uptime"]'
aws ssm list-command-invocations --endpoint-url %s --details

or our own client:

%s nodes -root %s
%s run -root %s %s -- uptime
%s shell -root %s %s`, d.creds, d.url, d.url, id, d.url, d.local(), d.root, d.local(), d.root, id, d.local(), d.root, id)
}

// local is how to call ssm-local beside this executable.
func (d *demo) local() string { return filepath.Join(filepath.Dir(d.exe), "ssm-local") }

// wait stays until the user ends it or one of the programs dies.
func (d *demo) wait(ctx context.Context) error {
	dead := make(chan string, len(d.kids))
	for _, c := range d.kids {
		if c.cmd.Args[len(c.cmd.Args)-1] == "-y" {
			continue // the registration is over
		}
		go func() { <-c.done; dead <- c.name }()
	}
	select {
	case <-ctx.Done():
		d.say("\n== stopping")
		return nil
	case name := <-dead:
		return fmt.Errorf("%s ended by itself; its log is below %s", name, d.root)
	}
}

// stop ends what was started, the last first, and waits for each.
func (d *demo) stop() error {
	var errs []error
	for i := len(d.kids) - 1; i >= 0; i-- {
		c := d.kids[i]
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-c.done:
		case <-time.After(20 * time.Second):
			_ = c.cmd.Process.Kill()
			<-c.done
			errs = append(errs, fmt.Errorf("%s did not end within 20 s and was killed", c.name))
		}
	}
	return errors.Join(errs...)
}
