package proc

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/windows"
)

// creation holds what CreateProcess needs and what must live until it returns.
type creation struct {
	attrs   *windows.ProcThreadAttributeListContainer
	handles []windows.Handle // inheritable copies: standard input, output, error
	null    *os.File
}

func newCreation(s Spec) (*creation, error) {
	c := &creation{}
	if err := c.fill(s); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *creation) fill(s Spec) error {
	var err error
	if c.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return err
	}
	me := windows.CurrentProcess()
	for _, f := range []*os.File{s.Stdin, s.Stdout, s.Stderr} {
		if f == nil {
			f = c.null
		}
		var h windows.Handle
		if err := windows.DuplicateHandle(me, windows.Handle(f.Fd()), me, &h, 0, true, windows.DUPLICATE_SAME_ACCESS); err != nil {
			return fmt.Errorf("hand on %s: %w", f.Name(), err)
		}
		c.handles = append(c.handles, h)
	}
	if c.attrs, err = windows.NewProcThreadAttributeList(1); err != nil {
		return err
	}
	// Only these are inherited, whatever else is inheritable just now.
	return c.attrs.Update(windows.PROC_THREAD_ATTRIBUTE_HANDLE_LIST, unsafe.Pointer(&c.handles[0]),
		uintptr(len(c.handles))*unsafe.Sizeof(c.handles[0]))
}

func (c *creation) close() {
	if c.attrs != nil {
		c.attrs.Delete()
	}
	for _, h := range c.handles {
		windows.CloseHandle(h)
	}
	if c.null != nil {
		c.null.Close()
	}
}

// run creates the process, suspended.
func (c *creation) run(s Spec) (windows.ProcessInformation, error) {
	var info windows.ProcessInformation
	path, err1 := windows.UTF16PtrFromString(s.Path)
	line, err2 := windows.UTF16PtrFromString(windows.ComposeCommandLine(s.Args))
	env, err3 := environment(s.Env)
	if err := errors.Join(err1, err2, err3); err != nil {
		return info, err
	}
	var dir *uint16
	if s.Dir != "" {
		var err error
		if dir, err = windows.UTF16PtrFromString(s.Dir); err != nil {
			return info, err
		}
	}
	si := windows.StartupInfoEx{ProcThreadAttributeList: c.attrs.List()}
	si.Cb = uint32(unsafe.Sizeof(si))
	si.Flags = windows.STARTF_USESTDHANDLES | windows.STARTF_USESHOWWINDOW
	si.ShowWindow = windows.SW_HIDE
	si.StdInput, si.StdOutput, si.StdErr = c.handles[0], c.handles[1], c.handles[2]
	flags, err := creationFlags(s)
	if err != nil {
		return info, err
	}
	if s.Principal.Token != 0 {
		// Empty, not nil: an invisible window station for the token's logon
		// instead of ours, which it may not enter.
		si.Desktop = new(uint16)
		err = windows.CreateProcessAsUser(windows.Token(s.Principal.Token), path, line, nil, nil, true, flags, env, dir, &si.StartupInfo, &info)
	} else {
		err = windows.CreateProcess(path, line, nil, nil, true, flags, env, dir, &si.StartupInfo, &info)
	}
	return info, err
}

func creationFlags(s Spec) (uint32, error) {
	flags := uint32(windows.CREATE_SUSPENDED | windows.CREATE_UNICODE_ENVIRONMENT | windows.EXTENDED_STARTUPINFO_PRESENT)
	if s.Group {
		flags |= windows.CREATE_NEW_PROCESS_GROUP
	}
	if !s.Session {
		return flags, nil
	}
	var inJob bool
	if err := isProcessInJob(&inJob); err != nil {
		return 0, err
	}
	flags |= windows.DETACHED_PROCESS
	if inJob {
		flags |= windows.CREATE_BREAKAWAY_FROM_JOB
	}
	return flags, nil
}

// isProcessInJob calls what x/sys/windows lacks.
func isProcessInJob(in *bool) error {
	f := windows.NewLazySystemDLL("kernel32.dll").NewProc("IsProcessInJob")
	var result int32
	if ok, _, err := f.Call(uintptr(windows.CurrentProcess()), 0, uintptr(unsafe.Pointer(&result))); ok == 0 {
		return fmt.Errorf("see whether we are in a job: %w", err)
	}
	*in = result != 0
	return nil
}

// environment makes the block of NUL-ended entries, ended by one NUL more.
func environment(env []string) (*uint16, error) {
	var b []uint16
	for _, e := range env {
		if strings.IndexByte(e, 0) >= 0 {
			return nil, fmt.Errorf("environment entry %q holds a NUL", e)
		}
		b = append(b, utf16.Encode([]rune(e))...)
		b = append(b, 0)
	}
	if len(b) == 0 {
		b = append(b, 0)
	}
	b = append(b, 0)
	return &b[0], nil
}
