package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"ssmagent/internal/fsys"
	"ssmagent/platform/proc"
)

// Names inside a job's directory.
const (
	requestFile  = "request.json" // durable before the job is acknowledged
	eventsFile   = "events"       // Records, one line each, written by the worker
	workerFile   = "worker.json"  // which process runs the job
	reportedFile = "reported"     // how many results were handed to the sink
	cancelFile   = "cancel"       // there: an operator cancelled
	doneFile     = "done"         // there: over and reported; a tombstone
	socketFile   = "ipc"          // where the worker listens
)

// maxFile bounds what is read of a job's own files.
const maxFile = 64 << 20

// Dir is the directory of one job.
type Dir struct {
	FS   fsys.FS
	Path string // absolute
}

// Socket is the path where the job's worker listens.
func (d Dir) Socket() string { return filepath.Join(d.Path, socketFile) }

func (d Dir) file(name string) string { return filepath.Join(d.Path, name) }

// claim makes the directory. fs.ErrExist: the command is known.
func (d Dir) claim() error { return d.FS.Mkdir(d.Path, 0o700) }

// fill puts r into the claimed directory. It has returned nil only when
// everything is durable: the request, its entry, the empty event log and the
// directory itself. After an error the directory is to be removed.
func (d Dir) fill(r Request) error {
	b, err := json.Marshal(r)
	if err == nil {
		err = d.write(requestFile, b, true)
	}
	if err == nil {
		err = d.write(eventsFile, nil, false)
	}
	if err == nil {
		err = fsys.SyncEntry(d.FS, d.Path)
	}
	if err != nil {
		return fmt.Errorf("save the command: %w", err)
	}
	return nil
}

// settle makes a request durable that was found: the agent that wrote it may
// have been killed before it could.
func (d Dir) settle() error {
	f, err := d.FS.OpenFile(d.file(requestFile), os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err == nil && !d.has(eventsFile) { // a worker syncs what is in it, not its entry
		err = d.write(eventsFile, nil, false)
	}
	if err == nil {
		err = d.FS.SyncDir(d.Path)
	}
	if err != nil {
		return fmt.Errorf("keep the command: %w", err)
	}
	return nil
}

// write makes a file anew. Without sync it survives the agent, not the machine.
func (d Dir) write(name string, b []byte, sync bool) error {
	return fsys.WriteInPlace(d.FS, d.file(name), b, sync)
}

func (d Dir) read(name string) ([]byte, error) {
	return fsys.ReadFile(d.FS, d.file(name), maxFile)
}

func (d Dir) has(name string) bool {
	_, err := d.FS.Lstat(d.file(name))
	return err == nil
}

func (d Dir) exists() bool {
	_, err := d.FS.Lstat(d.Path)
	return err == nil
}

// mark makes an empty file durable.
func (d Dir) mark(name string) error {
	if err := d.write(name, nil, false); err != nil {
		return err
	}
	return d.FS.SyncDir(d.Path)
}

// Load reads the job's request.
func (d Dir) Load() (Request, error) {
	b, err := d.read(requestFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Request{}, errTorn
	}
	if err != nil {
		return Request{}, fmt.Errorf("read the command: %w", err)
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

// Progress reads the job's event log.
func (d Dir) Progress(steps int) (*Progress, error) {
	b, err := d.read(eventsFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the command's events: %w", err)
	}
	p := NewProgress(steps)
	records, _ := decodeRecords(b)
	for _, r := range records {
		p.Apply(r)
	}
	return p, nil
}

// Log appends to a job's events; each Append is durable when it returns.
type Log struct{ f fsys.File }

// OpenLog opens the event log for its one writer and returns what is in it.
// What a writer that died left unfinished is cut off, and what it may have
// written without getting it to disk is made durable: it will be acted upon.
// (fsys.Log is not used: the file is durable since the job was submitted, and
// its sync of the directory at every opening would be one more per command.)
func (d Dir) OpenLog(steps int) (*Log, *Progress, error) {
	p, err := d.Progress(steps)
	if err != nil {
		return nil, nil, err
	}
	f, err := d.FS.OpenFile(d.file(eventsFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open the command's events: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err == nil {
		_, size := decodeRecords(b)
		if size != int64(len(b)) {
			err = f.Truncate(size)
		}
		if err == nil && len(b) > 0 {
			err = f.Sync()
		}
		if err == nil {
			_, err = f.Seek(size, io.SeekStart)
		}
	}
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("open the command's events: %w", err)
	}
	return &Log{f}, p, nil
}

// Append adds a record. After an error the log must not be used again.
func (l *Log) Append(r Record) error {
	b, err := encodeLine(r)
	if err != nil {
		return fmt.Errorf("record progress: %w", err)
	}
	if _, err := l.f.Write(b); err != nil {
		return fmt.Errorf("record progress: %w", err)
	}
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("record progress: %w", err)
	}
	return nil
}

// Close closes the log.
func (l *Log) Close() error { return l.f.Close() }

// workerRecord is worker.json.
type workerRecord struct {
	PID     int
	Start   uint64
	Attempt int // 1 for the first worker of the job
}

func (w workerRecord) id() proc.ID { return proc.ID{PID: w.PID, Start: w.Start} }

// loadWorker returns the zero record when there is none that can be read: a
// crash of the machine may have torn it, and then no worker runs.
func (d Dir) loadWorker() (w workerRecord) {
	if b, err := d.read(workerFile); err == nil && json.Unmarshal(b, &w) != nil {
		return workerRecord{}
	}
	return w
}

// saveWorker records a worker before it is told to run. From the second on it
// is durable, so that a machine that crashes in each run stops at the limit.
func (d Dir) saveWorker(w workerRecord) error {
	b, err := json.Marshal(w)
	if err != nil {
		return err
	}
	durable := w.Attempt > 1
	if err := d.write(workerFile, b, durable); err != nil {
		return fmt.Errorf("record the worker: %w", err)
	}
	if durable {
		return d.FS.SyncDir(d.Path)
	}
	return nil
}

// loadReported and saveReported only spare the service repetitions: a lost
// number means that replies go out again, under the same ids.
func (d Dir) loadReported() (n int) {
	if b, err := d.read(reportedFile); err == nil {
		_ = json.Unmarshal(b, &n)
	}
	return max(n, 0)
}

func (d Dir) saveReported(n int) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return d.write(reportedFile, b, false)
}

// bury turns the directory into a tombstone. That it is there is durable, what
// it says of the job is for people and need not be.
func (d Dir) bury(s Summary) error {
	b, err := json.Marshal(s)
	if err == nil {
		err = d.write(doneFile, b, false)
	}
	if err == nil {
		err = d.FS.SyncDir(d.Path)
	}
	if err != nil {
		return fmt.Errorf("close the command: %w", err)
	}
	d.strip()
	return nil
}

// Bury has the queue that is kept in dir know a command that was never its own
// and is over: another delivery of it is a duplicate. False: the command is one
// of the queue's, which is not over. It is for the time before the queue runs.
func Bury(f fsys.FS, dir string, s Summary) (bool, error) {
	if !validID(s.ID) {
		return false, fmt.Errorf("close the command: %.80q is no command's id", s.ID)
	}
	d := Dir{FS: f, Path: filepath.Join(dir, s.ID)}
	if d.has(requestFile) && !d.has(doneFile) {
		return false, nil
	}
	if err := fsys.SettleDir(f, d.Path, 0o700); err != nil {
		return false, err
	}
	return true, d.bury(s)
}

// strip removes all but the tombstone; what stays goes at the next start.
func (d Dir) strip() {
	entries, err := d.FS.ReadDir(d.Path) // also what a killed worker left half made
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.Name() != doneFile && !e.IsDir() {
			_ = d.FS.Remove(d.file(e.Name()))
		}
	}
}

// remove removes the whole directory, the mark of its end last and only when
// nothing else can come back: without it the command would run again.
func (d Dir) remove() {
	d.strip()
	if d.has(doneFile) && d.FS.SyncDir(d.Path) != nil {
		return
	}
	_ = d.FS.Remove(d.file(doneFile))
	_ = d.FS.Remove(d.Path)
}
