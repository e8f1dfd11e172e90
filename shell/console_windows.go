package shell

import (
	"io"
	"time"

	"github.com/UserExistsError/conpty"
	"golang.org/x/sys/windows"

	"ssmagent/platform/job"
)

// console is the library's pseudo console with a program on it.
type console interface {
	io.ReadWriteCloser
	Resize(width, height int) error
	Pid() int
}

// calls are what a terminal asks of Windows: a table, for tests to have each of
// them fail.
type calls struct {
	available func() bool
	start     func(commandLine string, s Spec) (console, error)
	open      func(pid uint32) (windows.Handle, error)
	wait      func(process windows.Handle) (code uint32, err error)
	newJob    func(name string) (*job.Job, error)
	tether    func(*job.Job) error
	add       func(*job.Job, windows.Handle) error
	empty     func(*job.Job, time.Duration) error
	close     func(windows.Handle) error
}

func system() calls {
	return calls{
		available: conpty.IsConPtyAvailable,
		start: func(line string, s Spec) (console, error) {
			c, err := conpty.Start(line, conpty.ConPtyDimensions(int(s.Cols), int(s.Rows)), conpty.ConPtyWorkDir(s.Dir), conpty.ConPtyEnv(append([]string{}, s.Env...)))
			if err != nil {
				return nil, err // and no pointer
			}
			return c, nil
		},
		open: func(pid uint32) (windows.Handle, error) {
			const rights = windows.PROCESS_SET_QUOTA | windows.PROCESS_TERMINATE | windows.PROCESS_QUERY_LIMITED_INFORMATION | windows.SYNCHRONIZE
			return windows.OpenProcess(rights, false, pid)
		},
		wait: func(process windows.Handle) (code uint32, err error) {
			if _, err := windows.WaitForSingleObject(process, windows.INFINITE); err != nil {
				return 0, err
			}
			return code, windows.GetExitCodeProcess(process, &code)
		},
		newJob: job.New,
		tether: (*job.Job).Tether,
		add:    (*job.Job).Add,
		empty:  (*job.Job).Empty,
		close:  windows.CloseHandle,
	}
}
