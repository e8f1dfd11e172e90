package job

import (
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// KilledCode is the exit code of what End ends.
const KilledCode = 1

// ErrRunning says that processes of a job do not end.
var ErrRunning = errors.New("processes of the job still run")

// Job is a job object. Its methods are safe together.
type Job struct {
	sys calls

	emptying sync.Mutex // guards port, and comes before mu
	port     windows.Handle

	mu     sync.Mutex
	handle windows.Handle // 0: closed
}

// New makes a job. An empty name is none; a job that has the name already is
// taken as it is.
func New(name string) (*Job, error) { return newJob(system(), name) }

func newJob(sys calls, name string) (*Job, error) {
	var p *uint16
	if name != "" {
		var err error
		if p, err = windows.UTF16PtrFromString(name); err != nil {
			return nil, fmt.Errorf("name a job object %q: %w", name, err)
		}
	}
	h, err := sys.create(p)
	if h == 0 {
		return nil, fmt.Errorf("make a job object: %w", err)
	}
	return &Job{sys: sys, handle: h}, nil // with an error when it was there already
}

// Tether has the members end when the job's last handle is closed, and with our
// process, however that ends, it is.
func (j *Job) Tether() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.sys.tether(j.handle); err != nil {
		return fmt.Errorf("have a job end its members: %w", err)
	}
	return nil
}

// Add makes process a member, and with it all that it starts from then on.
func (j *Job) Add(process windows.Handle) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.sys.assign(j.handle, process)
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return fmt.Errorf("put it into its job: it has ended already, or is in a job that allows no other: %w", err)
	}
	if err != nil {
		return fmt.Errorf("put it into its job: %w", err)
	}
	return nil
}

// End ends the members at once. It does not wait for them.
func (j *Job) End() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.handle == 0 {
		return nil
	}
	if err := j.sys.end(j.handle); err != nil {
		return fmt.Errorf("end the members of a job: %w", err)
	}
	return nil
}

// Empty ends the members and returns when none runs any more, after the given
// time with ErrRunning.
func (j *Job) Empty(within time.Duration) error {
	j.emptying.Lock()
	defer j.emptying.Unlock()
	j.mu.Lock()
	h := j.handle
	j.mu.Unlock()
	if h == 0 {
		return nil
	}
	if err := j.watch(h); err != nil {
		return fmt.Errorf("watch a job: %w", err)
	}
	if err := j.End(); err != nil {
		return err
	}
	for deadline := time.Now().Add(within); ; {
		n, err := j.sys.members(h)
		if err != nil {
			return fmt.Errorf("count the members of a job: %w", err)
		}
		if n == 0 {
			return nil
		}
		// News are a reason to count again. Windows does not promise them.
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("%w: %d after %v", ErrRunning, n, within)
		}
		if err := j.sys.news(j.port, left); err != nil && !errors.Is(err, windows.WAIT_TIMEOUT) {
			return fmt.Errorf("watch a job: %w", err)
		}
	}
}

// watch has the members' ends told to a port. A job can have one, and once.
func (j *Job) watch(h windows.Handle) error {
	if j.port != 0 {
		return nil
	}
	port, err := j.sys.port()
	if err != nil {
		return err
	}
	if err := j.sys.watch(h, port); err != nil {
		return errors.Join(err, j.sys.close(port))
	}
	j.port = port
	return nil
}

// Close gives the job back. It may be called often.
func (j *Job) Close() error {
	j.emptying.Lock()
	defer j.emptying.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	for _, h := range []*windows.Handle{&j.port, &j.handle} {
		if *h != 0 {
			errs = append(errs, j.sys.close(*h))
		}
		*h = 0
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close a job: %w", err)
	}
	return nil
}

// calls are the functions of Windows that a Job needs: a table, for tests to
// have each of them fail.
type calls struct {
	create  func(name *uint16) (windows.Handle, error)
	tether  func(job windows.Handle) error
	assign  func(job, process windows.Handle) error
	end     func(job windows.Handle) error
	port    func() (windows.Handle, error)
	watch   func(job, port windows.Handle) error
	members func(job windows.Handle) (uint32, error)
	news    func(port windows.Handle, within time.Duration) error
	close   func(windows.Handle) error
}

func system() calls {
	return calls{
		create: func(name *uint16) (windows.Handle, error) { return windows.CreateJobObject(nil, name) },
		tether: func(job windows.Handle) error {
			var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
			limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
			return set(job, windows.JobObjectExtendedLimitInformation, unsafe.Pointer(&limits), unsafe.Sizeof(limits))
		},
		assign: windows.AssignProcessToJobObject,
		end:    func(job windows.Handle) error { return windows.TerminateJobObject(job, KilledCode) },
		port:   func() (windows.Handle, error) { return windows.CreateIoCompletionPort(windows.InvalidHandle, 0, 0, 1) },
		watch: func(job, port windows.Handle) error {
			a := association{port: port}
			return set(job, windows.JobObjectAssociateCompletionPortInformation, unsafe.Pointer(&a), unsafe.Sizeof(a))
		},
		members: func(job windows.Handle) (uint32, error) {
			var a accounting
			err := query(job, windows.JobObjectBasicAccountingInformation, unsafe.Pointer(&a), unsafe.Sizeof(a))
			return a.active, err
		},
		news: func(port windows.Handle, within time.Duration) error {
			var what uint32
			var key uintptr
			var about *windows.Overlapped
			return windows.GetQueuedCompletionStatus(port, &what, &key, &about, uint32(within.Milliseconds())+1)
		},
		close: windows.CloseHandle,
	}
}

// association is JOBOBJECT_ASSOCIATE_COMPLETION_PORT.
type association struct {
	key  uintptr
	port windows.Handle
}

// accounting is JOBOBJECT_BASIC_ACCOUNTING_INFORMATION.
type accounting struct {
	user, kernel, periodUser, periodKernel int64
	faults, total, active, ended           uint32
}

// set and query pass the structure by Call, which keeps it where it is: the
// functions of x/sys take a plain number.
func set(job windows.Handle, class uint32, p unsafe.Pointer, n uintptr) error {
	ok, _, err := windows.NewLazySystemDLL("kernel32.dll").NewProc("SetInformationJobObject").Call(uintptr(job), uintptr(class), uintptr(p), n)
	if ok == 0 {
		return err
	}
	return nil
}

func query(job windows.Handle, class uint32, p unsafe.Pointer, n uintptr) error {
	ok, _, err := windows.NewLazySystemDLL("kernel32.dll").NewProc("QueryInformationJobObject").Call(uintptr(job), uintptr(class), uintptr(p), n, 0)
	if ok == 0 {
		return err
	}
	return nil
}
