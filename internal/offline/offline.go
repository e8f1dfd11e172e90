// Package offline runs documents that lie in a folder of the node: without a
// service, without parameters, with the reply in a file.
package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/job"
	"ssmagent/internal/wire/doc"
)

// Channel is that of jobs from the folder.
const Channel = "offline"

// The folders below Options.Dir, as stock agents call them.
const (
	submitted = "submitted" // NAME.COMMANDID while it waits and runs
	completed = "completed" // COMMANDID: the reply
	invalid   = "invalid"   // NAME.COMMANDID of what is no document
)

const (
	// every is how often the folder is looked at when nothing tells of news.
	every = 15 * time.Minute
	// young is the age below which a file that is no document may be half written.
	young = 2 * time.Second
	// linger is how long a document stays in submitted after its reply: who
	// dropped it learns its id there.
	linger = 10 * time.Second
	// again is after how long a disk or queue that is full is asked once more.
	again = 10 * time.Second

	maxDocument = 1 << 20
	maxName     = 200 // bytes of a file's name that are kept before the id
	maxBatch    = 100 // documents that are taken at once
)

// Options of a Folder. All but Store and Watch is needed.
type Options struct {
	Dir   string
	FS    fsys.FS
	Clock clock.Clock
	Log   *slog.Logger
	// Submit is job.Queue's.
	Submit func(context.Context, job.Request) error
	Agent  doc.AgentInfo
	Node   job.Node
	// Orchestration is the directory above the commands' own.
	Orchestration string
	Store         doc.ParameterStore
	// Watch tells of files that come into a directory; nil, or an error:
	// new documents are found at the next look.
	Watch func(ctx context.Context, dir string) (<-chan struct{}, error)
}

// Folder takes documents and writes replies. It is the job.Sink of Channel.
type Folder struct {
	opt Options
	mu  sync.Mutex // Report beside a look at the folder
	// accepted are the ids in submitted that the queue has.
	accepted map[string]bool
	over     chan struct{} // a document has ended
}

var _ job.Sink = (*Folder)(nil)

// New returns a Folder that does nothing until Run.
func New(o Options) *Folder {
	return &Folder{opt: o, accepted: map[string]bool{}, over: make(chan struct{}, 1)}
}

func (f *Folder) path(elem ...string) string {
	return filepath.Join(append([]string{f.opt.Dir}, elem...)...)
}

// Run takes documents until ctx ends. A folder that cannot be used is told and
// is no error: the node has its service.
func (f *Folder) Run(ctx context.Context) error {
	for _, dir := range []string{f.opt.Dir, f.path(submitted), f.path(completed), f.path(invalid)} {
		if err := fsys.SettleDir(f.opt.FS, dir, 0o700); err != nil {
			f.opt.Log.Error("documents in the local folder are not run", "error", err)
			<-ctx.Done()
			return nil
		}
	}
	var news <-chan struct{}
	if f.opt.Watch != nil {
		var err error
		if news, err = f.opt.Watch(ctx, f.opt.Dir); err != nil {
			f.opt.Log.Info("the local folder is looked at every 15 minutes only", "error", err)
			news = nil
		}
	}
	for {
		t := f.opt.Clock.NewTimer(f.look(ctx))
		select {
		case <-ctx.Done():
		case <-f.over:
		case _, ok := <-news:
			if !ok {
				news = nil
			}
		case <-t.C():
		}
		t.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// look takes what is in the folder and returns after how long to look again.
func (f *Folder) look(ctx context.Context) time.Duration {
	next := f.resume(ctx)
	entries, err := f.opt.FS.ReadDir(f.opt.Dir)
	if err != nil {
		f.opt.Log.Warn("look into the local folder", "error", err)
		return again
	}
	taken := 0
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue // ours, or what an editor has not finished
		}
		if taken++; taken > maxBatch || ctx.Err() != nil {
			return 0
		}
		wait, err := f.take(ctx, e.Name())
		if err != nil {
			f.opt.Log.Warn("a document in the local folder waits", "file", shown(e.Name()), "error", err)
			wait = again
		}
		next = min(next, wait)
	}
	return next
}

// take gives one file an id and submits it.
func (f *Folder) take(ctx context.Context, name string) (time.Duration, error) {
	info, err := f.opt.FS.Lstat(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return every, nil // taken back
	}
	if err != nil {
		return 0, err
	}
	id := uuid.NewString()
	r, err := f.request(ctx, f.path(name), info, name, id)
	if errors.Is(err, doc.ErrStore) {
		return 0, err
	}
	if err != nil {
		if age := f.opt.Clock.Now().Sub(info.ModTime()); age >= 0 && age < young {
			return young, nil
		}
		f.opt.Log.Warn("a document in the local folder is not run", "file", shown(name), "error", err)
		return every, f.move(f.path(name), f.path(invalid, label(name, id)))
	}
	// Its id is durable before it is run: else it would run again under another.
	if err := f.move(f.path(name), f.path(submitted, label(name, id))); err != nil {
		return 0, err
	}
	return f.submit(ctx, r, label(name, id))
}

// label is the name of a file in the folders; names of any length fit.
func label(name, id string) string {
	if len(name) > maxName {
		name = name[:maxName]
		for !utf8.ValidString(name) && len(name) > maxName-utf8.UTFMax {
			name = name[:len(name)-1]
		}
	}
	return name + "." + id
}

// move makes a rename durable in both folders.
func (f *Folder) move(from, to string) error {
	if err := f.opt.FS.Rename(from, to); err != nil {
		return fmt.Errorf("move the document: %w", err)
	}
	for _, dir := range []string{filepath.Dir(to), filepath.Dir(from)} {
		if err := f.opt.FS.SyncDir(dir); err != nil {
			return fmt.Errorf("move the document: %w", err)
		}
	}
	return nil
}

// request reads a document. Its error says what is wrong with the file.
func (f *Folder) request(ctx context.Context, path string, info fs.FileInfo, name, id string) (job.Request, error) {
	switch {
	case !info.Mode().IsRegular():
		return job.Request{}, fmt.Errorf("it is no regular file (%v)", info.Mode().Type())
	case info.Size() > maxDocument:
		return job.Request{}, fmt.Errorf("it has %d bytes; a document has at most %d", info.Size(), maxDocument)
	}
	b, err := fsys.ReadFile(f.opt.FS, path, maxDocument)
	if err != nil {
		return job.Request{}, err
	}
	d, err := doc.Decode(b)
	if err != nil {
		return job.Request{}, err
	}
	steps, err := d.Resolve(ctx, nil, doc.Options{Store: f.opt.Store})
	if err != nil {
		return job.Request{}, err
	}
	return job.Request{
		ID: id, JobID: id, Channel: Channel, Created: info.ModTime().UTC(), DocumentName: shown(name), Steps: steps,
		Dir: filepath.Join(f.opt.Orchestration, id), Node: f.opt.Node,
	}, nil
}

func (f *Folder) submit(ctx context.Context, r job.Request, file string) (time.Duration, error) {
	err := f.opt.Submit(ctx, r)
	switch {
	case err == nil:
		f.opt.Log.Info("a document of the local folder was accepted", "file", shown(file), "command", r.ID)
	case errors.Is(err, job.ErrDuplicate): // by an earlier agent; it will be reported
	case errors.Is(err, job.ErrInvalid):
		f.opt.Log.Warn("a document in the local folder is not run", "file", shown(file), "error", err)
		return every, f.move(f.path(submitted, file), f.path(invalid, file))
	default:
		return 0, err
	}
	f.mu.Lock()
	f.accepted[r.ID] = true
	f.mu.Unlock()
	return every, nil
}

// resume submits what was given an id and did not get into the queue, and
// removes what was answered.
func (f *Folder) resume(ctx context.Context) time.Duration {
	entries, err := f.opt.FS.ReadDir(f.path(submitted))
	if err != nil {
		f.opt.Log.Warn("look into the local folder", "error", err)
		return again
	}
	next := every
	for _, e := range entries {
		id := e.Name()[strings.LastIndexByte(e.Name(), '.')+1:]
		if uuid.Validate(id) != nil || ctx.Err() != nil {
			continue
		}
		wait, err := f.resumeOne(ctx, e.Name(), id)
		if err != nil {
			f.opt.Log.Warn("a document in the local folder waits", "file", shown(e.Name()), "error", err)
			wait = again
		}
		next = min(next, wait)
	}
	return next
}

func (f *Folder) resumeOne(ctx context.Context, file, id string) (time.Duration, error) {
	path := f.path(submitted, file)
	if reply, err := f.opt.FS.Lstat(f.path(completed, id)); err == nil {
		if age := f.opt.Clock.Now().Sub(reply.ModTime()); age >= 0 && age < linger {
			return linger - age, nil
		}
		f.mu.Lock()
		delete(f.accepted, id)
		f.mu.Unlock()
		return every, f.opt.FS.Remove(path)
	}
	f.mu.Lock()
	known := f.accepted[id]
	f.mu.Unlock()
	if known {
		return every, nil
	}
	info, err := f.opt.FS.Lstat(path)
	if err != nil {
		return 0, err
	}
	r, err := f.request(ctx, path, info, strings.TrimSuffix(file, "."+id), id)
	if errors.Is(err, doc.ErrStore) {
		return 0, err
	}
	if err != nil {
		f.opt.Log.Warn("a document in the local folder is not run", "file", shown(file), "error", err)
		return every, f.move(path, f.path(invalid, file))
	}
	return f.submit(ctx, r, file)
}

// Report implements job.Sink: the last report becomes the reply's file.
func (f *Folder) Report(_ context.Context, rs ...job.Report) error {
	for _, r := range rs {
		if !r.Final {
			continue
		}
		status := doc.Overall(r.Results)
		text, err := doc.NewReply(f.opt.Agent, f.opt.Clock.Now(), r.Results, status).Encode(0)
		if err != nil {
			return err
		}
		if err := fsys.WriteFile(f.opt.FS, f.path(completed, r.Request.ID), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write the reply of %s: %w", r.Request.ID, err)
		}
		select {
		case f.over <- struct{}{}:
		default:
		}
		f.opt.Log.Info("a document of the local folder has ended", "command", r.Request.ID, "status", status)
	}
	return nil
}

// shown is a file's name as far as a log or a reply takes it: anybody may have
// chosen it.
func shown(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, name)
	return name[:min(len(name), maxName)]
}
