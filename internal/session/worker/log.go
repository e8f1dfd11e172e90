package worker

import (
	"context"
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
	t, err := s.transport()
	if err != nil {
		return err
	}
	s.kept, err = transcript.Open(life, transcript.Options{
		Dir: n.Logging.Dir, FS: s.FS, Clock: s.Clock, Log: s.log, SessionID: s.req.ID, Type: s.req.Type, InstanceID: n.InstanceID, Region: n.Region,
		Owner: s.req.Owner, User: s.user, Inputs: s.req.Inputs, Keep: n.Logging.Keep, Retention: n.Logging.Retention,
		Upload: upload.New(upload.Options{
			HTTP: &http.Client{Transport: t}, Credentials: s.agents, Region: n.Logging.Region, S3: n.Logging.S3, Logs: n.Logging.Logs,
			UserAgent: n.UserAgent, Clock: s.Clock, Log: s.log,
		}),
	})
	if err != nil {
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

// located says in the result where the session's log is.
func (s *served) located(r session.Result) session.Result {
	in := s.req.Inputs
	if s.kept == nil {
		return r
	}
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
	err := s.kept.Close(up)
	if err == nil {
		return nil
	}
	s.log.Warn("the session's log has not reached its place", "error", err)
	if r.Output != "" {
		r.Output += "\n"
	}
	r.Output += "the session's log has not reached its place: " + err.Error()
	return s.dir.Finish(s.located(r))
}
