package proctest

import (
	"path/filepath"
	"strconv"
	"testing"

	"ssmagent/platform/proc"
)

func itoa(n int) string { return strconv.Itoa(n) }

// wasKilled says that s is how Kill ends a process: by signal, or (Windows)
// with code 1.
func wasKilled(s proc.State) bool {
	return s == proc.State{Code: -1, Signal: "killed"} || s == proc.State{Code: 1}
}

func realPath(t *testing.T, path string) string {
	t.Helper()
	p, err := filepath.EvalSymlinks(path)
	must(t, err)
	return p
}
