package proc

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/windows"

	"ssmagent/platform/job"
)

// calls are the functions of Windows by which a process begins: a table, for
// tests to have each of them fail, and to see what those are given that act on
// other accounts only.
type calls struct {
	duplicate  func(windows.Handle) (windows.Handle, error) // inheritable
	attributes func(handles []windows.Handle) (*windows.ProcThreadAttributeListContainer, error)
	inJob      func() (bool, error)
	isPrimary  func(windows.Token) (bool, error)
	primary    func(windows.Token) (windows.Token, error)
	create     func(windows.Token, image) (windows.ProcessInformation, error)
	newJob     func(name string) (*job.Job, error)
	tether     func(*job.Job) error
	add        func(*job.Job, windows.Handle) error
	began      func(windows.Handle) (uint64, error)
	resume     func(thread windows.Handle) error
	close      func(windows.Handle) error
}

// image is what a process is made of, as Windows wants it.
type image struct {
	path, line, env, dir *uint16
	flags                uint32
	startup              *windows.StartupInfoEx
}

func system() calls {
	return calls{
		duplicate: func(h windows.Handle) (dup windows.Handle, err error) {
			me := windows.CurrentProcess()
			return dup, windows.DuplicateHandle(me, h, me, &dup, 0, true, windows.DUPLICATE_SAME_ACCESS)
		},
		attributes: attributes,
		inJob:      inJob,
		isPrimary: func(t windows.Token) (bool, error) {
			var kind, n uint32
			err := windows.GetTokenInformation(t, windows.TokenType, (*byte)(unsafe.Pointer(&kind)), uint32(unsafe.Sizeof(kind)), &n)
			return kind == windows.TokenPrimary, err
		},
		primary: func(t windows.Token) (dup windows.Token, err error) {
			err = windows.DuplicateTokenEx(t, windows.MAXIMUM_ALLOWED, nil, windows.SecurityImpersonation, windows.TokenPrimary, &dup)
			return dup, err
		},
		create: func(t windows.Token, i image) (info windows.ProcessInformation, err error) {
			if t == 0 {
				return info, windows.CreateProcess(i.path, i.line, nil, nil, true, i.flags, i.env, i.dir, &i.startup.StartupInfo, &info)
			}
			return info, windows.CreateProcessAsUser(t, i.path, i.line, nil, nil, true, i.flags, i.env, i.dir, &i.startup.StartupInfo, &info)
		},
		newJob: job.New,
		tether: (*job.Job).Tether,
		add:    (*job.Job).Add,
		began:  startTime,
		resume: func(thread windows.Handle) error {
			_, err := windows.ResumeThread(thread)
			return err
		},
		close: windows.CloseHandle,
	}
}

// creation holds what CreateProcess needs and what must live until it returns.
type creation struct {
	sys     calls
	attrs   *windows.ProcThreadAttributeListContainer
	handles []windows.Handle // inheritable copies: standard input, output, error
	null    *os.File
	token   windows.Token // primary; 0: our own
	ours    bool          // token is to be closed
}

func newCreation(sys calls, s Spec) (*creation, error) {
	c := &creation{sys: sys}
	err := c.fill(s)
	if err == nil {
		err = c.become(windows.Token(s.Principal.Token))
	}
	if err != nil {
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
	for _, f := range []*os.File{s.Stdin, s.Stdout, s.Stderr} {
		if f == nil {
			f = c.null
		}
		h, err := c.sys.duplicate(windows.Handle(f.Fd()))
		if err != nil {
			return fmt.Errorf("hand on %s: %w", f.Name(), err)
		}
		c.handles = append(c.handles, h)
	}
	// Only these are inherited, whatever else is inheritable just now.
	if c.attrs, err = c.sys.attributes(c.handles); err != nil {
		return fmt.Errorf("name the handles to inherit: %w", err)
	}
	return nil
}

func attributes(handles []windows.Handle) (*windows.ProcThreadAttributeListContainer, error) {
	list, err := windows.NewProcThreadAttributeList(1)
	if err != nil {
		return nil, err
	}
	if err := list.Update(windows.PROC_THREAD_ATTRIBUTE_HANDLE_LIST, unsafe.Pointer(&handles[0]), uintptr(len(handles))*unsafe.Sizeof(handles[0])); err != nil {
		list.Delete()
		return nil, err
	}
	return list, nil
}

// become has the process run by token. Some kinds of logon give a token for
// threads, of which one for processes is made.
func (c *creation) become(token windows.Token) error {
	if token == 0 {
		return nil
	}
	whole, err := c.sys.isPrimary(token)
	if err != nil {
		return fmt.Errorf("look at the account's token: %w", err)
	}
	c.token = token
	if whole {
		return nil
	}
	if c.token, err = c.sys.primary(token); err != nil {
		c.token = 0
		return fmt.Errorf("make the account's token one for processes: %w%s", err, explained(err, true))
	}
	c.ours = true
	return nil
}

func (c *creation) close() {
	if c.ours {
		_ = c.sys.close(windows.Handle(c.token))
	}
	if c.attrs != nil {
		c.attrs.Delete()
	}
	for _, h := range c.handles {
		_ = c.sys.close(h)
	}
	if c.null != nil {
		_ = c.null.Close()
	}
}

// run creates the process, suspended.
func (c *creation) run(s Spec) (windows.ProcessInformation, error) {
	i, err := c.image(s)
	if err != nil {
		return windows.ProcessInformation{}, err
	}
	info, err := c.sys.create(c.token, i)
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) && i.flags&windows.CREATE_BREAKAWAY_FROM_JOB != 0 {
		// A job that lets nobody go, as that of a container: what outlives us
		// then lives as long as that.
		i.flags &^= windows.CREATE_BREAKAWAY_FROM_JOB
		info, err = c.sys.create(c.token, i)
	}
	if err != nil {
		return info, fmt.Errorf("%w%s", err, explained(err, c.token != 0))
	}
	return info, nil
}

func (c *creation) image(s Spec) (image, error) {
	text := s.CommandLine
	if text == "" {
		text = windows.ComposeCommandLine(s.Args)
	}
	path, err1 := windows.UTF16PtrFromString(s.Path)
	line, err2 := windows.UTF16PtrFromString(text)
	env, err3 := environment(s.Env)
	i := image{path: path, line: line, env: env}
	var err4, err5 error
	if s.Dir != "" {
		i.dir, err4 = windows.UTF16PtrFromString(s.Dir)
	}
	i.flags, err5 = c.flags(s)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return i, err
	}
	i.startup = &windows.StartupInfoEx{ProcThreadAttributeList: c.attrs.List()}
	si := &i.startup.StartupInfo
	si.Cb = uint32(unsafe.Sizeof(*i.startup))
	si.Flags = windows.STARTF_USESTDHANDLES | windows.STARTF_USESHOWWINDOW
	si.ShowWindow = windows.SW_HIDE
	si.StdInput, si.StdOutput, si.StdErr = c.handles[0], c.handles[1], c.handles[2]
	if c.token != 0 {
		// Empty, not nil: an invisible window station for the token's logon
		// instead of ours, which it may not enter.
		si.Desktop = new(uint16)
	}
	return i, nil
}

func (c *creation) flags(s Spec) (uint32, error) {
	flags := uint32(windows.CREATE_SUSPENDED | windows.CREATE_UNICODE_ENVIRONMENT | windows.EXTENDED_STARTUPINFO_PRESENT)
	if s.Tethered {
		return flags | windows.DETACHED_PROCESS, nil
	}
	if s.Group {
		flags |= windows.CREATE_NEW_PROCESS_GROUP
	}
	if !s.Session {
		return flags, nil
	}
	in, err := c.sys.inJob()
	if err != nil {
		return 0, fmt.Errorf("see whether we are in a job: %w", err)
	}
	flags |= windows.DETACHED_PROCESS
	if in {
		flags |= windows.CREATE_BREAKAWAY_FROM_JOB
	}
	return flags, nil
}

// inJob calls what x/sys/windows lacks.
func inJob() (bool, error) {
	f := windows.NewLazySystemDLL("kernel32.dll").NewProc("IsProcessInJob")
	var result int32
	if ok, _, err := f.Call(uintptr(windows.CurrentProcess()), 0, uintptr(unsafe.Pointer(&result))); ok == 0 {
		return false, err
	}
	return result != 0, nil
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
