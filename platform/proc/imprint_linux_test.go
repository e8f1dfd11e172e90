package proc_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ssmagent/platform/proc"
)

// imprintVar makes this test program one that does what it says, says whether
// it then still is as it was, and waits for its standard input to end.
const imprintVar = "SSMAGENT_PROC_IMPRINT"

// imprinted are things that happen to a process between two documents.
func imprinted() map[string]func() error {
	sh := func(script string) func() error {
		return func() error {
			c := exec.Command("/bin/sh", "-c", script)
			c.Stderr = os.Stderr
			return c.Run()
		}
	}
	setrlimit := func(what int) func() error {
		return func() error {
			var l unix.Rlimit
			if err := unix.Prlimit(os.Getpid(), what, nil, &l); err != nil {
				return err
			}
			l.Cur = min(l.Cur, 1<<20) / 2
			return unix.Prlimit(os.Getpid(), what, &l, nil)
		}
	}
	return map[string]func() error{
		"nothing":           func() error { return nil },
		"a child that went": sh("exit 0"),
		"a tree that went":  sh("sh -c 'sh -c true'; cd /; umask 077; ulimit -n 16"),
		"a child":           sh("sleep 60 >/dev/null 2>&1 &"),
		"a child in a session of its own, by two forks": sh("(setsid sleep 60 >/dev/null 2>&1 &) & wait"),
		"an orphan that ends by itself":                 sh("(true &) & wait"),
		"open files":                                    setrlimit(unix.RLIMIT_NOFILE),
		"processor time":                                setrlimit(unix.RLIMIT_CPU),
		"directory":                                     func() error { return os.Chdir("/") },
		"priority":                                      func() error { return unix.Setpriority(unix.PRIO_PROCESS, os.Getpid(), 5) },
		"priority for memory":                           func() error { return os.WriteFile("/proc/self/oom_score_adj", []byte("900"), 0) },
	}
}

func imprintMain(what string) int {
	if err := proc.BecomeSubreaper(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	asThen := proc.Imprint()
	if err := imprinted()[what](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(asThen())
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := proc.KillDescendants(context.Background(), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestImprint(t *testing.T) {
	if what := os.Getenv(imprintVar); what != "" {
		os.Exit(imprintMain(what))
	}
	t.Parallel()
	unchanged := map[string]bool{"nothing": true, "a child that went": true, "a tree that went": true}
	for what := range imprinted() {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := exec.Command(os.Args[0], "-test.run=^TestImprint$")
			c.Env = append(os.Environ(), imprintVar+"="+what)
			c.Dir, c.Stderr = t.TempDir(), os.Stderr
			in, err := c.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			said, err := bufio.NewReader(out).ReadString('\n')
			if want := fmt.Sprintln(unchanged[what]); said != want || err != nil {
				t.Errorf("as it was: %q, want %q (%v)", strings.TrimSpace(said), strings.TrimSpace(want), err)
			}
			_ = in.Close()
			if err := c.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
