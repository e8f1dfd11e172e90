// Package predecessor takes over what a stock agent left unfinished when its
// place was taken: commands that it had promised to run, and replies that it
// could not send. Its processes are left alone.
package predecessor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/job"
	"ssmagent/internal/outbox"
	"ssmagent/internal/wire/doc"
)

// The stock agent's folders in the node's directory.
const (
	stateDir = "document/state"
	waiting  = "pending"
	running  = "current"
	// given is where the stock agent itself puts documents that it has given
	// up: it never reads them again, should it come back.
	given = "corrupt"
)

const (
	maxFile = 16 << 20
	// maxFiles bounds what one start deals with; the next one does the rest.
	maxFiles = 5000
)

// Outbox keeps replies until the service has them; *outbox.Outbox.
type Outbox interface {
	Put(entries ...outbox.Entry) error
}

// Options of TakeOver. All of it is needed.
type Options struct {
	FS      fsys.FS
	Clock   clock.Clock
	Log     *slog.Logger
	Dir     string // the node's directory in the data store
	Jobs    string // the directory of our own jobs
	Sink    job.Sink
	Outbox  Outbox
	Agent   doc.AgentInfo
	Node    job.Node
	Offline string // channel of documents from the node's own folder
}

// TakeOver reports each unfinished command of a stock agent as Failed, once,
// and moves its file aside; replies that were not sent come before. It has to
// return before anything is sent: a crash in the middle is then made good by
// the next start, with the same reply.
func TakeOver(ctx context.Context, o Options) error {
	unsent, err := o.replies(ctx)
	if err != nil { // which commands are over is not known then
		return err
	}
	for _, folder := range []string{running, waiting} {
		err = errors.Join(err, o.documents(ctx, folder, unsent.final))
	}
	if err != nil {
		return err
	}
	return o.removeTaken(unsent)
}

func (o Options) path(elem ...string) string {
	return filepath.Join(append([]string{o.Dir}, elem...)...)
}

// files are the regular files of a folder, which may be missing.
func (o Options) files(dir string) ([]string, error) {
	entries, err := o.FS.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for what a stock agent left: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && len(names) < maxFiles {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// documents deals with the documents in one folder of state.
func (o Options) documents(ctx context.Context, folder string, finished map[string]bool) error {
	names, err := o.files(o.path(stateDir, folder))
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err = errors.Join(err, o.document(ctx, folder, name, finished))
	}
	return err
}

func (o Options) document(ctx context.Context, folder, name string, finished map[string]bool) error {
	file := o.path(stateDir, folder, name)
	b, err := fsys.ReadFile(o.FS, file, maxFile)
	if err != nil && !errors.Is(err, fsys.ErrTooLarge) {
		return err
	}
	var d document
	if err == nil {
		d, err = parseDocument(b, name)
	}
	if err != nil {
		o.Log.Warn("a document of the stock agent cannot be read: nobody is told how it ended", "file", file, "error", err)
		return o.aside(folder, name)
	}
	info := d.DocumentInformation
	switch d.DocumentType {
	case offlineCommand:
		if folder == running { // one that waits is run from the node's folder, which has it
			err = o.end(ctx, d, o.Offline, folder, false)
		}
	case sendCommand:
		err = o.end(ctx, d, d.channel(), folder, finished[info.MessageID])
	case cancelCommand:
	default:
		return nil // sessions and associations stay for the stock agent
	}
	if err != nil {
		return fmt.Errorf("report command %s of the stock agent: %w", name, err)
	}
	return o.aside(folder, name)
}

// end has a command known as one that is over, and reports what it came to,
// unless a reply that was found does.
func (o Options) end(ctx context.Context, d document, channel, folder string, told bool) error {
	info := d.DocumentInformation
	results, lost := d.outcome(folder)
	at := info.created()
	if at.IsZero() {
		at = o.Clock.Now()
	}
	r := job.Request{ID: info.DocumentID, JobID: info.MessageID, Channel: channel, Created: at, Accepted: at, DocumentName: info.DocumentName, Node: o.Node}
	fresh, err := job.Bury(o.FS, o.Jobs, job.Summary{
		ID: r.ID, Document: r.DocumentName, Channel: channel, Status: doc.Overall(results), Accepted: at, Steps: len(d.InstancePluginsInformation),
	})
	if err != nil || !fresh || told {
		return err // one of our own commands reports itself
	}
	// Of several steps the last reply tells the counts only.
	var reports []job.Report
	if lost && len(results) > 1 {
		reports = append(reports, job.Report{Request: r, Result: &results[len(results)-1], Results: results, Seq: 2 * len(results)})
	}
	reports = append(reports, job.Report{Request: r, Results: results, Final: true, Seq: 2*len(results) + 1})
	if err := o.Sink.Report(ctx, reports...); err != nil {
		return err
	}
	o.Log.Warn("a command that the stock agent left unfinished is reported", "command", r.ID, "status", doc.Overall(results), "process", info.ProcInfo.Pid)
	return nil
}

// aside moves a document to where the stock agent does not read it again.
func (o Options) aside(folder, name string) error {
	to := o.path(stateDir, given)
	err := fsys.SettleDir(o.FS, to, 0o700)
	if err == nil {
		err = o.FS.Rename(o.path(stateDir, folder, name), filepath.Join(to, name))
	}
	if err == nil {
		err = errors.Join(o.FS.SyncDir(to), o.FS.SyncDir(o.path(stateDir, folder)))
	}
	if err != nil {
		return fmt.Errorf("move the stock agent's document aside: %w", err)
	}
	return nil
}
