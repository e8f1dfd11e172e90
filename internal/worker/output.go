package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/job"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/upload"
)

// Bounds of what is handed on, as the stock agent has them but for objectWithin.
const (
	tick         = time.Second
	maxEvent     = 200_000          // bytes of an event, of whole lines
	perCall      = 4                // events
	streamWithin = 60 * time.Second // for what is left after a step
	objectWithin = 5 * time.Minute  // for a step's objects
	maxBundle    = 4 << 20          // bytes of a file of certificates
)

// output hands on what the steps of a document print: to a bucket when they
// are over, to a log group while they run. That it cannot changes no result.
type output struct {
	req    job.Request
	fs     fsys.FS
	clock  clock.Clock
	upload *upload.Uploader
	stderr io.Writer

	mu sync.Mutex // of stderr
}

func newOutput(req job.Request, creds aws.CredentialsProvider, d Deps) (*output, error) {
	n := req.Node.Services
	if n.Buckets == "" || n.Logs == "" {
		return nil, errors.New("the agent that accepted the command did not say where S3 and CloudWatch Logs are")
	}
	var ca []byte
	if n.CABundle != "" {
		var err error
		if ca, err = fsys.ReadFile(d.FS, n.CABundle, maxBundle); err != nil {
			return nil, fmt.Errorf("ssmagent.CABundle of the configuration: %w", err)
		}
	}
	t, err := ssmclient.Transport(ca)
	if err != nil {
		return nil, fmt.Errorf("ssmagent.CABundle %s of the configuration: %w", n.CABundle, err)
	}
	o := &output{req: req, fs: d.FS, clock: d.Clock, stderr: d.Stderr}
	if o.clock == nil {
		o.clock = clock.Real{}
	}
	o.upload = upload.New(upload.Options{
		HTTP: &http.Client{Transport: t}, Credentials: creds, Region: req.Node.Region, S3: n.Buckets, Logs: n.Logs,
		UserAgent: n.UserAgent, Clock: o.clock, Log: slog.New(slog.DiscardHandler),
	})
	return o, nil
}

// discard is what Ssm.PluginLocalOutputCleanup means to the engine.
func discard(setting string) func(taken bool) bool {
	switch setting {
	case "after-execution":
		return func(bool) bool { return true }
	case "after-upload":
		return func(taken bool) bool { return taken }
	}
	return nil
}

// warn says on the agent's log what could not be handed on.
func (o *output) warn(what string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fmt.Fprintf(o.stderr, "%s: command %s: %s is not uploaded: %v\n", job.WorkerName, o.req.ID, what, err)
}

// printed is engine.Run's.
func (o *output) printed(stepID, dir string) (over func() (taken bool)) {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var lost atomic.Bool
	if o.req.LogGroup != "" {
		for _, name := range []string{"stdout", "stderr"} {
			s := o.tail(stepID, dir, name)
			wg.Go(func() {
				if !s.run(ctx, ended) {
					lost.Store(true)
				}
			})
		}
	}
	return func() bool {
		defer cancel()
		close(ended)
		if o.req.S3Bucket != "" && !o.objects(dir) {
			lost.Store(true)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			wg.Wait()
		}()
		late := o.clock.NewTimer(streamWithin)
		defer late.Stop()
		select {
		case <-done:
		case <-late.C():
			cancel()
			<-done
		}
		return !lost.Load()
	}
}

// objects uploads the files of a step that are not empty, and says whether it
// could.
func (o *output) objects(dir string) (ok bool) {
	ctx, done := context.WithTimeout(context.Background(), objectWithin)
	defer done()
	ok = true
	for _, name := range []string{"stdout", "stderr"} {
		if err := o.object(ctx, path.Join(dir, name)); err != nil {
			o.warn(path.Join(dir, name), err)
			ok = false
		}
	}
	return ok
}

func (o *output) object(ctx context.Context, name string) error {
	f, err := o.fs.OpenFile(filepath.Join(o.req.Dir, filepath.FromSlash(name)), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	return o.upload.PutObject(ctx, upload.Object{Bucket: o.req.S3Bucket, Key: path.Join(o.req.S3KeyPrefix, name), ContentType: "text/plain", Body: f, Size: info.Size()})
}

// tail is a file that is streamed while it grows.
type tail struct {
	o      *output
	file   string
	what   string
	stream *upload.Stream
	sent   int64
	made   bool // the group is there
}

// tail begins behind what an earlier run of the step, before a reboot, has
// streamed.
func (o *output) tail(stepID, dir, name string) *tail {
	stream := path.Join(o.req.ID, o.req.Node.InstanceID, stepID, name)
	t := &tail{
		o: o, file: filepath.Join(o.req.Dir, filepath.FromSlash(dir), name), what: path.Join(dir, name),
		stream: o.upload.Stream(o.req.LogGroup, strings.NewReplacer(":", "-", "*", "-").Replace(stream)),
	}
	if info, err := o.fs.Lstat(t.file); err == nil {
		t.sent = info.Size()
	}
	return t
}

// run streams what is new every second, and the rest once the step has ended,
// until ctx ends. It says whether all of it was taken.
func (t *tail) run(ctx context.Context, ended <-chan struct{}) bool {
	timer := t.o.clock.NewTimer(tick)
	defer timer.Stop()
	for {
		select {
		case <-timer.C():
			if err := t.push(ctx, false); upload.Missing(err) {
				t.o.warn(t.what, err)
				return false
			}
			timer.Reset(tick) // after an error the same lines at the next
			continue
		case <-ended:
		}
		err := backoff.Do(ctx, t.o.clock, backoff.Policy{First: tick}, func(ctx context.Context) error {
			err := t.push(ctx, true)
			if err != nil && !ssmclient.Retryable(err) {
				return backoff.Stop(err)
			}
			return err
		})
		if err != nil {
			t.o.warn(t.what, err)
		}
		return err == nil
	}
}

// push streams all that there is by now; end: also a last line without its end.
func (t *tail) push(ctx context.Context, end bool) error {
	f, err := t.o.fs.OpenFile(t.file, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() <= t.sent {
		return err
	}
	if _, err := f.Seek(t.sent, io.SeekStart); err != nil {
		return err
	}
	buffer := make([]byte, min(info.Size()-t.sent, 2*maxEvent))
	for rest := 0; ; {
		n, err := io.ReadFull(f, buffer[rest:])
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		rest += n
		messages, used := events(buffer[:rest], end && err != nil || end && t.sent+int64(rest) >= info.Size())
		if used == 0 {
			return nil
		}
		if err := t.put(ctx, messages); err != nil {
			return err
		}
		t.sent += int64(used)
		rest = copy(buffer, buffer[used:rest])
	}
}

// events cuts lines into messages for one call.
func events(b []byte, end bool) (messages []string, used int) {
	for len(messages) < perCall {
		part, n := upload.Lines(b[used:], maxEvent, end)
		if n == 0 {
			break
		}
		used += n
		if text := strings.ReplaceAll(strings.ToValidUTF8(string(part), "\uFFFD"), "\r\n", "\n"); strings.TrimSuffix(text, "\n") != "" {
			messages = append(messages, strings.TrimSuffix(text, "\n"))
		}
	}
	return messages, used
}

func (t *tail) put(ctx context.Context, messages []string) error {
	if len(messages) == 0 {
		return nil
	}
	if !t.made {
		if err := t.o.upload.CreateGroup(ctx, t.o.req.LogGroup); err != nil {
			if found, _, ferr := t.o.upload.Group(ctx, t.o.req.LogGroup); ferr != nil || !found {
				return err
			}
		}
		t.made = true
	}
	return t.stream.Put(ctx, messages...)
}
