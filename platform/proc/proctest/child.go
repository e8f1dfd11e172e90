// Package proctest is the conformance suite of platform/proc. It runs against
// real processes only: a test binary calls Main from its TestMain and so is
// also the program that the suite starts.
package proctest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ssmagent/platform/proc"
)

// role is the environment variable that makes the test binary a child.
const role = "SSMAGENT_PROCTEST"

// Main ends the process if it was started as a child of the suite.
func Main() {
	if os.Getenv(role) == "" {
		return
	}
	args := os.Args[1:]
	if len(args) == 0 {
		os.Exit(99)
	}
	os.Exit(child(args[0], args[1:]))
}

func child(what string, args []string) int {
	switch what {
	case "exit":
		code, _ := strconv.Atoi(args[0])
		return code
	case "report":
		return report()
	case "hang":
		return hang(args)
	case "tree":
		return startTree(args)
	case "burn":
		for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); {
		}
		return 0
	}
	return 98
}

// Report is what a child sees of itself.
type Report struct {
	Args  []string
	Env   []string
	Dir   string
	FDs   []string
	Umask string
	Stdin string
	PGID  int
	SID   int
	Self  proc.ID
}

func report() int {
	r := Report{Args: os.Args, Env: os.Environ(), FDs: openDescriptors(), Umask: umask()}
	r.Dir, _ = os.Getwd()
	in, err := io.ReadAll(os.Stdin)
	r.Stdin = string(in)
	if err != nil {
		r.Stdin = "error: " + err.Error()
	}
	r.PGID, r.SID = groups()
	r.Self, _ = proc.Self()
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return 97
	}
	fmt.Fprint(os.Stderr, "standard error")
	return 0
}

// hang says its ID on standard output and waits to be ended. It ignores what
// it may, and ends by itself should the suite have gone without ending it.
func hang(args []string) int {
	signal.Ignore(os.Interrupt)
	id, err := proc.Self()
	if err != nil {
		return 96
	}
	fmt.Printf("%d %d %s\n", id.PID, id.Start, strings.Join(args, " "))
	time.AfterFunc(time.Minute, func() { os.Exit(95) })
	select {}
}

// startTree starts a descendant for each element of args[0] ("plain",
// "group", "session", "tethered"), each a child of the one before, the last one hanging;
// with args[1] == "quit" the parents end at once and leave orphans.
func startTree(args []string) int {
	kinds := strings.Split(args[0], ",")
	quit := len(args) > 1 && args[1] == "quit"
	self, err := os.Executable()
	if err != nil {
		return 94
	}
	next := []string{self, "hang", kinds[0]}
	if len(kinds) > 1 {
		next = append([]string{self, "tree", strings.Join(kinds[1:], ",")}, args[1:]...)
	}
	s := proc.Spec{Path: self, Args: next, Env: os.Environ(), Stdout: os.Stdout, Group: kinds[0] == "group", Session: kinds[0] == "session", Tethered: kinds[0] == "tethered"}
	if _, err := proc.Start(s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 93
	}
	if quit {
		return 0
	}
	return hang([]string{"parent"})
}

// spec is a child of the suite; the role is in its environment.
func spec(args ...string) (proc.Spec, error) {
	self, err := os.Executable()
	if err != nil {
		return proc.Spec{}, err
	}
	if self, err = filepath.Abs(self); err != nil {
		return proc.Spec{}, err
	}
	// The race detector's exit would take a second.
	env := []string{role + "=1", "GORACE=atexit_sleep_ms=0"}
	for _, name := range []string{"SYSTEMROOT", "TEMP", "GOCOVERDIR"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return proc.Spec{Path: self, Args: append([]string{"proctest"}, args...), Env: env}, nil
}

// readIDs reads n lines of hang.
func readIDs(r io.Reader, n int) (map[string]proc.ID, error) {
	ids := map[string]proc.ID{}
	sc := bufio.NewScanner(r)
	for i := 0; i < n && sc.Scan(); i++ {
		f := strings.Fields(sc.Text())
		if len(f) < 3 {
			return nil, fmt.Errorf("unexpected line %q", sc.Text())
		}
		pid, err1 := strconv.Atoi(f[0])
		start, err2 := strconv.ParseUint(f[1], 10, 64)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("unexpected line %q", sc.Text())
		}
		ids[f[2]+strconv.Itoa(i)] = proc.ID{PID: pid, Start: start}
	}
	if len(ids) < n {
		return nil, fmt.Errorf("%d of %d processes said who they are: %w", len(ids), n, sc.Err())
	}
	return ids, nil
}

// osExec is a child that os/exec waits for, to see that it is left alone.
func osExec(args ...string) (*exec.Cmd, error) {
	s, err := spec(args...)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(s.Path, args...)
	cmd.Env = s.Env
	return cmd, nil
}
