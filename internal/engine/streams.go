package engine

import (
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"ssmagent/internal/wire/doc"
)

const (
	dirMode  = 0o700
	fileMode = 0o600
)

// streamDir is where the streams of a block lie, below the command's
// directory: by plugin and step, or in 1.x (and for a step that is named like
// its action) by plugin and the block's id.
func streamDir(s doc.Step, properties any) string {
	plugin := strings.ReplaceAll(s.Action, ":", "")
	if s.V2 && s.ID != s.Action {
		return path.Join(plugin, s.Dir)
	}
	id := ""
	if m, ok := properties.(map[string]any); ok {
		id, _ = m["id"].(string)
	}
	return path.Join(plugin, doc.PropertyDir(id))
}

func stepDir(commandDir string, s doc.Step) string { return filepath.Join(commandDir, s.Dir) }

// streams are the two open files of a block, and where its text begins.
type streams struct {
	stdout, stderr *os.File
	from           [2]int64
}

// openStreams opens the files for appending. What an earlier run of the
// document left in them (before a reboot) is told again; what an earlier block
// of this run left is not. All names are resolved below the command's
// directory, whatever links lie there.
func (e *execution) openStreams(dir string) (*streams, error) {
	if err := e.root.MkdirAll(dir, dirMode); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	var st streams
	for i, f := range []**os.File{&st.stdout, &st.stderr} {
		name := path.Join(dir, []string{"stdout", "stderr"}[i])
		file, err := e.root.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_RDWR, fileMode)
		if err != nil {
			st.close()
			return nil, err
		}
		*f = file
		if _, used := e.offsets[name]; used {
			info, err := file.Stat()
			if err != nil {
				st.close()
				return nil, err
			}
			st.from[i] = info.Size()
		}
		e.offsets[name] = st.from[i]
	}
	return &st, nil
}

func (st *streams) close() {
	for _, f := range []*os.File{st.stdout, st.stderr} {
		if f != nil {
			_ = f.Close() // written through already; nothing to lose
		}
	}
}

func (st *streams) texts() (stdout, stderr string) {
	return head(st.stdout, st.from[0]), head(st.stderr, st.from[1])
}

// discard removes the files of a block; a later block begins them anew.
func (e *execution) discard(dir string) {
	for _, base := range []string{"stdout", "stderr"} {
		name := path.Join(dir, base)
		if err := e.root.Remove(name); err != nil {
			e.Log.Warn("remove the output of a step", "file", name, "error", err)
			continue
		}
		delete(e.offsets, name)
	}
}

// head reads what a result can hold of a stream, and not more: a script may
// have written without end.
func head(f *os.File, from int64) string {
	b, err := io.ReadAll(io.NewSectionReader(f, from, doc.MaxStream))
	if err != nil {
		return string(b) + "\n[the rest of the output cannot be read: " + err.Error() + "]"
	}
	return string(b)
}

// readBack reads the streams that an earlier process left, if any.
func (e *execution) readBack(dir string) (stdout, stderr string) {
	texts := [2]string{}
	for i, name := range []string{"stdout", "stderr"} {
		f, err := e.root.Open(path.Join(dir, name))
		if err != nil {
			continue // never written
		}
		texts[i] = head(f, 0)
		_ = f.Close() // read only
	}
	return texts[0], texts[1]
}
