package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"ssmagent/internal/wire/ssm"
)

// forget has the fresh root be as before its first session.
const forget = "userdel -r ssm-user 2>/dev/null; rm -f /etc/sudoers.d/ssm-agent-users /var/lib/amazon/ssm/ssm-user.json; ! id ssm-user 2>/dev/null"

// first measures the session that makes ssm-user, with the machine's own tools
// in a root of its own.
func (b *bench) first(ctx context.Context) error {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "  first session with its account: not measured, it takes root")
		return nil
	}
	root, node, err := b.freshRoot(ctx)
	if err != nil {
		return err
	}
	defer root.end()
	var opens []float64
	for range runs {
		s, err := b.openOn(ctx, node, "$ ")
		if err != nil {
			return err
		}
		opens = append(opens, millis(s.first.Sub(s.asked)))
		if err := s.finish(ctx); err != nil {
			return err
		}
		for len(processesOf("/var/lib/amazon/ssm/"+node, "ssm-session")) > 0 {
			<-time.After(time.Millisecond)
		}
		if err := root.run(forget); err != nil {
			return err
		}
	}
	b.table.most("StartSession to prompt, ssm-user being made", "ms", median(opens), 300, 1055)
	return nil
}

// freshRoot is scripts/fresh-root.sh with an agent that is online.
type freshRoot struct {
	holder *exec.Cmd
	pid    string
	agent  *exec.Cmd
}

func (f *freshRoot) end() {
	_ = f.holder.Process.Kill() // and with it whatever runs in there
	_ = f.holder.Wait()
	if f.agent != nil {
		_ = f.agent.Wait()
	}
}

func (f *freshRoot) command(script string) *exec.Cmd {
	cmd := exec.Command("nsenter", "-t", f.pid, "-m", "-p", "-r", "-w", "--", "/bin/sh", "-c", script)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "AWS_EC2_METADATA_DISABLED=true"}
	return cmd
}

func (f *freshRoot) run(script string) error {
	out, err := f.command(script).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%.60s: %w: %s", script, err, out)
	}
	return nil
}

func (b *bench) freshRoot(ctx context.Context) (f *freshRoot, node string, err error) {
	f = &freshRoot{holder: exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "scripts/fresh-root.sh", filepath.Join(b.bin, "amazon-ssm-agent"))}
	f.holder.Stderr = os.Stderr
	out, err := f.holder.StdoutPipe()
	if err == nil {
		err = f.holder.Start()
	}
	if err != nil {
		return nil, "", err
	}
	defer func() {
		if err != nil {
			f.end()
		}
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, "", fmt.Errorf("fresh root: %w", err)
	}
	f.pid = strings.TrimSpace(line)
	cfg, err := b.config("ws" + strings.TrimPrefix(b.url, "http"))
	if err != nil {
		return nil, "", err
	}
	act, err := b.client.CreateActivation(ctx, ssm.CreateActivationInput{IamRole: "bench", DefaultInstanceName: "fresh"})
	if err != nil {
		return nil, "", err
	}
	if err := f.run("mkdir -p /etc/amazon/ssm && cat >/etc/amazon/ssm/amazon-ssm-agent.json <<'END'\n" + string(cfg) + "\nEND\n" +
		"amazon-ssm-agent -register -code " + string(act.ActivationCode) + " -id " + act.ActivationId + " -region " + b.client.Region() + " -y"); err != nil {
		return nil, "", err
	}
	registration, err := f.command("sed 's/.*\\(mi-[0-9a-f]*\\).*/\\1/' /var/lib/amazon/ssm/registration").Output()
	if err != nil {
		return nil, "", err
	}
	node = strings.TrimSpace(string(registration))
	f.agent = f.command("exec amazon-ssm-agent")
	if err := f.agent.Start(); err != nil {
		return nil, "", err
	}
	_, err = b.client.WaitOnline(ctx, node)
	return f, node, err
}
