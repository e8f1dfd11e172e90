package proc

import (
	"errors"
	"fmt"

	"golang.org/x/sys/windows"
)

// explained is what an error of a start means and what helps, to stand behind
// it. other: the process was to run as another account.
func explained(err error, other bool) string {
	code, _ := errors.AsType[windows.Errno](err)
	switch code {
	case windows.ERROR_PRIVILEGE_NOT_HELD:
		return ": to run programs as another account takes SeAssignPrimaryTokenPrivilege and SeIncreaseQuotaPrivilege, which LocalSystem has; run the agent's service as LocalSystem"
	case windows.ERROR_BAD_IMPERSONATION_LEVEL:
		return ": only LocalSystem gets the account's full token; run the agent's service as LocalSystem"
	case windows.ERROR_ACCESS_DENIED:
		if other {
			return ": the account may not run the program, or not enter the working directory; give it the right to read and execute"
		}
	case windows.ERROR_DIRECTORY:
		return ": the working directory is none, or the account may not enter it"
	case windows.ERROR_ELEVATION_REQUIRED:
		return ": the program asks for an elevated administrator"
	case windows.ERROR_BAD_EXE_FORMAT:
		return ": it is no program for this processor"
	case windows.ERROR_NOT_ENOUGH_MEMORY, windows.ERROR_NO_SYSTEM_RESOURCES, windows.ERROR_COMMITMENT_LIMIT:
		return ": memory is short; end other programs, or enlarge the page file"
	}
	return ""
}

// unborn: even console programs load user32, which wants a window station and a
// desktop. CreateProcess has succeeded when that fails.
func unborn(s State) error {
	switch windows.NTStatus(uint32(s.Code)) {
	case windows.STATUS_DLL_INIT_FAILED:
		return fmt.Errorf("%w with exit code %#x: a library could not begin, most often since the account gets no window station and desktop, or the memory for them is used up; end other sessions, or enlarge the third value of SharedSection in the registry's SubSystems\\Windows", ErrUnborn, uint32(s.Code))
	case windows.STATUS_DLL_NOT_FOUND, windows.STATUS_ENTRYPOINT_NOT_FOUND:
		return fmt.Errorf("%w with exit code %#x: a library that it needs is missing, or too old", ErrUnborn, uint32(s.Code))
	}
	return nil
}
