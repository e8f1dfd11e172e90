//go:build unix

package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a child, or one that was found again.
type process struct {
	id    ID
	child bool
	group bool   // it heads its process group
	hold  handle // the system's own hold on it

	once sync.Once
	done chan struct{}

	mu     sync.Mutex // guards what follows, and the pid against being reaped while signalled
	reaped bool
	state  State
	err    error
	usage  time.Duration
}

func start(s Spec) (Process, error) {
	attr, closeFiles, err := attributes(s)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Path, err)
	}
	defer closeFiles()
	take := handles(attr.Sys)
	// Descriptors that we were born with (a worker's own) stay with us.
	if err := closeOnExec(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Path, err)
	}
	pid, err := fork(s, attr)
	runtime.KeepAlive(s)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Path, describe(s, err))
	}
	p := &process{child: true, group: s.Group || s.Session, done: make(chan struct{})}
	p.id.PID = pid
	p.hold = take(pid)
	st, err := readStat(pid)
	if err != nil {
		_ = p.Kill()
		_, _ = p.Wait(context.Background())
		return nil, fmt.Errorf("start %s: its start time: %w", s.Path, err)
	}
	p.id.Start = st.start
	return p, nil
}

// describe tells apart what execve's ENOENT leaves open.
func describe(s Spec, err error) error {
	if errors.Is(err, unix.ENOENT) {
		if s.Dir != "" {
			if _, serr := os.Stat(s.Dir); serr != nil {
				return fmt.Errorf("working directory: %w", serr)
			}
		}
		if _, serr := os.Stat(s.Path); serr == nil {
			return fmt.Errorf("the interpreter it names does not exist: %w", err)
		}
	}
	return err
}

func unborn(State) error { return nil }

func attributes(s Spec) (*syscall.ProcAttr, func(), error) {
	sys := &syscall.SysProcAttr{Setsid: s.Session, Setpgid: s.Group && !s.Session}
	switch {
	case s.Principal.Token != 0:
		return nil, nil, fmt.Errorf("tokens exist on Windows only: %w", errors.ErrUnsupported)
	case s.Tethered:
		return nil, nil, fmt.Errorf("processes are tethered to ours on Windows only: %w", errors.ErrUnsupported)
	case s.CommandLine != "":
		return nil, nil, fmt.Errorf("command lines exist on Windows only, give arguments: %w", errors.ErrUnsupported)
	case s.Scope != "":
		return nil, nil, fmt.Errorf("job objects exist on Windows only: %w", errors.ErrUnsupported)
	case s.Path == "" || s.Path[0] != '/':
		return nil, nil, fmt.Errorf("path %q is not absolute", s.Path)
	case len(s.Args) == 0:
		return nil, nil, errors.New("no argv[0] given")
	}
	sys.Credential = credential(s.Principal)
	files, closeFiles, err := stdio(s)
	if err != nil {
		return nil, nil, err
	}
	env := s.Env
	if env == nil {
		env = []string{}
	}
	return &syscall.ProcAttr{Dir: s.Dir, Env: env, Files: files, Sys: sys}, closeFiles, nil
}

// credential is nil when p is what we are: changing to it takes rights that we
// may not have.
func credential(p Principal) *syscall.Credential {
	if !p.Set {
		return nil
	}
	same := int(p.UID) == os.Geteuid() && int(p.GID) == os.Getegid()
	if same && p.Groups == nil && p.UID != 0 {
		return nil
	}
	return &syscall.Credential{Uid: p.UID, Gid: p.GID, Groups: p.Groups}
}

func stdio(s Spec) (files []uintptr, closeFiles func(), err error) {
	closeFiles = func() {}
	var null *os.File
	add := func(f *os.File) {
		if f == nil {
			f = null
		}
		files = append(files, f.Fd())
	}
	if s.Stdin == nil || s.Stdout == nil || s.Stderr == nil {
		if null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
			return nil, nil, err
		}
		closeFiles = func() { null.Close() }
	}
	add(s.Stdin)
	add(s.Stdout)
	add(s.Stderr)
	for _, f := range s.ExtraFiles {
		if f == nil {
			closeFiles()
			return nil, nil, errors.New("a nil among ExtraFiles")
		}
		files = append(files, f.Fd())
	}
	return files, closeFiles, nil
}

// maskMu guards the process's umask while a child is born with another.
var maskMu sync.Mutex

// forkMasked starts the child, for whose umask no thread of its own could be
// had: files that others make meanwhile get that umask. Those of ours that
// matter say their rights and have them checked.
func forkMasked(s Spec, attr *syscall.ProcAttr) (int, error) {
	maskMu.Lock()
	defer maskMu.Unlock()
	defer unix.Umask(unix.Umask(s.Umask & 0o777))
	return syscall.ForkExec(s.Path, s.Args, attr)
}

// markDescriptors marks every descriptor but the standard ones.
func markDescriptors() error {
	dir, err := os.Open(descriptorDir)
	if err != nil {
		return fmt.Errorf("find our descriptors: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("find our descriptors: %w", err)
	}
	for _, name := range names {
		if fd, ok := number(name); ok && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

func find(id ID) (Process, error) {
	// The handle first: then the start time proves that it is of the right one.
	hold, err := grasp(id.PID)
	if err != nil {
		return nil, err
	}
	st, err := readStat(id.PID)
	if err != nil || st.start != id.Start || st.dead() {
		hold.close()
		if err != nil && !gone(err) {
			return nil, fmt.Errorf("find process %d: %w", id.PID, err)
		}
		return nil, ErrGone
	}
	return &process{id: id, hold: hold, group: st.pgrp == id.PID, done: make(chan struct{})}, nil
}

// Usage implements Process.
func (p *process) Usage() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.usage
}

// Kill implements Process. What has ended already is no error.
func (p *process) Kill() error { return p.signal(unix.SIGKILL) }

func (p *process) signal(sig unix.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return nil
	}
	err := p.send(sig)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("send %v to process %d: %w", sig, p.id.PID, err)
	}
	return nil
}

func (p *process) send(sig unix.Signal) error {
	if sent, err := p.hold.send(sig); sent {
		return err
	}
	if !p.child && !running(p.id) {
		return unix.ESRCH
	}
	return unix.Kill(p.id.PID, sig)
}

// KillGroup implements Process.
func (p *process) KillGroup() error {
	if !p.group {
		return fmt.Errorf("process %d was started without a group of its own", p.id.PID)
	}
	// While the group has members its number is given to no other process; so
	// if a younger one has it, there is nothing left of ours.
	if st, err := readStat(p.id.PID); err == nil && st.start != p.id.Start {
		return nil
	}
	if err := unix.Kill(-p.id.PID, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process group %d: %w", p.id.PID, err)
	}
	return nil
}

// Signal implements Process.
func (p *process) Signal(s Signal) error {
	number, ok := map[Signal]syscall.Signal{Interrupt: unix.SIGINT, Quit: unix.SIGQUIT, Hangup: unix.SIGHUP}[s]
	if !ok {
		return fmt.Errorf("signal %d of process %d is unknown: %w", s, p.id.PID, errors.ErrUnsupported)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped || !running(p.id) {
		return nil
	}
	pid := p.id.PID
	if p.group {
		pid = -pid
	}
	if err := unix.Kill(pid, number); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send %v to process %d: %w", number, p.id.PID, err)
	}
	return nil
}

// The real-time signals, as programs number them.
const (
	firstRealTime = 34
	lastRealTime  = 64
)

func signalOf(text string) (int, string) {
	for n := syscall.Signal(1); n <= lastRealTime && text != ""; n++ {
		if n.String() != text {
			continue
		}
		name := unix.SignalName(n)
		if name == "" && n >= firstRealTime {
			name = fmt.Sprintf("SIGRTMIN+%d", int(n)-firstRealTime)
		}
		return int(n), name
	}
	return 0, ""
}
