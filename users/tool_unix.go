//go:build unix

package users

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ssmagent/platform/proc"
)

const (
	// toolWithin is how long one of the system's tools may take: a directory
	// server that is away makes some wait.
	toolWithin = 30 * time.Second
	// pipeGrace is how long a tool's output is still read after its end.
	pipeGrace = time.Second
	// maxOutput bounds what is kept of what a tool prints.
	maxOutput = 64 << 10
	// toolMask is the umask of tools, whatever ours is: their files are for
	// all to read and for root to write, where they do not say better.
	toolMask = 0o022
)

func contains(ids []uint32, id uint32) bool { return slices.Contains(ids, id) }

// tool is the absolute path of one of the system's tools; empty when it is not
// there.
func (l *Local) tool(name string) string {
	for _, dir := range filepath.SplitList(l.sys.path) {
		file := filepath.Join(dir, name)
		if fi, err := os.Stat(file); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return file
		}
	}
	return ""
}

// ask runs a tool and returns what it answered, and its exit code.
func (l *Local) ask(ctx context.Context, file string, args ...string) (out string, code int, err error) {
	out, code, err = l.run(ctx, false, file, args)
	if len(out) > maxOutput {
		return "", 0, fmt.Errorf("%s answers with more than %d bytes", filepath.Base(file), maxOutput)
	}
	return out, code, err
}

// do runs a tool that changes something; an error says what it said.
func (l *Local) do(ctx context.Context, file string, args ...string) error {
	out, code, err := l.run(ctx, true, file, args)
	if err == nil && code != 0 {
		err = failure(filepath.Base(file), code, out)
	}
	return err
}

func (l *Local) run(ctx context.Context, complaints bool, file string, args []string) (out string, code int, err error) {
	name := strings.Join(append([]string{filepath.Base(file)}, args...), " ")
	ctx, cancel := context.WithTimeoutCause(ctx, toolWithin, fmt.Errorf("it did not end within %v: see whether this machine's directory server (LDAP, Active Directory) answers", toolWithin))
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		return "", 0, fmt.Errorf("run %s: %w", file, err)
	}
	defer r.Close()
	spec := proc.Spec{
		Path: file, Args: append([]string{file}, args...), Env: []string{"PATH=" + l.sys.path, "LC_ALL=C"}, Dir: "/",
		Stdout: w, Umask: toolMask, UmaskSet: true, Group: true,
	}
	if complaints {
		spec.Stderr = w
	}
	p, err := proc.Start(spec)
	w.Close()
	if err != nil {
		return "", 0, err
	}
	var b []byte
	var reading sync.WaitGroup
	reading.Go(func() {
		b, _ = io.ReadAll(io.LimitReader(r, maxOutput+1)) // what was read counts, however it ended
		_, _ = io.Copy(io.Discard, r)
	})
	stop := context.AfterFunc(ctx, func() { _ = p.KillGroup() })
	defer stop()
	state, err := p.Wait(context.WithoutCancel(ctx))
	// Its own output is in the pipe by now; what it left behind may hold the
	// other end for ever.
	_ = r.SetReadDeadline(time.Now().Add(pipeGrace))
	reading.Wait()
	switch {
	case ctx.Err() != nil:
		return "", 0, fmt.Errorf("%s: %w", name, context.Cause(ctx))
	case err != nil:
		return "", 0, err
	case state.Signal != "":
		return "", 0, fmt.Errorf("%s was ended from outside: %s", name, state.Signal)
	}
	return string(b), state.Code, nil
}

// failure is what a tool says of itself, on one line.
func failure(tool string, code int, out string) error {
	const most = 400
	said := strings.Join(strings.FieldsFunc(out, func(r rune) bool { return r < ' ' }), "; ")
	if len(said) > most {
		said = strings.ToValidUTF8(said[:most], "") + "…"
	}
	if said == "" {
		said = "it printed nothing"
	}
	return fmt.Errorf("%s ended with exit code %d: %s", tool, code, said)
}

// readOnly and full say what keeps a directory's files from being written.
func readOnly(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Flags&mountedReadOnly != 0
}

func full(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && (st.Bfree == 0 || st.Files > 0 && st.Ffree == 0)
}
