package network

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"testing"
	"time"
)

const inside = "NETWORK_TEST_NAMESPACE"

// TestChanges sees a link come up and an address come and go, in a network of
// its own.
func TestChanges(t *testing.T) {
	t.Parallel()
	if os.Getenv(inside) == "" {
		again(t)
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	news, err := Changes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	told := func(what string, want bool) {
		t.Helper()
		select {
		case _, ok := <-news:
			if ok != want {
				t.Errorf("%s: told %v, want %v", what, ok, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: nothing is told", what)
		}
	}
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"addr", "add", "192.0.2.1/32", "dev", "lo"}, {"addr", "del", "192.0.2.1/32", "dev", "lo"}} {
		if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v %s", args, err, out)
		}
		told(args[0]+" "+args[1], true)
	}
	cancel()
	for range news { // until it is closed
		t.Log("told before the end")
	}
}

// again runs this test in a network namespace.
func again(t *testing.T) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "unshare", "-n", "true").CombinedOutput(); err != nil && os.Getenv("CI") == "" {
		t.Skipf("needs a network namespace: %s", out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "-n", self, "-test.run", "^TestChanges$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=yes")
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestChanges")) {
		t.Fatalf("in a network of its own: %v\n%s", err, out)
	}
}
