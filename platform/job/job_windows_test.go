package job

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// recorded are calls that do nothing but count the handles they give.
func recorded(open *int) calls {
	give := func() (windows.Handle, error) { *open++; return 4, nil }
	return calls{
		create:  func(*uint16) (windows.Handle, error) { return give() },
		tether:  func(windows.Handle) error { return nil },
		assign:  func(_, _ windows.Handle) error { return nil },
		end:     func(windows.Handle) error { return nil },
		port:    give,
		watch:   func(_, _ windows.Handle) error { return nil },
		members: func(windows.Handle) (uint32, error) { return 0, nil },
		news:    func(windows.Handle, time.Duration) error { return nil },
		close:   func(windows.Handle) error { *open--; return nil },
	}
}

// TestFaults: each call may fail. The job then says at what, and its handles
// are given back.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		call string
		err  error
		fail func(*calls, error)
		want string
	}{
		{"CreateJobObject", windows.ERROR_NO_SYSTEM_RESOURCES, func(c *calls, err error) { c.create = func(*uint16) (windows.Handle, error) { return 0, err } }, "make a job object"},
		{"SetInformationJobObject", windows.ERROR_INVALID_PARAMETER, func(c *calls, err error) { c.tether = func(windows.Handle) error { return err } }, "have a job end its members"},
		{"AssignProcessToJobObject", windows.ERROR_ACCESS_DENIED, func(c *calls, err error) { c.assign = func(_, _ windows.Handle) error { return err } }, "in a job that allows no other"},
		{"AssignProcessToJobObject", windows.ERROR_INVALID_HANDLE, func(c *calls, err error) { c.assign = func(_, _ windows.Handle) error { return err } }, "put it into its job"},
		{"CreateIoCompletionPort", windows.ERROR_NO_SYSTEM_RESOURCES, func(c *calls, err error) { c.port = func() (windows.Handle, error) { return 0, err } }, "watch a job"},
		{"SetInformationJobObject of the port", windows.ERROR_INVALID_PARAMETER, func(c *calls, err error) { c.watch = func(_, _ windows.Handle) error { return err } }, "watch a job"},
		{"TerminateJobObject", windows.ERROR_ACCESS_DENIED, func(c *calls, err error) { c.end = func(windows.Handle) error { return err } }, "end the members of a job"},
		{"QueryInformationJobObject", windows.ERROR_INVALID_PARAMETER, func(c *calls, err error) { c.members = func(windows.Handle) (uint32, error) { return 0, err } }, "count the members of a job"},
		{"GetQueuedCompletionStatus", windows.ERROR_ABANDONED_WAIT_0, func(c *calls, err error) {
			c.members = func(windows.Handle) (uint32, error) { return 1, nil }
			c.news = func(windows.Handle, time.Duration) error { return err }
		}, "watch a job"},
		{"members that do not end", ErrRunning, func(c *calls, _ error) {
			c.members = func(windows.Handle) (uint32, error) { return 3, nil }
			c.news = func(windows.Handle, time.Duration) error { return windows.WAIT_TIMEOUT }
		}, "3 after 1ms"},
	} {
		open := 0
		sys := recorded(&open)
		tc.fail(&sys, tc.err)
		if err := live(sys); !errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s, %v: %v", tc.call, tc.err, err)
		}
		if open != 0 {
			t.Errorf("%s: %d handles are left", tc.call, open)
		}
	}
}

// live is the life of a job.
func live(sys calls) error {
	j, err := newJob(sys, "")
	if err != nil {
		return err
	}
	return errors.Join(j.Tether(), j.Add(windows.CurrentProcess()), j.Empty(time.Millisecond), j.Empty(time.Millisecond), j.Close(), j.Close(), j.Empty(0))
}
