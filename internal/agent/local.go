package agent

import (
	"context"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/job"
	"ssmagent/internal/localapi"
	"ssmagent/internal/offline"
	"ssmagent/internal/outbox"
	"ssmagent/internal/predecessor"
	"ssmagent/internal/record/audit"
	"ssmagent/internal/wire/doc"
)

// commands are the queue of jobs in dir, which reports to replies, what runs
// with it (the queue itself, the node's own folder of documents, the socket of
// ssm-cli), and where what becomes of jobs is told.
func (a *Agent) commands(dir, orchestration string, n job.Node, replies job.Sink, creds aws.CredentialsProvider, log *audit.Log, values doc.ParameterStore) (*job.Queue, map[string]func(context.Context) error, job.Sink) {
	m := a.opt.Machine
	var q *job.Queue
	folder := offline.New(offline.Options{
		Dir: m.Paths.LocalCommands, FS: m.FS, Clock: a.opt.Clock, Log: a.log, Agent: a.info(), Node: n, Orchestration: orchestration, Store: values, Watch: m.Watch,
		Submit: func(ctx context.Context, r job.Request) error { return q.Submit(ctx, r) },
	})
	runs := map[string]func(context.Context) error{"local commands": folder.Run}
	to := sinks{offline.Channel: folder, "": replies}
	q = a.queue(dir, to, creds)
	runs["commands"] = q.Run
	api := localapi.New(localapi.Options{
		Path: localapi.Socket(m.Paths.IPC), FS: m.FS, Listen: m.Listen, Check: m.CheckPeer, Queue: q, Clock: a.opt.Clock, Log: a.log,
		Node: n, Orchestration: orchestration, Store: values, Audit: log,
	})
	to[localapi.Channel] = api // also for what an earlier agent took
	if m.Listen != nil {
		runs["local requests"] = api.Run
	}
	return q, runs, to
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

// jobsOf is where jobs are kept in a node's directory.
func jobsOf(dir string) string { return filepath.Join(dir, "document", "jobs") }

// inherit reports what a stock agent in whose place this one is had promised.
// It is no reason not to start that something of it cannot be.
func (a *Agent) inherit(ctx context.Context, dir string, n job.Node, sink job.Sink, box *outbox.Outbox) {
	err := predecessor.TakeOver(ctx, predecessor.Options{
		FS: a.opt.Machine.FS, Clock: a.opt.Clock, Log: a.log, Dir: dir, Jobs: jobsOf(dir), Sink: sink, Outbox: box, Agent: a.info(), Node: n, Offline: offline.Channel,
	})
	if err != nil {
		a.log.Error("what the stock agent left unfinished is not told; the next start tries again", "error", err)
	}
}
