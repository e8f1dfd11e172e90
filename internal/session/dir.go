package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"ssmagent/internal/fsys"
	"ssmagent/platform/proc"
)

// Names inside a session's directory.
const (
	requestFile   = "request.json"
	workerFile    = "worker.json" // which process serves the session
	resultFile    = "result.json" // there: over
	terminateFile = "terminate"   // there: the service ended it
	socketFile    = "ipc"         // where the worker listens
	maxFile       = 4 * maxInputs // of any of them
	maxResult     = 2500          // bytes of a result's text, as the stock agent's
	cut           = "\n---Error truncated----"
)

// Dir is the directory of one session.
type Dir struct {
	FS   fsys.FS
	Path string // absolute
}

// Socket is the path where the session's worker listens.
func (d Dir) Socket() string { return filepath.Join(d.Path, socketFile) }

func (d Dir) file(name string) string { return filepath.Join(d.Path, name) }

// create puts r on disk, durably. fs.ErrExist: the session is known.
func (d Dir) create(r Request) error {
	if err := d.FS.Mkdir(d.Path, 0o700); err != nil {
		return err
	}
	b, err := json.Marshal(r)
	if err == nil {
		err = d.write(requestFile, b, true)
	}
	if err == nil {
		err = fsys.SyncEntry(d.FS, d.Path)
	}
	if err != nil {
		d.remove()
		return fmt.Errorf("save the session: %w", err)
	}
	return nil
}

// write makes a file anew. Without sync it survives the agent, not the machine.
func (d Dir) write(name string, b []byte, sync bool) error {
	return fsys.WriteInPlace(d.FS, d.file(name), b, sync)
}

func (d Dir) has(name string) bool {
	_, err := d.FS.Lstat(d.file(name))
	return err == nil
}

// Load reads the session's request.
func (d Dir) Load() (Request, error) {
	b, err := fsys.ReadFile(d.FS, d.file(requestFile), maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Request{}, errTorn
	}
	if err != nil {
		return Request{}, fmt.Errorf("read the session: %w", err)
	}
	var r Request
	if json.Unmarshal(b, &r) != nil || r.validate() != nil || r.ID != filepath.Base(d.Path) {
		return Request{}, errTorn
	}
	if r.Version > Version {
		return Request{}, fmt.Errorf("%s was written by a later version of the agent (layout %d, this one knows %d)", d.Path, r.Version, Version)
	}
	return r, nil
}

// Finish makes the result durable, whole or not at all. The text is cut to
// what a service takes.
func (d Dir) Finish(r Result) error {
	r.Output = bounded(r.Output)
	b, err := json.Marshal(r)
	if err == nil {
		err = fsys.WriteFile(d.FS, d.file(resultFile), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("save the session's result: %w", err)
	}
	return nil
}

func bounded(text string) string {
	if len(text) > maxResult {
		text = text[:maxResult-len(cut)] + cut
	}
	return text
}

// Result is how the session ended, false when it has not.
func (d Dir) Result() (Result, bool) {
	b, err := fsys.ReadFile(d.FS, d.file(resultFile), maxFile)
	var r Result
	if err != nil || json.Unmarshal(b, &r) != nil || r.Status != Success && r.Status != Failed {
		return Result{}, false
	}
	r.audited = true // before it was written
	return r, true
}

// workerRecord is worker.json.
type workerRecord struct {
	PID   int
	Start uint64
}

func (w workerRecord) id() proc.ID { return proc.ID{PID: w.PID, Start: w.Start} }

// loadWorker returns the zero record when there is none that can be read: a
// crash of the machine may have torn it, and then no worker runs.
func (d Dir) loadWorker() (w workerRecord) {
	b, err := fsys.ReadFile(d.FS, d.file(workerFile), maxFile)
	if err != nil || json.Unmarshal(b, &w) != nil {
		return workerRecord{}
	}
	return w
}

// saveWorker records a worker before it is told to run. It need not survive
// the machine: neither does the worker.
func (d Dir) saveWorker(id proc.ID) error {
	b, err := json.Marshal(workerRecord{PID: id.PID, Start: id.Start})
	if err == nil {
		err = d.write(workerFile, b, false)
	}
	if err != nil {
		return fmt.Errorf("record the session's worker: %w", err)
	}
	return nil
}

// remove removes the directory, the request first: without it nothing is left
// to be taken up.
func (d Dir) remove() {
	for _, name := range []string{requestFile, workerFile, terminateFile, socketFile, resultFile} {
		_ = d.FS.Remove(d.file(name))
	}
	if names, err := d.FS.ReadDir(d.Path); err == nil {
		for _, n := range names { // what a crash left unfinished
			if fsys.IsTemp(n.Name()) {
				_ = d.FS.Remove(d.file(n.Name()))
			}
		}
	}
	_ = d.FS.Remove(d.Path)
}
