package proc

import (
	"bytes"
	"encoding/binary"
)

// argsEnvironment takes the environment, as a block of NUL-ended entries, out
// of what macOS keeps of a program's start (KERN_PROCARGS2): the number of
// arguments, the program's path, NULs, the arguments, and the environment up to
// an empty entry.
func argsEnvironment(b []byte) string {
	if len(b) < 4 {
		return ""
	}
	count := binary.LittleEndian.Uint32(b)
	_, b, ok := bytes.Cut(b[4:], []byte{0})
	b = bytes.TrimLeft(b, "\x00")
	for ; ok && count > 0; count-- {
		_, b, ok = bytes.Cut(b, []byte{0})
	}
	if !ok {
		return ""
	}
	if end := bytes.Index(b, []byte{0, 0}); end >= 0 {
		b = b[:end+1]
	}
	if len(b) > 0 && b[0] == 0 {
		return ""
	}
	return string(b)
}
