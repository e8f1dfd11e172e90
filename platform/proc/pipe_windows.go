package proc

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// pipeSize is how much a pipe takes before its writer waits.
const pipeSize = 64 << 10

func pipeTo() (ours, theirs *os.File, err error) {
	return pipe(windows.PIPE_ACCESS_OUTBOUND, windows.GENERIC_READ)
}

func pipeFrom() (ours, theirs *os.File, err error) {
	return pipe(windows.PIPE_ACCESS_INBOUND, windows.GENERIC_WRITE)
}

// pipe makes one whose end here is for operations that overlap, which anonymous
// pipes have not, and whose end there is a plain one. Nobody else can be there:
// it has one instance, and when somebody guessed the name and was quicker, ours
// finds it busy.
func pipe(mode, access uint32) (ours, theirs *os.File, err error) {
	name := `\\.\pipe\ssmagent-` + rand.Text()
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, nil, fmt.Errorf("name a pipe: %w", err)
	}
	server, err := windows.CreateNamedPipe(p, mode|windows.FILE_FLAG_OVERLAPPED|windows.FILE_FLAG_FIRST_PIPE_INSTANCE,
		windows.PIPE_REJECT_REMOTE_CLIENTS, 1, pipeSize, pipeSize, 0, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	client, err := windows.CreateFile(p, access, 0, nil, windows.OPEN_EXISTING, windows.SECURITY_SQOS_PRESENT|windows.SECURITY_ANONYMOUS, 0)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open a pipe: %w", err), windows.CloseHandle(server))
	}
	return os.NewFile(uintptr(server), name), os.NewFile(uintptr(client), name), nil
}
