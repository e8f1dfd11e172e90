package agent

import (
	"context"

	"ssmagent/internal/job"
	"ssmagent/internal/offline"
)

// localCommands runs the documents that lie in the node's own folder.
func (a *Agent) localCommands(n job.Node, orchestration string, submit func(context.Context, job.Request) error) *offline.Folder {
	m := a.opt.Machine
	return offline.New(offline.Options{
		Dir: m.Paths.LocalCommands, FS: m.FS, Clock: a.opt.Clock, Log: a.log, Submit: submit, Agent: a.info(), Node: n,
		Orchestration: orchestration, Watch: m.Watch,
	})
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
