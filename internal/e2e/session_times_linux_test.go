package e2e

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane"
	"ssmagent/internal/fsys/fsystest"
)

// timedPlane is a control plane in this process, whose time the test makes. Its
// agents and clients are real ones: they allow it five minutes.
func timedPlane(t *testing.T) (*plane, *clock.Fake) {
	t.Helper()
	now := clock.NewFake(time.Now())
	dir := t.TempDir()
	s, err := controlplane.New(controlplane.Options{
		Dir: dir, FS: fsystest.NewDisk(), Listen: "127.0.0.1:0", Clock: now, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		WriteSecret: func(path string, b []byte) error { return os.WriteFile(path, b, 0o600) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	<-s.Ready()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &plane{t: t, url: "http://" + s.Addr().String(), creds: filepath.Join(dir, controlplane.CredentialsFile)}, now
}

// TestSessionTimes: a shell ends when nobody types for the idle time-out of its
// document, and after the maximum duration also when somebody does.
func TestSessionTimes(t *testing.T) {
	t.Parallel()
	p, now := timedPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	for name, inputs := range map[string]string{"Idle": `"idleSessionTimeout":"1"`, "Busy": `"idleSessionTimeout":"60","maxSessionDuration":"2"`} {
		if _, err := p.sdk().CreateDocument(t.Context(), &ssm.CreateDocumentInput{Name: &name, DocumentType: types.DocumentTypeSession,
			Content: aws.String(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{` + inputs + `}}`)}); err != nil {
			t.Fatal(err)
		}
	}
	open := func(document string) (pe *person, pid string) {
		pe = sit(t, p.shell(p.url, n.id, "-document", document), 80, 24)
		pe.sees(`[#$] $`)
		pe.types("echo $((6*7)) $$\n")
		return pe, pe.sees(`\n42 (\d+)\r*\n`)[1]
	}
	idle, one := open("Idle")
	busy, two := open("Busy")
	late, err := p.sdk().StartSession(t.Context(), &ssm.StartSessionInput{Target: &n.id})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, _, err := attach(ctx, t, *late.StreamUrl, *late.TokenValue).conn.Read(ctx); err != nil { // the agent is there
		t.Fatal(err)
	}
	again, err := p.sdk().ResumeSession(t.Context(), &ssm.ResumeSessionInput{SessionId: late.SessionId})
	if err != nil {
		t.Fatal(err)
	}
	now.Advance(61 * time.Second)
	refused(ctx, t, *again.StreamUrl, *again.TokenValue) // good for a minute
	p.terminate(*late.SessionId)
	idle.sees(`idle for 1 minute`)
	if code := idle.ends(); code != 255 {
		t.Errorf("idle: the client ended with %d", code)
	}
	busy.types("echo still $((6*7))\n")
	busy.sees(`\nstill 42\r*\n`)
	now.Advance(60 * time.Second)
	busy.sees(`2 minutes`)
	if code := busy.ends(); code != 255 {
		t.Errorf("busy: the client ended with %d", code)
	}
	n.noShells(one, two)
	p.history(n.id, 3)
}
