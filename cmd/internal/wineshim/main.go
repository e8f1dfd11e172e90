// Command wineshim makes what programs written in Go need to run under wine 8,
// for tests only: a bcryptprimitives.dll, which wine lacks and without which no
// Go program starts, an overlay for `go build -overlay` with three files of
// the standard library that take three answers of wine's for what they mean, and a
// go.mod for `go build -modfile` with a golang.org/x/sys that knows a service
// under wine for one.
//
// What was built with them is not byte for byte what is shipped.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	dll := flag.String("dll", "", "write the library `FILE`")
	overlay := flag.String("overlay", "", "write overlay.json and its files into `DIR`")
	module := flag.String("module", "", "write go.mod, go.sum and the patched module into `DIR`")
	flag.Parse()
	err := run(*dll, *overlay)
	if err == nil && *module != "" {
		err = writeModule(".", *module)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "wineshim:", err)
		os.Exit(1)
	}
}

func run(dll, overlay string) error {
	if dll != "" {
		// Not in place: the prefix may have been made of hard links.
		if err := os.WriteFile(dll+".new", forwarder("bcryptprimitives.dll", "ProcessPrng", "advapi32.SystemFunction036"), 0o600); err != nil {
			return err
		}
		if err := os.Rename(dll+".new", dll); err != nil {
			return err
		}
	}
	if overlay == "" {
		return nil
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("ask go where its sources are: %w", err)
	}
	return writeOverlay(filepath.Join(strings.TrimSpace(string(root)), "src"), overlay)
}

// patch is one change to a file of the standard library.
type patch struct{ file, old, replacement string }

func patches() []patch {
	return []patch{
		// Deleting by the newest call is STATUS_NOT_IMPLEMENTED to wine, which
		// means what an old file system says: there is another call.
		{"internal/syscall/windows/at_windows.go", "\t\tSTATUS_NOT_SUPPORTED: ", "\t\tNTStatus(0xC0000002),\n\t\tSTATUS_NOT_SUPPORTED: "},
		// Wine's UDP sockets know nothing of being told of a port that is
		// closed, which is what this would switch off: WSAEOPNOTSUPP.
		{"net/fd_windows.go", "\n\t\tif err != nil {\n\t\t\treturn wrapSyscallError(\"wsaioctl\", err)",
			"\n\t\tif err != nil && err != syscall.Errno(10045) {\n\t\t\treturn wrapSyscallError(\"wsaioctl\", err)"},
		startsAgain("syscall/zsyscall_windows.go", "Errno"),
	}
}

// writeOverlay applies the patches to the sources in std. One that does not
// fit is an error: the standard library has changed.
func writeOverlay(std, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	replace := map[string]string{}
	for i, p := range patches() {
		from := filepath.Join(std, filepath.FromSlash(p.file))
		b, err := os.ReadFile(from)
		if err == nil {
			b, err = p.apply(from, b)
		}
		if err != nil {
			return err
		}
		to := filepath.Join(dir, fmt.Sprintf("%d_%s", i, filepath.Base(p.file)))
		if err := os.WriteFile(to, b, 0o600); err != nil {
			return err
		}
		replace[from] = to
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "overlay.json"), b, 0o600)
}
