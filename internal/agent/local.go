package agent

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/job"
	"ssmagent/internal/offline"
)

// commands are the queue of jobs in dir, which reports to replies, and the
// node's own folder, whose documents it runs too.
func (a *Agent) commands(dir, orchestration string, n job.Node, replies job.Sink, creds aws.CredentialsProvider) (*job.Queue, *offline.Folder) {
	m := a.opt.Machine
	var q *job.Queue
	local := offline.New(offline.Options{
		Dir: m.Paths.LocalCommands, FS: m.FS, Clock: a.opt.Clock, Log: a.log, Agent: a.info(), Node: n, Orchestration: orchestration, Watch: m.Watch,
		Submit: func(ctx context.Context, r job.Request) error { return q.Submit(ctx, r) },
	})
	q = a.queue(dir, sinks{offline.Channel: local, "": replies}, creds)
	return q, local
}

// sinks are those of jobs by channel; the one of "" takes the rest.
type sinks map[string]job.Sink

// Report implements job.Sink: reports of one call are of one job.
func (s sinks) Report(ctx context.Context, rs ...job.Report) error {
	if len(rs) == 0 {
		return nil
	}
	sink, ok := s[rs[0].Request.Channel]
	if !ok {
		sink = s[""]
	}
	return sink.Report(ctx, rs...)
}
