package users_test

import (
	"log/slog"
	"os"
	"testing"

	"ssmagent/platform/secfile"
	"ssmagent/users"
	"ssmagent/users/userstest"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	machine, added := users.Machine(t)
	userstest.Run(t, machine)
	if c := added(); len(c) != 1 || c[0] != "-m ssm-user" {
		t.Errorf("useradd was called %q", c)
	}
}

// TestReal is the suite on a machine that can be thrown away, which has the
// accounts ada and toor: make test-install runs it in one.
func TestReal(t *testing.T) {
	if os.Getenv("SSMAGENT_FRESH_ROOT") == "" {
		t.Skip("makes a real account: make test-install runs it in a root of its own")
	}
	userstest.Run(t, users.New(secfile.OS(), t.TempDir(), slog.New(slog.DiscardHandler)))
}
