package link

import (
	"context"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
)

func TestPurse(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	c := clock.NewFake(now)
	asked := make(chan struct{}, 9)
	p := NewPurse(c, false, func() { asked <- struct{}{} })
	answer := func(creds *Credentials, refused string) {
		<-asked
		if !p.Wanting() {
			t.Error("asked, but an agent that came now would not hear of it")
		}
		p.Put(nil, "") // an order about something else is no answer
		p.Put(creds, refused)
	}
	got := func() string {
		t.Helper()
		v, err := p.Retrieve(t.Context())
		if err != nil {
			return err.Error()
		}
		return v.AccessKeyID
	}
	go answer(&Credentials{AccessKeyID: "first", Expires: now.Add(time.Hour)}, "")
	for range 2 { // the second time without asking
		if g := got(); g != "first" {
			t.Fatal(g)
		}
	}
	c.Advance(59*time.Minute + 30*time.Second)
	if g := got(); g != "first" || len(asked) != 1 {
		t.Fatalf("%s, asked %d times for the next ones", g, len(asked))
	}
	answer(&Credentials{AccessKeyID: "second"}, "")
	c.Advance(100 * time.Hour)
	if g := got(); g != "second" || len(asked) != 0 {
		t.Fatalf("%s, asked %d times about what never expires", g, len(asked))
	}
	p.Invalidate()
	go answer(nil, "no role")
	if g := got(); !strings.Contains(g, "no role") {
		t.Error(g)
	}
	go answer(&Credentials{AccessKeyID: "old", Expires: c.Now().Add(-time.Second)}, "")
	if g := got(); !strings.Contains(g, "expired") {
		t.Error(g)
	}
	p.Invalidate()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Retrieve(gone); err == nil {
		t.Error("credentials from nowhere")
	}
}
