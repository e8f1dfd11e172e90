package agent_test

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mgs"
)

// told is a log in memory.
type told struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *told) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *told) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// TestReload: a command that waited for its place runs when there are more
// places, beside the one that had the only one. What cannot change is named.
func TestReload(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	n := newNode(t, d)
	n.register()
	log := &told{}
	n.opt.Level = new(slog.LevelVar)
	n.opt.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: n.opt.Level}))
	n.opt.Config.Mds.CommandWorkersLimit = 1
	n.start()
	d.online()
	first := uuid.NewString()
	script, ran, open := gate(t.TempDir())
	d.push(first, shell(first, script...))
	d.acked(mgs.AckSuccessful)
	lines(t, ran, 1)
	second := uuid.NewString()
	d.push(second, shell(second, "true"))
	d.acked(mgs.AckSuccessful)

	next := n.opt.Config
	next.Mds.CommandWorkersLimit, next.Agent.Name, next.Ssm.HealthFrequencyMinutes = 2, "other", 60
	next.SSMAgent.LogLevel = "debug"
	n.a.Reload(next)
	if r := d.final(second); r.DocumentStatus != doc.Success { // while the first one still has its place
		t.Errorf("%+v", r)
	}
	if !log.has("Ssm.HealthFrequencyMinutes, Agent.Name") || !log.has(`changed="Mds.CommandWorkersLimit, ssmagent.LogLevel"`) || n.opt.Level.Level() != slog.LevelDebug {
		t.Errorf("level %v, the log says\n%s", n.opt.Level, &log.text)
	}
	if err := os.WriteFile(open, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := d.final(first); r.DocumentStatus != doc.Success || r.RuntimeStatus["script"].StandardOutput != "finished\n" {
		t.Errorf("%+v", r)
	}
}
