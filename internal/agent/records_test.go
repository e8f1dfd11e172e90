package agent_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/record/audit"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mgs"
)

// TestCommandsAreAudited: one line when a command is accepted, one when it has
// ended, and none more when the agent is told of it twice or starts again.
func TestCommandsAreAudited(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	n := newNode(t, d)
	n.register()
	stop := n.start()
	take(t, "the control channel", d.opened)
	id := uuid.NewString()
	d.push(id, shell(id, "exit 3"))
	d.acked(mgs.AckSuccessful)
	d.final(id)
	d.push(id, shell(id, "exit 3"))
	d.acked(mgs.AckDuplicate)
	stop()
	n.start()()
	log := audit.New(audit.Options{Dir: n.opt.Machine.Paths.Audit, FS: n.opt.Machine.FS, Clock: n.opt.Clock, Lock: n.opt.Machine.Lock, Log: slog.New(slog.DiscardHandler)})
	r, err := log.Verify()
	if err != nil || len(r.Faults)+len(r.Notes) > 0 {
		t.Errorf("%+v %v", r, err)
	}
	var got []audit.Line
	if err := log.Each(func(l audit.Line) error { got = append(got, l); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Kind != audit.CommandAccepted || got[1].Kind != audit.CommandFinished || got[0].Command != id ||
		got[1].Command != id || got[1].Status != string(doc.Failed) || got[1].Node != instance {
		t.Errorf("%+v", got)
	}
}

// TestOldRecordingsGoAtStart: what became too old while no session ended.
func TestOldRecordingsGoAtStart(t *testing.T) {
	t.Parallel()
	d := newDouble(t)
	n := newNode(t, d)
	n.register()
	dir := n.opt.Machine.Paths.Recordings
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-337 * time.Hour)
	for i := range 3 {
		name := filepath.Join(dir, fmt.Sprintf("ada-%d.cast", i))
		if err := os.WriteFile(name, []byte("{}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if err := os.Chtimes(name, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	n.start()
	for deadline := time.Now().Add(patience); ; <-time.After(2 * time.Millisecond) {
		names, err := filepath.Glob(filepath.Join(dir, "*.cast"))
		if err != nil {
			t.Fatal(err)
		}
		if len(names) == 1 {
			if filepath.Base(names[0]) != "ada-0.cast" {
				t.Errorf("what stays is %v", names)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v", names)
		}
	}
}
