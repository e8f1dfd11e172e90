package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// waits: the unit was started on a machine that nobody has registered. The
// agent waits, and says for what.
func (l *life) waits() {
	eventually(l.t, "the unit to say what it waits for", func() bool {
		return strings.HasPrefix(l.m.unit("StatusText"), "waits for a registration: ")
	})
	if state := l.m.unit("ActiveState"); state != "active" {
		l.t.Errorf("without a registration the unit is %s", state)
	}
	l.stage("started before its registration, the unit waits")
}

// stays checks that the agent that waited is the one that serves.
func (l *life) stays() {
	if n := l.m.unit("NRestarts"); n != "0" {
		l.t.Errorf("the unit was started again %s times", n)
	}
	if text := l.m.unit("StatusText"); text != "" {
		l.t.Errorf("registered, the unit says %q", text)
	}
}

// reloads has systemd have a changed configuration taken over while a session
// lives, and then has one worker run one command after the other.
func (l *life) reloads() {
	pe := sit(l.t, l.p.stock(l.id), 80, 24)
	pe.sees(`[#$] $`)
	before := l.m.agent()
	l.p.configure(l.m.root(), map[string]any{"Mds": map[string]any{"Endpoint": l.p.url, "CommandWorkersLimit": 1}})
	l.m.do("systemctl", "reload", "amazon-ssm-agent")
	eventually(l.t, "the configuration to be taken over", func() bool {
		return strings.Contains(l.m.do("journalctl", "--no-pager", "--unit=amazon-ssm-agent", "--output=cat"), "the configuration was reloaded")
	})
	if now := l.m.agent(); now != before {
		l.t.Errorf("by the reload agent %d became %d", before, now)
	}
	pe.types("echo $((6*7))\n")
	pe.sees(`\n42\r*\n`)
	pe.types("exit\n")
	pe.ends()
	l.stage("systemctl reload; the shell lives on")
	l.reuses()
	l.p.configure(l.m.root(), nil)
	l.m.do("systemctl", "reload", "amazon-ssm-agent")
}

// reuses: a worker that runs another command is in that command's scope then.
func (l *life) reuses() {
	// $0 lies in a directory of the command's name.
	scoped := []string{
		"c=$(echo $0 | grep -o '[0-9a-f]\\{8\\}-[0-9a-f-]\\{27\\}' | head -n 1)",
		"until grep -q /ssmagent-command-.*$c.*scope /proc/self/cgroup; do sleep 0.05; done",
		"cut -d' ' -f6 /proc/$$/stat",
	}
	g := gate{"/root/ran", "/root/open"}
	first := l.p.send(l.id, append(g.script(), scoped...)...)
	eventually(l.t, "the first command to run", func() bool { return l.m.exists(g.ran) })
	ids := []string{first, l.p.send(l.id, scoped...), l.p.send(l.id, scoped...)}
	pending := func(id string) bool {
		return strings.Contains(l.m.do("ssm-cli", "commands", "show", id), "Pending")
	}
	eventually(l.t, "the others to wait", func() bool { return pending(ids[1]) && pending(ids[2]) })
	l.m.write(g.open, "")
	workers := map[string]bool{}
	for _, id := range ids {
		got := l.p.invocation(id, l.id)
		if got.Status != types.CommandInvocationStatusSuccess {
			l.t.Errorf("%s: %q %q", got.Status, *got.StandardOutputContent, *got.StandardErrorContent)
		}
		lines := strings.Fields(*got.StandardOutputContent)
		workers[lines[len(lines)-1]] = true
	}
	if len(workers) != 1 {
		l.t.Errorf("their workers are %v, not one", workers)
	}
	if told := l.m.do("journalctl", "--no-pager", "--output=cat", "SSM_COMMAND_ID="+first); !strings.Contains(told, "command finished") {
		l.t.Errorf("by the command's field the journal has %q", told)
	}
	l.m.do("rm", g.ran, g.open)
	eventually(l.t, "the scopes to go", func() bool {
		return !strings.Contains(l.m.do("systemctl", "list-units", "--no-legend", "--plain", "--type=scope"), "ssmagent-command-")
	})
	l.stage("one worker, three commands, each in a scope of its own")
}

const (
	quietFor = 10 * time.Second
	maxIdle  = 24 << 20 // bytes of memory; 18 MB are meant, see make bench
)

// idles tells what the agent takes while nothing happens. How often it was
// switched to is only told: the machine may be busy with other tests.
func (l *life) idles() {
	dir := filepath.Join(l.m.root(), "proc", fmt.Sprint(l.m.agent()))
	before := switches(l.t, dir)
	<-time.After(quietFor)
	rate := float64(switches(l.t, dir)-before) / quietFor.Seconds()
	rss := 1024 * number(l.t, filepath.Join(dir, "status"), `(?m)^VmRSS:\s+(\d+) kB`)
	l.stage(fmt.Sprintf("idle: %.1f MB of memory, %.2f context switches a second", float64(rss)/(1<<20), rate))
	if rss > maxIdle {
		l.t.Errorf("the idle agent has %d bytes in memory", rss)
	}
}

// switches is how often all threads of a process have been switched to.
func switches(t *testing.T, dir string) (sum int) {
	t.Helper()
	threads, err := filepath.Glob(filepath.Join(dir, "task", "*", "status"))
	if err != nil || len(threads) == 0 {
		t.Fatalf("threads below %s: %v, %v", dir, threads, err)
	}
	for _, file := range threads {
		sum += number(t, file, `(?m)^voluntary_ctxt_switches:\s+(\d+)`) + number(t, file, `(?m)^nonvoluntary_ctxt_switches:\s+(\d+)`)
	}
	return sum
}

// number finds one in a file.
func number(t *testing.T, file, pattern string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	g := regexp.MustCompile(pattern).FindSubmatch(text)
	if g == nil {
		t.Fatalf("%s has no %s", file, pattern)
	}
	n, err := strconv.Atoi(string(g[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
