package service_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"ssmagent/service"
)

// core is the environment variable that makes the test binary a service.
const core = "SSMAGENT_SERVICETEST"

func TestMain(m *testing.M) {
	if kind := os.Getenv(core); kind != "" {
		os.Exit(host(kind))
	}
	if a := os.Args; len(a) == 5 && a[1] == serviceHost {
		os.Exit(hostService(a[2], a[3], a[4]))
	}
	os.Exit(m.Run())
}

// host is a main that hosts a core; the exit code says what Run returned.
func host(kind string) int {
	o := service.Default()
	o.Log = func() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }
	o.Reload = func() { fmt.Println("reload") }
	if kind == "stuck" {
		o.StopWithin = 50 * time.Millisecond
	}
	err := service.Run(o, func(ctx context.Context, ready func()) error {
		ready()
		ready() // twice is once
		fmt.Println("ready")
		switch kind {
		case "dies":
			return errors.New("core's own error")
		case "finishes":
			return nil
		case "done":
			return fmt.Errorf("not here: %w", service.ErrDone)
		case "stuck", "patient":
			select {}
		case "children":
			out, err := exec.Command("/bin/grep", "SigIgn", "/proc/self/status").Output()
			fmt.Printf("%s", out)
			if err != nil {
				return err
			}
		case "badstop":
			<-ctx.Done()
			return errors.New("could not tidy up")
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, service.ErrStuck):
		return 3
	case errors.Is(err, service.ErrEnded):
		return 4
	}
	return 5
}

func TestUnasked(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{"dies": "service ended by itself: core's own error", "finishes": "service ended by itself"} {
		c := start(t, kind)
		if code := c.wait(t); code != 4 || !c.said(want) {
			t.Errorf("%s: code %d, stderr %s", kind, code, c.errText())
		}
	}
}

func TestNothingToDo(t *testing.T) {
	t.Parallel()
	c := start(t, "done")
	if code := c.wait(t); code != 0 || c.errText() != "" {
		t.Errorf("code %d, stderr %s", code, c.errText())
	}
}
