package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"ssmagent/platform/job"
)

// emptyWithin bounds the wait for what a tethered process leaves when it ends.
const emptyWithin = 5 * time.Second

type process struct {
	id       ID
	handle   windows.Handle
	job      *job.Job // nil for none
	group    bool
	tethered bool

	once sync.Once
	done chan struct{}

	mu     sync.Mutex // guards the handles and what follows
	closed bool
	state  State
	err    error
	usage  time.Duration
}

func start(s Spec) (Process, error) {
	p, err := begun(system(), s)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Path, err)
	}
	return p, nil
}

func check(s Spec) error {
	switch {
	case len(s.ExtraFiles) > 0:
		return fmt.Errorf("ExtraFiles have no numbers on Windows; pass a pipe's name: %w", errors.ErrUnsupported)
	case s.UmaskSet:
		return fmt.Errorf("a umask does not exist on Windows: %w", errors.ErrUnsupported)
	case s.Principal.Set:
		return fmt.Errorf("uid and gid exist on Linux only, give a token: %w", errors.ErrUnsupported)
	case !filepath.IsAbs(s.Path):
		return fmt.Errorf("path %q is not absolute", s.Path)
	case len(s.Args) == 0 && s.CommandLine == "":
		return errors.New("no argv[0] given")
	case s.Tethered && s.Session:
		return errors.New("a process cannot both outlive ours and end with it")
	}
	return nil
}

func begun(sys calls, s Spec) (*process, error) {
	if err := check(s); err != nil {
		return nil, err
	}
	c, err := newCreation(sys, s)
	if err != nil {
		return nil, err
	}
	defer c.close()
	p := &process{group: s.Group || s.Scope != "" || s.Tethered, tethered: s.Tethered, done: make(chan struct{})}
	if p.group {
		if err := p.herd(sys, s); err != nil {
			return nil, err
		}
	}
	info, err := c.run(s)
	if err != nil {
		return nil, errors.Join(err, p.disband())
	}
	defer func() { _ = sys.close(info.Thread) }()
	p.handle = info.Process
	p.id.PID = int(info.ProcessId)
	if err := p.begin(sys, info.Thread); err != nil {
		_ = windows.TerminateProcess(p.handle, job.KilledCode)
		p.release()
		return nil, errors.Join(err, p.disband())
	}
	return p, nil
}

// herd makes the process's job.
func (p *process) herd(sys calls, s Spec) error {
	name := ""
	if s.Scope != "" {
		name = "ssmagent-" + s.Scope
	}
	var err error
	if p.job, err = sys.newJob(name); err != nil {
		return err
	}
	if p.tethered {
		if err := sys.tether(p.job); err != nil {
			return errors.Join(err, p.disband())
		}
		return nil
	}
	// Members may outlive the leader, so the job stays open as long as p is known.
	runtime.AddCleanup(p, func(j *job.Job) { _ = j.Close() }, p.job)
	return nil
}

// disband gives back the job, which ends the members of a tethered one.
func (p *process) disband() error {
	if p.job == nil {
		return nil
	}
	return p.job.Close()
}

// begin puts the suspended process into its job, then lets it run: so it can
// start nothing outside.
func (p *process) begin(sys calls, thread windows.Handle) error {
	if p.job != nil {
		if err := sys.add(p.job, p.handle); err != nil {
			return err
		}
	}
	var err error
	if p.id.Start, err = sys.began(p.handle); err != nil {
		return err
	}
	if err := sys.resume(thread); err != nil {
		return fmt.Errorf("resume it: %w", err)
	}
	return nil
}

func startTime(h windows.Handle) (uint64, error) {
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(h, &created, &exited, &kernel, &user); err != nil {
		return 0, fmt.Errorf("its start time: %w", err)
	}
	return fileTime(created), nil
}

func fileTime(t windows.Filetime) uint64 {
	return uint64(t.HighDateTime)<<32 | uint64(t.LowDateTime)
}

func (p *process) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	if p.handle != 0 {
		windows.CloseHandle(p.handle)
	}
}

func find(id ID) (Process, error) {
	p, err := openProcess(id)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func openProcess(id ID) (*process, error) {
	if id.PID <= 0 {
		return nil, ErrGone
	}
	const look = windows.PROCESS_QUERY_LIMITED_INFORMATION | windows.SYNCHRONIZE
	h, err := windows.OpenProcess(look|windows.PROCESS_TERMINATE, false, uint32(id.PID))
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		h, err = windows.OpenProcess(look, false, uint32(id.PID))
	}
	if errors.Is(err, windows.ERROR_INVALID_PARAMETER) { // what it says of a pid that nobody has
		return nil, ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("find process %d: %w", id.PID, err)
	}
	p := &process{id: id, handle: h, done: make(chan struct{})}
	began, err := startTime(h)
	if err != nil || began != id.Start || !alive(h) {
		p.release()
		return nil, errors.Join(err, ErrGone)
	}
	return p, nil
}

func alive(h windows.Handle) bool {
	ev, err := windows.WaitForSingleObject(h, 0)
	return err == nil && ev == uint32(windows.WAIT_TIMEOUT)
}

func (p *process) await() {
	defer close(p.done)
	defer p.release()
	if p.tethered {
		defer func() { p.err = errors.Join(p.err, p.job.Empty(emptyWithin), p.disband()) }()
	}
	p.state.Code = -1
	if _, p.err = windows.WaitForSingleObject(p.handle, windows.INFINITE); p.err != nil {
		return
	}
	var code uint32
	if p.err = windows.GetExitCodeProcess(p.handle, &code); p.err != nil {
		return
	}
	p.state.Code = int(code)
	var created, exited, kernel, user windows.Filetime
	if windows.GetProcessTimes(p.handle, &created, &exited, &kernel, &user) == nil {
		p.mu.Lock()
		p.usage = time.Duration(fileTime(kernel)+fileTime(user)) * 100
		p.mu.Unlock()
	}
}

// Usage implements Process.
func (p *process) Usage() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.usage
}

// Kill implements Process. What has ended already is no error.
func (p *process) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || !alive(p.handle) {
		return nil
	}
	if err := windows.TerminateProcess(p.handle, job.KilledCode); err != nil && alive(p.handle) {
		return fmt.Errorf("terminate process %d: %w", p.id.PID, err)
	}
	return nil
}

// KillGroup implements Process.
func (p *process) KillGroup() error {
	if p.job != nil {
		return p.job.End()
	}
	if p.group {
		return fmt.Errorf("the job of process %d is not open here", p.id.PID)
	}
	// A re-found process: its job died with the handle, its family tree is left.
	all, err := processes()
	if err != nil {
		return err
	}
	below := newTree(all).below(p.id.PID, keeper(nil))
	errs := []error{p.Kill()}
	for _, s := range below {
		errs = append(errs, terminate(s.id()))
	}
	return errors.Join(errs...)
}

// Signal implements Process.
func (p *process) Signal(Signal) error {
	if p.job != nil {
		return p.job.End()
	}
	return p.Kill()
}

func signalOf(string) (int, string) { return 0, "" }

func becomeSubreaper() error { return nil }

func awaitExit(pid int) (State, error) {
	return State{}, fmt.Errorf("wait for process %d: children are not reaped on Windows: %w", pid, errors.ErrUnsupported)
}

func reapOrphans() error { return nil }

func self() (ID, error) {
	began, err := startTime(windows.CurrentProcess())
	return ID{PID: os.Getpid(), Start: began}, err
}

func killMarked(context.Context, string, string) error {
	return fmt.Errorf("the environment of another process cannot be read on Windows; end its job instead: %w", errors.ErrUnsupported)
}

// processes is a Toolhelp snapshot with start times. A parent's pid may have
// been given to a younger process since: such false parents are cut.
func processes() ([]stat, error) {
	snap, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPPROCESS, 0)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer windows.CloseHandle(snap)
	var e windows.ProcessEntry32
	e.Size = uint32(unsafe.Sizeof(e))
	var all []stat
	began := map[int]uint64{}
	for err = windows.Process32First(snap, &e); err == nil; err = windows.Process32Next(snap, &e) {
		s := stat{pid: int(e.ProcessID), ppid: int(e.ParentProcessID)}
		if h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, e.ProcessID); err == nil {
			s.start, _ = startTime(h)
			windows.CloseHandle(h)
		}
		began[s.pid] = s.start
		all = append(all, s)
	}
	for i, s := range all {
		if s.start < began[s.ppid] {
			all[i].ppid = -1
		}
	}
	return all, nil
}

func descendants() ([]ID, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	var ids []ID
	for _, s := range newTree(all).below(os.Getpid(), keeper(nil)) {
		ids = append(ids, s.id())
	}
	return ids, nil
}

func killDescendants(ctx context.Context, keep []ID) error {
	for {
		all, err := processes()
		if err != nil {
			return err
		}
		victims := newTree(all).below(os.Getpid(), keeper(keep))
		if len(victims) == 0 {
			return nil
		}
		var errs []error
		for _, s := range victims {
			errs = append(errs, terminate(s.id()))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		for _, s := range victims {
			if err := awaitEnd(ctx, s.id()); err != nil {
				return err
			}
		}
	}
}

func terminate(id ID) error {
	p, err := openProcess(id)
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.release()
	return p.Kill()
}

func awaitEnd(ctx context.Context, id ID) error {
	p, err := openProcess(id)
	if err != nil {
		return nil
	}
	if _, err := p.Wait(ctx); err != nil {
		return fmt.Errorf("process %d does not end: %w", id.PID, err)
	}
	return nil
}

func closeOnExec() error { return nil } // see CloseOnExec

func imprint() func() bool { return func() bool { return false } }
