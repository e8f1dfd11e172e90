package shell

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// killWait is how long processes may take to be gone after SIGKILL.
	killWait = 3 * time.Second
	// lookAfter and lookAtMost bound the growing intervals at which Hangup
	// looks whether a session is empty: no event tells of it.
	lookAfter  = 2 * time.Millisecond
	lookAtMost = 50 * time.Millisecond
)

// member is a process of a session.
type member struct {
	pid    int
	zombie bool
}

// endSession ends every process of the session that pid leads (or led: pid is
// not reaped yet, so that the number still means this session).
func endSession(pid int, grace time.Duration, exited <-chan struct{}) error {
	left, err := living(pid)
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL) // the one that needs no list
		return err
	}
	for _, m := range left {
		_ = unix.Kill(m.pid, unix.SIGHUP)
		_ = unix.Kill(m.pid, unix.SIGCONT) // a stopped process hears nothing
	}
	if left, err = awaitEmpty(pid, grace, exited, nil); err != nil || len(left) == 0 {
		return err
	}
	// Again at every look: what is killed may just have started another.
	left, err = awaitEmpty(pid, killWait, exited, func(m member) { _ = unix.Kill(m.pid, unix.SIGKILL) })
	if err != nil || len(left) == 0 {
		return err
	}
	return fmt.Errorf("hang up: %d of another user or stuck in the kernel, among them process %d: %w", len(left), left[0].pid, ErrLeftOver)
}

// awaitEmpty looks at the session until nothing lives in it or d has passed,
// and does each to what it finds.
func awaitEmpty(pid int, d time.Duration, exited <-chan struct{}, each func(member)) ([]member, error) {
	end := time.NewTimer(d)
	defer end.Stop()
	pause := lookAfter
	look := time.NewTimer(0)
	defer look.Stop()
	over := false
	for {
		select {
		case <-exited: // look at once when the leader has gone
			exited = nil
		case <-look.C:
		case <-end.C:
			over = true
		}
		left, err := living(pid)
		if err != nil || len(left) == 0 || over {
			return left, err
		}
		if each != nil {
			for _, m := range left {
				each(m)
			}
		}
		look.Reset(pause)
		pause = min(2*pause, lookAtMost)
	}
}

// living lists the processes of session sid that are not zombies.
func living(sid int) ([]member, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("hang up: list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("hang up: list processes: %w", err)
	}
	var out []member
	buf := make([]byte, 512)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		// getsid is cheaper than a look into /proc, and most are not ours.
		if s, err := unix.Getsid(pid); err != nil || s != sid {
			continue
		}
		if m, err := readMember(pid, sid, buf); err == nil && !m.zombie {
			out = append(out, m)
		}
	}
	return out, nil
}

var errForeign = errors.New("not of this session")

// readMember reads /proc/<pid>/stat. Its second field, in parentheses, may
// hold anything; the third is the state, the sixth the session.
func readMember(pid, sid int, buf []byte) (member, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return member{}, err
	}
	defer f.Close()
	n, err := f.Read(buf)
	if err != nil {
		return member{}, err
	}
	_, rest, ok := cutLast(buf[:n], ')')
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 4 {
		return member{}, errForeign
	}
	if s, err := strconv.Atoi(string(fields[3])); err != nil || s != sid {
		return member{}, errForeign
	}
	return member{pid: pid, zombie: fields[0][0] == 'Z' || fields[0][0] == 'X'}, nil
}

func cutLast(b []byte, sep byte) (before, after []byte, found bool) {
	i := bytes.LastIndexByte(b, sep)
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+1:], true
}
