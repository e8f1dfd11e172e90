package cloudwatch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
	"ssmagent/platform/secfile"
)

// machine is one on which the program's processes end when they are told.
type machine struct {
	mu      sync.Mutex
	started []proc.Spec
	all     map[proc.ID]*process
	refuse  error
}

func (m *machine) start(s proc.Spec) (proc.Process, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse != nil {
		return nil, m.refuse
	}
	m.started = append(m.started, s)
	p := &process{id: proc.ID{PID: len(m.started), Start: 7}, ended: make(chan struct{})}
	m.all[p.id] = p
	return p, nil
}

func (m *machine) refuses(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuse = err
}

func (m *machine) find(id proc.ID) (proc.Process, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.all[id]
	if p == nil || !p.runs() {
		return nil, proc.ErrGone
	}
	return p, nil
}

func (m *machine) running() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.all {
		if p.runs() {
			n++
		}
	}
	return n
}

func (m *machine) last() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all[proc.ID{PID: len(m.started), Start: 7}]
}

type process struct {
	proc.Process

	id    proc.ID
	once  sync.Once
	ended chan struct{}
}

func (p *process) runs() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}
func (p *process) ID() proc.ID      { return p.id }
func (p *process) KillGroup() error { p.once.Do(func() { close(p.ended) }); return nil }
func (p *process) Kill() error      { return p.KillGroup() }

func (p *process) Wait(ctx context.Context) (proc.State, error) {
	if !p.runs() {
		return proc.State{}, nil
	}
	select {
	case <-p.ended:
		return proc.State{}, nil
	case <-ctx.Done():
		return proc.State{}, ctx.Err()
	}
}

// lab has the program, which is never started.
func lab(t *testing.T) (Plugin, *machine) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, programName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m := &machine{all: map[proc.ID]*process{}}
	return Plugin{InstanceID: "mi-1", Region: "eu-west-1", Program: Program{
		Dir: dir, FS: secfile.OS(), Start: m.start, Find: m.find, Clock: clock.Real{}, Lock: secfile.Lock,
	}}, m
}

func run(t *testing.T, p Plugin, properties any, startType any) (step.Outcome, string, string) {
	t.Helper()
	var out, errs bytes.Buffer
	o := p.Run(t.Context(), step.Input{Properties: properties, Settings: map[string]any{"startType": startType}, Stdout: &out, Stderr: &errs})
	return o, out.String(), errs.String()
}

func written(t *testing.T, p Plugin) map[string]any {
	t.Helper()
	b, err := os.ReadFile(p.Program.path(configName))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLife(t *testing.T) {
	t.Parallel()
	p, m := lab(t)
	p.Program.Env = []string{"http_proxy=http://p:1", "no_proxy=a,b"}
	config := `{"EngineConfiguration":{"PollInterval":"00:00:15"},"isenabled":false}`
	o, stdout, stderr := run(t, p, config, "Enabled")
	if o.Status != doc.Success || o.Output != config || stdout != "Enabled" || stderr != "" {
		t.Fatalf("%+v %q %q", o, stdout, stderr)
	}
	want := []string{p.Program.path(programName), "mi-1", "eu-west-1", p.Program.path(configName), "http://p:1", "a,b"}
	if s := m.started[0]; !slices.Equal(s.Args, want) || s.Path != want[0] || s.Dir != p.Program.Dir || !s.Session {
		t.Errorf("%+v", s)
	}
	if c := written(t, p); c["IsEnabled"] != true || c["EngineConfiguration"] == nil || len(c) != 2 {
		t.Errorf("%v", c)
	}
	// Again, with what is there, given as an object without anything in it.
	p.Program.Env = nil
	if o, _, stderr := run(t, p, map[string]any{}, "Enabled"); o.Status != doc.Success || o.Output != "" || stderr != "" || m.running() != 1 || len(m.started) != 2 || len(m.started[1].Args) != 4 {
		t.Errorf("%+v %q, %d run", o, stderr, m.running())
	}
	if o, stdout, stderr := run(t, p, nil, "Disabled"); o.Status != doc.Success || stdout != "Disabled" || stderr != "" || m.running() != 0 {
		t.Errorf("%+v %q, %d run", o, stderr, m.running())
	}
	if c := written(t, p); c["IsEnabled"] != false || c["EngineConfiguration"] == nil {
		t.Errorf("%v", c)
	}
	if o, _, stderr := run(t, p, nil, "Disabled"); o.Status != doc.Success {
		t.Errorf("twice: %+v %q", o, stderr)
	}
}

// TestKeep: the program is started again when it has ended, by the next agent
// too, and not when it was disabled.
func TestKeep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, m := lab(t)
		if o, _, stderr := run(t, p, `{"EngineConfiguration":{}}`, "Enabled"); o.Status != doc.Success {
			t.Fatalf("%+v %q", o, stderr)
		}
		var told []error
		keep := func() (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { p.Program.Keep(ctx, func(err error) { told = append(told, err) }) })
			synctest.Wait()
			return func() { cancel(); wg.Wait() }
		}
		after := func(d time.Duration) { <-time.After(d); synctest.Wait() }
		stop := keep()
		_ = m.last().Kill()
		after(59 * time.Second)
		if m.running() != 0 {
			t.Error("it is started without a pause")
		}
		after(2 * time.Second)
		if m.running() != 1 || len(m.started) != 2 || !slices.Equal(m.started[1].Args, m.started[0].Args) {
			t.Errorf("%d run, %d were started", m.running(), len(m.started))
		}
		after(time.Hour)
		stop()
		if m.running() != 1 || len(m.started) != 2 {
			t.Errorf("%d run, %d were started", m.running(), len(m.started))
		}
		stop = keep() // the next agent finds it
		if len(m.started) != 2 {
			t.Errorf("%d were started", len(m.started))
		}
		stop()
		_ = m.last().Kill()
		m.refuses(errors.New("no memory"))
		stop = keep()
		m.refuses(nil)
		after(16 * time.Minute)
		if len(told) != 1 || !strings.Contains(told[0].Error(), "no memory") || m.running() != 1 {
			t.Errorf("%v told, %d run", told, m.running())
		}
		if o, _, stderr := run(t, p, nil, "Disabled"); o.Status != doc.Success {
			t.Fatalf("%+v %q", o, stderr)
		}
		after(time.Hour)
		stop()
		if m.running() != 0 || len(m.started) != 3 {
			t.Errorf("%d run, %d were started", m.running(), len(m.started))
		}
	})
}

func TestRefused(t *testing.T) {
	t.Parallel()
	p, m := lab(t)
	for want, c := range map[string][2]any{
		"is neither Enabled nor Disabled":       {nil, "enabled"},
		"startType must be a string":            {nil, 1},
		"is no JSON object":                     {"<xml>", "Enabled"},
		"the step has no configuration, and":    {"", "Enabled"},
		"the configuration is no JSON object":   {[]any{"a"}, "Enabled"},
		"the configuration has more than 10485": {`{"a":"` + strings.Repeat("x", maxConfiguration) + `"}`, "Enabled"},
	} {
		if o, _, stderr := run(t, p, c[0], c[1]); o.Status != doc.Failed || !strings.Contains(stderr, want) {
			t.Errorf("%s: %+v %q", want, o, stderr)
		}
	}
	p.Program.Dir = t.TempDir()
	for _, word := range []string{"Enabled", "Disabled"} {
		if o, _, stderr := run(t, p, "{}", word); o.Status != doc.Failed || !strings.Contains(stderr, "a program of AWS that only its own agent comes with") {
			t.Errorf("%s: %+v %q", word, o, stderr)
		}
	}
	if len(m.started) != 0 {
		t.Errorf("%+v", m.started)
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add(`{"IsEnabled":true,"EngineConfiguration":{}}`)
	f.Add(`{"isenabled":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		config, err := configuration(text)
		if err != nil || config == "" {
			return
		}
		b, err := switched(config, true)
		var m struct{ IsEnabled bool }
		if err != nil || json.Unmarshal(b, &m) != nil || !m.IsEnabled {
			t.Errorf("%q: %q %v", text, b, err)
		}
	})
}
