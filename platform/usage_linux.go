package platform

import (
	"os"
	"strconv"
	"strings"
)

// descriptors is the directory of this process's open files.
const descriptors = "/proc/self/fd"

func resident() int64 {
	text, err := readSmall("/proc/self/statm")
	if err != nil {
		return 0
	}
	return residentPages(text) * int64(os.Getpagesize())
}

// residentPages is the second field of statm (proc(5)).
func residentPages(statm string) int64 {
	fields := strings.Fields(statm)
	if len(fields) < 2 {
		return 0
	}
	n, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
