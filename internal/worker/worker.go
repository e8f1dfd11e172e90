// Package worker is the process that runs a document. It is this program
// again, started by the agent with a job's directory; it outlives the agent,
// and what it has recorded there is the truth. While other documents wait, one
// that left no trace in it is followed by the next.
package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/clock"
	"ssmagent/internal/engine"
	"ssmagent/internal/fsys"
	"ssmagent/internal/job"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
)

// Deps is what a worker needs of the machine.
type Deps struct {
	FS     fsys.FS
	Clock  clock.Clock  // of uploads; nil: the machine's
	Log    *slog.Logger // nil: nowhere
	Stdin  io.Reader    // orders of the agent that started it
	Stdout io.Writer    // events for it
	// Stderr gets the one sentence of a worker that cannot begin.
	Stderr io.Writer
	// Listen is ipc.Listen: later agents find the worker there.
	Listen func(path string) (net.Listener, error)
	// Plugins are this build's handlers, made for one document. The
	// credentials are the node's; the agent is asked when they are first
	// needed.
	Plugins func(job.Request, aws.CredentialsProvider) step.Set
	// Subreaper is proc.BecomeSubreaper, KillDescendants the one of proc.
	Subreaper       func() error
	KillDescendants func(ctx context.Context, keep []proc.ID) error
	// Imprint is the one of proc. Nil: a worker runs one document.
	Imprint func() (asThen func() bool)
}

// killPatience bounds the search for what a cancelled document left running.
const killPatience = 5 * time.Second

// Exit codes of a worker; what became of the document is in its log.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main runs the document of the job directory args[0] and returns the exit
// code. ctx ending (SIGTERM) ends the document with step.ErrShutdown.
func Main(ctx context.Context, args []string, d Deps) int {
	if len(args) != 1 || !filepath.IsAbs(args[0]) {
		fmt.Fprintf(d.Stderr, "%s: needs one argument, the absolute path of a job's directory; the agent starts it\n", job.WorkerName)
		return exitUsage
	}
	quietPipes()
	if err := serve(ctx, args[0], d); err != nil {
		fmt.Fprintf(d.Stderr, "%s: %v\n", job.WorkerName, err)
		return exitFailed
	}
	return exitOK
}

// serve runs the document of the job in path and then, as long as each leaves
// this process as it was, those that the agent gives it.
func serve(ctx context.Context, path string, d Deps) error {
	if err := d.Subreaper(); err != nil {
		return fmt.Errorf("become the parent of orphans: %w", err)
	}
	s := newStarter(d.Stdout)
	go s.hear(d.Stdin)
	asThen := func() bool { return false }
	if d.Imprint != nil {
		asThen = d.Imprint()
	}
	dir := job.Dir{FS: d.FS, Path: path}
	l, err := listen(dir, d) // before the order, while the agent still writes
	if err != nil {
		return err
	}
	t, err := s.task(ctx)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	for {
		t.agents.listen(l)
		records, clean, err := run(ctx, dir, t, d)
		again := err == nil && clean && ctx.Err() == nil && s.there() && asThen()
		if !again {
			t.agents.end(records, err)
		}
		t.agents.close(l)
		if !again || s.idle() != nil {
			return err
		}
		if t, err = s.task(ctx); err != nil {
			return nil //nolint:nilerr // no other document comes
		}
		if dir.Path = t.Dir; !filepath.IsAbs(dir.Path) {
			return fmt.Errorf("the agent ordered the document of %q, which is no absolute path", dir.Path)
		}
		if l, err = listen(dir, d); err != nil {
			return err
		}
	}
}

func listen(dir job.Dir, d Deps) (net.Listener, error) {
	l, err := d.Listen(dir.Socket())
	if err != nil {
		return nil, fmt.Errorf("listen for later agents: %w", err)
	}
	return l, nil
}

// run runs one document. records is how many its log has; clean says that its
// steps did nothing in this process that could outlast them.
func run(ctx context.Context, dir job.Dir, t task, d Deps) (records int, clean bool, err error) {
	req, err := dir.Load() // not before: the agent may have started us while it wrote
	if err != nil {
		return 0, false, err
	}
	log, progress, err := dir.OpenLog(len(req.Steps))
	if err != nil {
		return 0, false, err
	}
	defer log.Close()
	t.agents.begin(progress.Records)
	rec := &recorder{log: log, progress: progress, agents: t.agents, was: progress.Done()}
	err = execute(ctx, t.agents, req, t.Order, rec, d)
	if err == nil && !progress.Finished && !progress.Reboot {
		err = rec.append(job.Record{Finished: true})
	}
	return progress.Records, !t.agents.asked() && scriptsOnly(req.Steps) && tame(progress), err
}

// scriptsOnly says whether all that runs are processes of their own: other
// actions work in this one.
func scriptsOnly(steps []doc.Step) bool {
	return !slices.ContainsFunc(steps, func(s doc.Step) bool {
		return s.Action != "aws:runShellScript" && s.Action != "aws:runPowerShellScript"
	})
}

// tame says whether a document ended by itself. One that was ended may still
// be told so.
func tame(p *job.Progress) bool {
	return p.Finished && !slices.ContainsFunc(p.History, func(r doc.Result) bool {
		return r.Status == doc.Cancelled || r.Status == doc.TimedOut
	})
}

// execute runs the engine with a context that says why it ends.
func execute(ctx context.Context, a *agents, req job.Request, o job.Order, rec *recorder, d Deps) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the worker broke down: %v", p)
		}
	}()
	rctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(step.ErrShutdown) })()
	defer a.onCancel(func() { cancel(step.ErrCancelled) })()
	if err := makeDir(d.FS, req.Dir); err != nil {
		return fmt.Errorf("make the orchestration directory: %w", err)
	}
	run := engine.Run{
		Log:       commandLog(d.Log, req.ID),
		CommandID: req.ID, Steps: req.Steps, Dir: req.Dir, Platform: req.Node.PlatformType,
		Plugins: d.Plugins(req, a), Done: rec.was, Started: rec.progress.Started(), Interrupted: o.Interrupted,
		S3Bucket: req.S3Bucket, S3KeyPrefix: req.S3KeyPrefix, Recorder: rec,
	}
	run.Discard = discard(req.Node.LocalOutputCleanup)
	if req.S3Bucket != "" || req.LogGroup != "" {
		if out, oerr := newOutput(req, a, d); oerr != nil {
			fmt.Fprintf(d.Stderr, "%s: the output of command %s is not uploaded: %v\n", job.WorkerName, req.ID, oerr)
		} else {
			run.Printed = out.printed
		}
	}
	_, _, err = run.Execute(rctx)
	if errors.Is(context.Cause(rctx), step.ErrCancelled) {
		// Also what left its group and session, and what an earlier step
		// left in the background.
		kctx, done := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
		defer done()
		if kerr := d.KillDescendants(kctx, nil); kerr != nil && err == nil {
			err = fmt.Errorf("end the command's processes: %w", kerr)
		}
	}
	return err
}

// makeDir makes a directory that need not survive the machine: only its parent
// is made with care, once.
func makeDir(f fsys.FS, dir string) error {
	err := f.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return fsys.MkdirAll(f, dir, 0o700)
	}
	return err
}

// recorder makes progress durable, then tells it.
type recorder struct {
	log      *job.Log
	progress *job.Progress
	agents   *agents
	was      map[string]doc.Result // what earlier workers recorded
}

var _ engine.Recorder = (*recorder)(nil)

// Started implements engine.Recorder.
func (r *recorder) Started(stepID string) error { return r.append(job.Record{Started: stepID}) }

// Finished implements engine.Recorder. A result that an earlier worker
// recorded was reported then.
func (r *recorder) Finished(res doc.Result) error {
	if old, ok := r.was[res.ID]; ok && old.Status == res.Status && old.End.Equal(res.End) && old.Start.Equal(res.Start) {
		return nil
	}
	return r.append(job.Record{Result: &res})
}

func (r *recorder) append(rec job.Record) error {
	if err := r.log.Append(rec); err != nil {
		return err
	}
	seq := r.progress.Records
	r.progress.Apply(rec)
	r.agents.tell(job.Event{Seq: seq, Record: rec})
	return nil
}

// commandLog is log for the command id.
func commandLog(log *slog.Logger, id string) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log.With("command", id)
}
