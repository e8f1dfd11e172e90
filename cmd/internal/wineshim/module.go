package main

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const sysModule = "golang.org/x/sys"

// sysPatches are the changes to x/sys.
func sysPatches() []patch {
	return []patch{asService(), startsAgain("windows/zsyscall_windows.go", "syscall.Errno")}
}

// startsAgain has a process be started once more that wine did not start: on a
// busy machine it says "internal error" now and then, and not the next time.
func startsAgain(file, errno string) patch {
	const declaration = "func CreateProcess("
	return patch{file, declaration, declaration + `appName *uint16, commandLine *uint16, procSecurity *SecurityAttributes, threadSecurity *SecurityAttributes, inheritHandles bool, creationFlags uint32, env *uint16, currentDir *uint16, startupInfo *StartupInfo, outProcInfo *ProcessInformation) (err error) {
	for range 3 {
		if err = createProcess(appName, commandLine, procSecurity, threadSecurity, inheritHandles, creationFlags, env, currentDir, startupInfo, outProcInfo); err != ` + errno + `(1359) {
			break
		}
	}
	return err
}

func createProcess(`}
}

// asService is the part of x/sys by which a process knows that it is a service:
// wine has its service manager in another session than Windows has.
func asService() patch {
	return patch{"windows/svc/security.go", "parentProcess.SessionID == 0 && ", ""}
}

// writeModule makes in dir a go.mod for `go build -modfile`: that of the module in
// root, with a patched copy of x/sys. What is there already stays.
func writeModule(root, dir string) error {
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", sysModule)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("ask go where %s is: %w", sysModule, err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return err
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		return err
	}
	source := strings.TrimSpace(string(out))
	mod = fmt.Appendf(mod, "\nreplace %s => %s // %s, patches %08x\n", sysModule, filepath.Join(dir, "sys"), filepath.Base(source), crc32.ChecksumIEEE(fmt.Append(nil, sysPatches())))
	if had, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && bytes.Equal(had, mod) {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := copyPatched(source, filepath.Join(dir, "sys"), sysPatches()); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "go.mod"), mod, 0o600) // last: it says that all is there
}

// copyPatched copies a tree with some files of it changed.
func copyPatched(from, to string, patches []patch) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		b, err := os.ReadFile(path) //nolint:gosec // of the modules that the go command keeps
		for _, p := range patches {
			if err == nil && rel == filepath.FromSlash(p.file) {
				b, err = p.apply(path, b)
			}
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
}

// apply changes the contents of a file. A patch that does not fit is an error:
// the file is another one than that for which it was written.
func (p patch) apply(name string, b []byte) ([]byte, error) {
	if !bytes.Contains(b, []byte(p.old)) {
		return nil, fmt.Errorf("%s is not as expected: %q is not in it; look how it does the same now", name, p.old)
	}
	return bytes.ReplaceAll(b, []byte(p.old), []byte(p.replacement)), nil
}
