package connect

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/credentials"
)

// TestMain is also the program of the tests below; its arguments say what it
// does.
func TestMain(m *testing.M) {
	switch args := os.Args[1:]; {
	case len(args) == 2 && args[0] == "say":
		_, _ = os.Stdout.WriteString(args[1])
	case len(args) == 1 && args[0] == "much":
		_, _ = os.Stdout.Write(bytes.Repeat([]byte("x"), maxOutput+1))
	case len(args) == 1 && args[0] == "fail":
		os.Exit(3)
	case len(args) == 1 && args[0] == "hang":
		c := make(chan os.Signal, 1)
		signal.Notify(c, os.Interrupt) // with nothing to wait for the runtime would end us
		<-c
	default:
		os.Exit(m.Run())
	}
}

func TestPrograms(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := run(t.Context(), self, "say", "a b"); string(b) != "a b" || err != nil {
		t.Errorf("say: %q, %v", b, err)
	}
	if b, err := runLine(t.Context(), `"`+self+`" say "a  b"`); string(b) != "a  b" || err != nil {
		t.Errorf("a line of the shell: %q, %v", b, err)
	}
	if _, err := run(t.Context(), self, "much"); err == nil || !strings.Contains(err.Error(), "printed more than") {
		t.Error(err)
	}
	if _, err := run(t.Context(), self, "fail"); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Error(err)
	}
	if _, err := run(t.Context(), "no-such-program-here"); !errors.Is(err, credentials.ErrNoProgram) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := run(ctx, self, "hang"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
