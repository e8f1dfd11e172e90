//go:build unix

package proc

import "os"

func pipeTo() (ours, theirs *os.File, err error) {
	theirs, ours, err = os.Pipe()
	return ours, theirs, err
}

func pipeFrom() (ours, theirs *os.File, err error) { return os.Pipe() }
