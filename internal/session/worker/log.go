package worker

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"time"

	"ssmagent/internal/session"
	"ssmagent/internal/session/transcript"
	"ssmagent/internal/upload"
)

const (
	// handOnWithin bounds the uploads of a session's log, and stoppingWithin
	// those of a worker that is told to end.
	handOnWithin   = 15 * time.Minute
	stoppingWithin = 10 * time.Second
)

// openLog begins to keep what the session prints, where its document or the
// configuration asks for that.
func (s *served) openLog(life context.Context) error {
	n := s.req.Node
	if !transcript.Wanted(s.req.Inputs, s.req.Type, n.Logging.Keep) {
		return nil
	}
	o, err := s.transcript()
	if err != nil {
		return err
	}
	if s.kept, err = transcript.Open(life, o); err != nil {
		return err
	}
	run, stop := context.WithCancel(context.WithoutCancel(life))
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.kept.Run(run)
	}()
	s.streamed = func() {
		stop()
		<-done
	}
	return nil
}

// transcript is what the session's log needs.
func (s *served) transcript() (transcript.Options, error) {
	n := s.req.Node
	t, err := s.transport()
	if err != nil {
		return transcript.Options{}, err
	}
	return transcript.Options{
		Dir: n.Logging.Dir, FS: s.FS, Clock: s.Clock, Log: s.log, SessionID: s.req.ID, Type: s.req.Type, InstanceID: n.InstanceID, Region: n.Region,
		Owner: s.req.Owner, User: s.user, Inputs: s.req.Inputs, Keep: n.Logging.Keep, Retention: n.Logging.Retention,
		Upload: upload.New(upload.Options{
			HTTP: &http.Client{Transport: t}, Credentials: s.agents, Region: n.Logging.Region, S3: n.Logging.S3, Logs: n.Logging.Logs,
			UserAgent: n.UserAgent, Clock: s.Clock, Log: s.log,
		}),
	}, nil
}

// handOnLate hands on the log that a worker which was lost has left.
func (s *served) handOnLate(ctx context.Context) error {
	r, ok := s.dir.Result()
	if !ok {
		return errors.New("the session's log is to be handed on, but the session has no result")
	}
	o, err := s.transcript()
	if err == nil {
		s.kept, err = transcript.Reopen(o)
	}
	if errors.Is(err, fs.ErrNotExist) {
		r.LogPending = false
		return s.dir.Finish(r)
	}
	if err != nil {
		return err
	}
	s.streamed = func() {} // what is left goes at once
	return s.handOn(ctx, r)
}

// located says in the result where the session's log is.
func (s *served) located(r session.Result) session.Result {
	in := s.req.Inputs
	if s.kept == nil {
		return r
	}
	r.LogPending = true
	if in.S3BucketName != "" {
		r.S3Bucket, r.S3Key = in.S3BucketName, transcript.Key(in, s.req.ID)
	}
	if in.CloudWatchLogGroupName != "" {
		r.LogGroup, r.LogStream = in.CloudWatchLogGroupName, s.req.ID
	}
	return r
}

// handOn uploads the session's log when the session is over. That it could not
// changes nothing of the outcome; the reason is told with it.
func (s *served) handOn(ctx context.Context, r session.Result) error {
	if s.kept == nil {
		return nil
	}
	s.agents.uploading()
	s.streamed()
	up, done := context.WithTimeout(context.WithoutCancel(ctx), handOnWithin)
	defer done()
	defer context.AfterFunc(ctx, func() {
		t := s.Clock.NewTimer(stoppingWithin)
		defer t.Stop()
		select {
		case <-t.C():
			done()
		case <-up.Done():
		}
	})()
	if err := s.kept.Close(up); err != nil {
		s.log.Warn("the session's log has not reached its place", "error", err)
		if r.Output != "" {
			r.Output += "\n"
		}
		r.Output += "the session's log has not reached its place: " + err.Error()
	}
	r = s.located(r)
	r.LogPending = false
	return s.dir.Finish(r)
}
