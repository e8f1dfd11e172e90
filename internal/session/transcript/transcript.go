// Package transcript keeps what a session printed and hands it to S3 and
// CloudWatch Logs, when the session's document asks for it, in the forms that
// stock agents have.
package transcript

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/upload"
	"ssmagent/internal/wire/mgs"
)

// Options are what a Log needs.
type Options struct {
	Dir        string // above the sessions' own
	FS         fsys.FS
	Clock      clock.Clock
	Log        *slog.Logger
	Upload     *upload.Uploader
	SessionID  string
	Type       string // of the session, as mgs has them
	InstanceID string
	Region     string // of the gateway's signatures
	Owner      string
	User       string // of the shell
	Inputs     mgs.SessionInputs
	Keep       bool // a local copy stays (Ssm.SessionLogsDestination disk)
	// Retention is how long local copies stay.
	Retention time.Duration
}

// Log is the record of one session. A nil Log keeps nothing. Write may be
// called by several; the rest belongs to one.
type Log struct {
	opt    Options
	dir    string
	dirty  chan struct{} // signalled when there is more to stream
	stream *upload.Stream
	sent   int64 // bytes of the file that were streamed
	over   error // why streaming ended before its time
	// unstreamed is why it never began.
	unstreamed error

	mu      sync.Mutex
	file    fsys.File
	written int64
	failed  error // why no more is kept
}

// Names of files and bounds.
const (
	rawFile   = "ipcTempFile.log"
	maxSweep  = 1000 // old sessions removed at once
	tick      = time.Second
	maxStored = 4 << 30 // bytes of one session that are kept
)

// Wanted says whether a session with these inputs is to be logged.
func Wanted(in mgs.SessionInputs, sessionType string, keep bool) bool {
	return sessionType != mgs.SessionPort && (keep || in.S3BucketName != "" || in.CloudWatchLogGroupName != "")
}

// Key is the key of the session's object.
func Key(in mgs.SessionInputs, sessionID string) string {
	return strings.TrimPrefix(path.Join("/", in.S3KeyPrefix, strings.ReplaceAll(sessionID, ":", "")+".log"), "/")
}

// Open begins the log of a session. An error says why the session must not
// start: what its document wants encrypted is not, or that cannot be told.
func Open(ctx context.Context, o Options) (*Log, error) {
	if !filepath.IsAbs(o.Dir) { // a session that an agent before logging ordered
		return nil, errors.New("the session is to be logged, but its order names no directory for that; start it again")
	}
	l := newLog(o)
	if err := l.encrypted(ctx); err != nil {
		return nil, err
	}
	if err := l.choose(ctx); err != nil {
		return nil, err
	}
	err := fsys.MkdirAll(o.FS, l.dir, 0o700)
	if err == nil {
		l.file, err = o.FS.OpenFile(filepath.Join(l.dir, rawFile), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("the session is to be logged, but its log cannot be written: %w", err)
	}
	if l.stream != nil {
		l.note()
	}
	return l, nil
}

func newLog(o Options) *Log {
	return &Log{opt: o, dir: filepath.Join(o.Dir, o.SessionID, o.Type), dirty: make(chan struct{}, 1)}
}

// encrypted checks what the document demands of bucket and group.
func (l *Log) encrypted(ctx context.Context) error {
	in := l.opt.Inputs
	if in.S3BucketName != "" && bool(in.S3EncryptionEnabled) {
		ok, err := l.opt.Upload.Encrypted(ctx, in.S3BucketName)
		if err != nil {
			return fmt.Errorf("the session must be logged to an encrypted bucket (s3EncryptionEnabled), and whether %s is one cannot be told: %w", in.S3BucketName, err)
		}
		if !ok {
			return fmt.Errorf("the session must be logged to an encrypted bucket (s3EncryptionEnabled), and %s is not: encrypt it, or set s3EncryptionEnabled to false", in.S3BucketName)
		}
	}
	if in.CloudWatchLogGroupName == "" || !bool(in.CloudWatchEncryptionEnabled) {
		return nil
	}
	found, key, err := l.opt.Upload.Group(ctx, in.CloudWatchLogGroupName)
	switch {
	case err != nil:
		return fmt.Errorf("the session must be logged to an encrypted log group (cloudWatchEncryptionEnabled), and whether %s is one cannot be told: %w", in.CloudWatchLogGroupName, err)
	case !found || !key:
		return fmt.Errorf("the session must be logged to an encrypted log group (cloudWatchEncryptionEnabled), and %s is missing or has no KMS key: give it one, or set cloudWatchEncryptionEnabled to false", in.CloudWatchLogGroupName)
	}
	return nil
}

// choose decides whether the log is streamed while the session runs: where the
// group is not there it is not, as in stock agents, which go on without.
func (l *Log) choose(ctx context.Context) error {
	in := l.opt.Inputs
	if in.CloudWatchLogGroupName == "" || !in.CloudWatchStreamingEnabled || l.opt.Type != mgs.SessionStandardStream {
		return nil
	}
	found, _, err := l.opt.Upload.Group(ctx, in.CloudWatchLogGroupName)
	if ctx.Err() != nil {
		return err
	}
	if err == nil && !found {
		err = fmt.Errorf("log group %s does not exist: make it, agents do not", in.CloudWatchLogGroupName)
	}
	if err != nil {
		l.over, l.unstreamed = err, err
		l.opt.Log.Warn("the session is not streamed to CloudWatch Logs", "error", err)
		return nil
	}
	l.stream = l.opt.Upload.Stream(in.CloudWatchLogGroupName, l.opt.SessionID)
	return nil
}

// Unstreamed is why a session that should be streamed from its beginning is
// not, nil when it is or need not be.
func (l *Log) Unstreamed() error {
	if l == nil {
		return nil
	}
	return l.unstreamed
}

// Write keeps what the session printed. A full disk ends the log, not the
// session.
func (l *Log) Write(b []byte) {
	if l == nil || len(b) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil || l.file == nil {
		return
	}
	if l.written+int64(len(b)) > maxStored {
		l.failed = fmt.Errorf("it has more than %d bytes", int64(maxStored))
	} else if _, err := l.file.Write(b); err != nil {
		l.failed = err
	}
	if l.failed != nil {
		l.opt.Log.Warn("the session's log ends here", "error", l.failed)
		return
	}
	l.written += int64(len(b))
	select {
	case l.dirty <- struct{}{}:
	default:
	}
}

// size is how much there is to read.
func (l *Log) size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written
}

// Close ends the log and uploads it. The error says what has not reached its
// place: the local copy stays then.
func (l *Log) Close(ctx context.Context) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	err := l.failed
	if err != nil {
		err = fmt.Errorf("the log is not whole: %w", err)
	}
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
		l.file = nil
	}
	l.mu.Unlock()
	var lost error
	if l.size() > 0 { // of a program that never ran there is nothing to hand on
		lost = l.upload(ctx)
	}
	if lost != nil {
		lost = fmt.Errorf("%w; the local copy is %s", lost, l.dir)
	} else if !l.opt.Keep {
		lost = l.remove()
	}
	l.sweep()
	return errors.Join(err, lost)
}

func (l *Log) upload(ctx context.Context) error {
	in := l.opt.Inputs
	if in.S3BucketName == "" && in.CloudWatchLogGroupName == "" {
		return nil
	}
	if err := l.build(); err != nil {
		return fmt.Errorf("build the session's log: %w", err)
	}
	var errs []error
	if in.S3BucketName != "" {
		errs = append(errs, l.toBucket(ctx))
	}
	switch {
	case l.stream != nil:
		errs = append(errs, l.pushAll(ctx))
	case l.over != nil:
		errs = append(errs, l.over)
	case in.CloudWatchLogGroupName != "":
		errs = append(errs, l.toGroup(ctx))
	}
	return errors.Join(errs...)
}

func (l *Log) logFile() string { return filepath.Join(l.dir, l.opt.SessionID+".log") }

// build writes the log as the program script would: between two lines that
// tell begin and end.
func (l *Log) build() error {
	from, err := l.opt.FS.OpenFile(filepath.Join(l.dir, rawFile), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := l.opt.FS.OpenFile(l.logFile(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	const form = "2006-01-02 15:04:05-07:00"
	now := l.opt.Clock.Now().Format(form)
	_, err = io.WriteString(to, "Script started on "+now+"\r\n")
	if err == nil {
		_, err = io.Copy(to, from)
	}
	if err == nil {
		_, err = io.WriteString(to, "\r\nScript done on "+now+"\r\n")
	}
	return errors.Join(err, to.Close())
}

func (l *Log) toBucket(ctx context.Context) error {
	f, err := l.opt.FS.OpenFile(l.logFile(), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	in := l.opt.Inputs
	return l.opt.Upload.PutObject(ctx, upload.Object{Bucket: in.S3BucketName, Key: Key(in, l.opt.SessionID), ContentType: "text/plain", Body: f, Size: info.Size()})
}

// remove removes the local copy.
func (l *Log) remove() error {
	if err := fsys.RemoveAll(l.opt.FS, filepath.Dir(l.dir)); err != nil {
		return fmt.Errorf("remove the session's log, which has been uploaded: %w", err)
	}
	return nil
}

// sweep removes local copies that are older than the retention, a bounded
// number at a time.
func (l *Log) sweep() {
	names, err := l.opt.FS.ReadDir(l.opt.Dir)
	if err != nil || l.opt.Retention <= 0 {
		return
	}
	removed := 0
	for _, n := range names {
		dir := filepath.Join(l.opt.Dir, n.Name())
		info, err := l.opt.FS.Lstat(dir)
		if err != nil || !n.IsDir() || !mgs.ValidSessionID(n.Name()) || l.opt.Clock.Now().Sub(info.ModTime()) < l.opt.Retention || removed == maxSweep {
			continue
		}
		if err := fsys.RemoveAll(l.opt.FS, dir); err != nil {
			l.opt.Log.Warn("remove an old session log", "dir", dir, "error", err)
			return
		}
		removed++
	}
}
