package proc

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// forgetArguments blanks the line in the process' own memory, where others read
// it; what os.Args has was copied out of it when the process began.
func forgetArguments() {
	line := windows.RtlGetCurrentPeb().ProcessParameters.CommandLine
	text := unsafe.Slice(line.Buffer, line.Length/2) // the length is in bytes
	for i := range text {
		text[i] = ' '
	}
}
