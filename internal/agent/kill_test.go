package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ssmagent/internal/agent"
	"ssmagent/internal/clock"
	"ssmagent/internal/config"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
	"ssmagent/platform"
	"ssmagent/platform/ipc"
	"ssmagent/platform/proc"
	"ssmagent/platform/secfile"
)

// nodeVar makes the test's own program an agent: its value is a nodeSpec.
const nodeVar = "SSMAGENT_TEST_NODE"

// nodeSpec is what an agent in a process of its own needs to know.
type nodeSpec struct {
	Root, URL string
	Traps     string // directory where a trap leaves its mark
	Workers   int    // Mds.CommandWorkersLimit
	Agent     int    // for workers: the agent's process
}

// nodeMain is the program of such an agent.
func nodeMain(text string) int {
	var s nodeSpec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s.Agent = os.Getpid()
	env, err := json.Marshal(s)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	tr := &trap{spec: s, in: "agent"}
	m := machine(platform.PathsBelow(s.Root))
	m.FS, m.Env = tap{secfile.OS(), tr.before}, append(m.Env, nodeVar+"="+string(env))
	m.Start = func(spec proc.Spec) (proc.Process, error) {
		p, err := proc.Start(spec)
		if err == nil {
			tr.mu.Lock()
			tr.others = append(tr.others, p.ID().PID)
			tr.mu.Unlock()
		}
		return p, err
	}
	c := config.Default()
	c.Ssm.Endpoint, c.Mds.Endpoint, c.Mgs.Endpoint = s.URL, s.URL, strings.Replace(s.URL, "http", "ws", 1)
	c.Mds.CommandWorkersLimit = s.Workers
	a, err := agent.New(agent.Options{Config: c, Clock: clock.Real{}, Version: "3.3.9000.0", Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Machine: m})
	if err == nil {
		err = a.Run(ctx, func() {})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// machine is this one, below paths.
func machine(paths platform.Paths) agent.Machine {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return agent.Machine{
		Info: func() platform.Info {
			return platform.Info{Type: "Linux", Name: "Testix", Version: "1", ComputerName: "host"}
		},
		Paths: paths, FS: secfile.OS(), Lock: secfile.Lock,
		Hardware: func(context.Context) (map[string]string, error) { return map[string]string{"machine-id": "1"}, nil },
		Env:      []string{"PATH=/usr/bin:/bin"}, Stderr: os.Stderr, Executable: exe,
		Start: proc.Start, Find: proc.Find, KillMarked: proc.KillMarked, Dial: ipc.Dial,
	}
}

// killed is the node under test: its agents are processes.
type killed struct {
	t     *testing.T
	d     *double
	n     *node
	traps string
	// workers is how many commands run at once. With one, each command of a
	// cell has another before it, whose worker it gets.
	workers int
	copy    string // ends all ids: what a command leaves is killed by its id, whosever it is
	agent   proc.Process
	log     *os.File
	gone    chan struct{}
	// restarted: the agent has died in this cell.
	restarted bool
	reused    int                 // cells whose two commands had one worker
	told      map[string][]string // results by job and step
	acks      map[string][]string // by job
}

func (k *killed) start() {
	k.t.Helper()
	spec, err := json.Marshal(nodeSpec{Root: k.n.opt.Machine.Paths.Root, URL: k.d.srv.URL, Traps: k.traps, Workers: k.workers})
	if err != nil {
		k.t.Fatal(err)
	}
	k.agent, err = proc.Start(proc.Spec{Path: k.n.opt.Machine.Executable, Args: []string{"agent"}, Env: append(k.n.opt.Machine.Env, nodeVar+"="+string(spec)), Stderr: k.log})
	if err != nil {
		k.t.Fatal(err)
	}
	gone := make(chan struct{})
	k.gone = gone
	p := k.agent
	go func() { _, _ = p.Wait(context.Background()); close(gone) }()
	k.d.online()
}

// until reads what the node says, confirms it, and delivers id again with every
// new life of the agent, until ok.
func (k *killed) until(id string, lines []string, ok func() bool) {
	k.t.Helper()
	deadline := time.After(patience)
	for !ok() {
		select {
		case m := <-k.d.frames:
			k.note(m.Type, m.Payload, m.ID.String())
		case <-k.gone:
			k.restarted = true
			k.start()
			k.push(id, lines)
		case <-time.After(time.Millisecond):
		case <-deadline:
			left, _ := filepath.Glob(filepath.Join(k.n.path(id), "*"))
			k.t.Fatalf("%s: no end; told %v, acks %v, left %v", id, k.told[jobID(id)], k.acks[jobID(id)], left)
		}
	}
}

// push delivers a command. An agent that dies meanwhile has a next life.
func (k *killed) push(id string, lines []string) {
	_, _ = k.d.send(mgs.TypeAgentJob, sendCommand(id, shell(id, lines...)))
}

func (k *killed) note(typ string, payload []byte, id string) {
	switch typ {
	case mgs.TypeAgentJobAck:
		if ack, err := mgs.Decode[mgs.AgentJobAck](payload); err == nil {
			k.acks[ack.JobId] = append(k.acks[ack.JobId], ack.ErrorMessage)
		}
	case mgs.TypeAgentJobReply:
		r, err := mgs.Decode[mgs.AgentJobReply](payload)
		var reply doc.Reply
		if err == nil {
			err = json.Unmarshal([]byte(r.Content), &reply)
		}
		if err != nil {
			k.t.Errorf("a reply: %v", err)
			return
		}
		for s, res := range reply.RuntimeStatus {
			k.tell(r.JobId+" step "+s, string(res.Status))
		}
		if reply.DocumentStatus.Terminal() {
			k.tell(r.JobId, string(reply.DocumentStatus))
		}
		_, _ = k.d.send(mgs.TypeAgentJobReplyAck, mgs.AgentJobReplyAck{JobId: r.JobId, AcknowledgedMessageId: id})
	}
}

func (k *killed) tell(of, s string) {
	if !slices.Contains(k.told[of], s) {
		k.told[of] = append(k.told[of], s)
	}
}

// settled says whether nothing but the tombstone is left of a job.
func (k *killed) settled(id string) bool {
	names, err := os.ReadDir(k.n.path(id))
	return err == nil && len(names) == 1 && names[0].Name() == "done" && len(k.told[jobID(id)]) > 0
}

// cell runs one command into its trap and returns where that was, if anywhere.
func (k *killed) cell(id string) string {
	k.t.Helper()
	dir := k.t.TempDir()
	ran := filepath.Join(dir, "ran")
	lines := []string{"echo begun >>" + ran, workerTo(filepath.Join(dir, "second")), "echo ended >>" + ran, "echo out"}
	k.restarted = false
	if k.workers == 1 {
		end := k.occupy("before-"+id, dir)
		k.push(id, lines)
		k.until(id, lines, func() bool { return k.restarted || len(k.acks[jobID(id)]) > 0 })
		end()
		k.until(id, lines, func() bool { return k.settled("before-" + id) })
	} else {
		k.push(id, lines)
	}
	k.until(id, lines, func() bool { return k.settled(id) })
	where := k.disarm(id)
	if where != "" && (strings.HasPrefix(id, "trap-agent") || strings.HasPrefix(id, "trap-worker-both")) {
		select { // it dies, if it has not yet
		case <-k.gone:
			k.start()
		default:
			if !k.restarted {
				take(k.t, "the agent's death", k.gone)
				k.start()
			}
		}
	}
	k.push(id, lines) // once more, after the end
	duplicates := len(k.acks[jobID(id)]) + 1
	k.until(id, lines, func() bool { return len(k.acks[jobID(id)]) >= duplicates && k.settled(id) })
	text, _ := os.ReadFile(ran)
	begun, ended := strings.Count(string(text), "begun"), strings.Count(string(text), "ended")
	final := k.told[jobID(id)]
	switch {
	case begun > 1 || len(final) != 1:
		k.t.Errorf("%s (%s): the script was begun %d times, results %v", id, where, begun, final)
	case final[0] == string(doc.Success) && (begun != 1 || ended != 1):
		k.t.Errorf("%s (%s): Success of a script that was begun %d times and ended %d times", id, where, begun, ended)
	case final[0] != string(doc.Success) && where == "":
		k.t.Errorf("%s: %v of a command that nothing happened to", id, final)
	}
	if k.workers == 1 {
		k.checkFirst(id, dir)
	}
	return where
}

// disarm ends a command's trap and returns what it killed before, if anything.
func (k *killed) disarm(id string) string {
	k.t.Helper()
	mark := filepath.Join(k.traps, id)
	if err := os.Symlink(over, mark); err != nil && !errors.Is(err, os.ErrExist) {
		k.t.Fatal(err)
	}
	where, err := os.Readlink(mark)
	if err != nil {
		k.t.Fatal(err)
	}
	if where == over {
		return ""
	}
	return where
}

// occupy has a command keep the only place until end.
func (k *killed) occupy(id, dir string) (end func()) {
	k.t.Helper()
	gate := filepath.Join(dir, "gate")
	lines := []string{"echo >>" + filepath.Join(dir, "occupied"), "until [ -e " + gate + " ]; do sleep 0.02; done", workerTo(filepath.Join(dir, "first"))}
	k.push(id, lines)
	k.until(id, lines, func() bool { _, err := os.Stat(filepath.Join(dir, "occupied")); return err == nil })
	return func() {
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			k.t.Fatal(err)
		}
	}
}

// workerTo is a line of a script that writes its worker's id, which leads the
// session, to a file.
func workerTo(file string) string { return "cut -d' ' -f6 /proc/$$/stat >>" + file }

// checkFirst looks that the first command of a cell ran once and is unharmed,
// unless its worker was killed too, and counts whether the other one had that.
func (k *killed) checkFirst(id, dir string) {
	k.t.Helper()
	occupied, _ := os.ReadFile(filepath.Join(dir, "occupied"))
	first, _ := os.ReadFile(filepath.Join(dir, "first"))
	second, _ := os.ReadFile(filepath.Join(dir, "second"))
	told := k.told[jobID("before-"+id)]
	lost := strings.HasPrefix(id, "trap-agent-both") && slices.Equal(told, []string{string(doc.Failed)})
	if string(occupied) != "\n" || !lost && !slices.Equal(told, []string{string(doc.Success)}) {
		k.t.Errorf("%s: the command before it wrote %q, results %v", id, occupied, told)
	}
	if len(second) > 0 && string(first) == string(second) {
		k.reused++
	}
}

// TestKills kills the agent, the worker and both, as kill -9 does, before every
// operation on the disk that either makes for a command: each ends with exactly
// one true result and no script runs twice.
func TestKills(t *testing.T) {
	t.Parallel()
	newKilled(t, config.Default().Mds.CommandWorkersLimit).through(
		"agent mkdir the job's directory", "agent sync request.json", "agent syncdir jobs", // received, promised
		"agent write worker.json", "worker sync events", // running, step result
		"agent sync outbox.log", "agent create done", // reported, finished
	)
}

// TestKillsOfASecondCommand is TestKills for commands that get the worker of
// the one before them, which has one true result too.
func TestKillsOfASecondCommand(t *testing.T) {
	t.Parallel()
	k := newKilled(t, 1)
	k.through("agent write worker.json", "worker sync events", "agent sync outbox.log")
	if t.Logf("%d second commands ran in the worker of the first", k.reused); k.reused == 0 {
		t.Error("none ran in the worker of the first")
	}
}

func newKilled(t *testing.T, workers int) *killed {
	t.Helper()
	d := newDouble(t)
	d.frames, d.pings = make(chan frame.Message, 1<<16), make(chan string, 1<<16)
	n := newNode(t, d)
	n.register()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	k := &killed{t: t, d: d, n: n, traps: t.TempDir(), log: log, workers: workers, copy: fmt.Sprintf("%d-%d", os.Getpid(), workers), told: map[string][]string{}, acks: map[string][]string{}}
	k.start()
	t.Cleanup(func() {
		_ = k.agent.Kill()
		<-k.gone
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("%s", text[max(0, len(text)-20000):])
		}
		log.Close()
	})
	return k
}

// through kills at every moment that a command without harm was seen to have,
// and checks that the given ones were among those.
func (k *killed) through(moments ...string) {
	k.t.Helper()
	seen := map[string]int{}
	k.cell("first-" + k.copy) // the audit log is made once
	for _, in := range []string{"agent", "worker"} {
		calm := "trap-" + in + "-none-" + k.copy
		k.cell(calm)
		record, err := os.ReadFile(filepath.Join(k.traps, calm+recordExt))
		if err != nil {
			k.t.Fatal(err)
		}
		plans := strings.Split(strings.TrimSpace(string(record)), "\n")
		for _, who := range []string{"alone", "both"} {
			cells := 0
			for i, plan := range plans {
				id := fmt.Sprintf("trap-%s-%s-%d-%s", in, who, i+1, k.copy)
				if err := os.WriteFile(filepath.Join(k.traps, id+planExt), []byte(plan), 0o600); err != nil {
					k.t.Fatal(err)
				}
				if where := k.cell(id); where != "" { // some moments, as of the audit log, may come before the command's or not at all
					seen[in+" "+where]++
					cells++
				}
			}
			k.t.Logf("killed in the %s (%s): %d times of %d", in, who, cells, len(plans))
		}
	}
	for where, n := range seen {
		k.t.Logf("%3d before %s", n, where)
	}
	for _, moment := range moments {
		if seen[moment] < 2 { // alone and both
			k.t.Errorf("killed only %d times before: %s", seen[moment], moment)
		}
	}
}
