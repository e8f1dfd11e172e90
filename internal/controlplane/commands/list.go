package commands

import (
	"context"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

// defaultPage is the page size when MaxResults is not given: its maximum.
const defaultPage = 50

// ListCommands implements the operation, the newest command first.
func (s *Service) ListCommands(_ context.Context, _ api.Caller, in ssm.ListCommandsInput) (out ssm.ListCommandsOutput, err error) {
	f, err := newFilter(in.Filters, commandStatuses, true)
	if err != nil {
		return out, err
	}
	page := api.PageRequest{Op: "ListCommands", Filters: []any{in.CommandId, in.InstanceId, in.Filters}, Token: in.NextToken, Max: in.MaxResults, Default: defaultPage}
	after, err := page.Cursor()
	if err != nil {
		return out, err
	}
	out.Commands = []ssm.Command{}
	var last string
	err = s.db.View(func(tx *store.Tx) error {
		if in.CommandId != "" {
			if _, ok, err := Commands.Get(tx, in.CommandId); err != nil || !ok {
				return orUnknown(err, in.CommandId)
			}
		}
		return walk(tx, in.CommandId, in.InstanceId, after, func(key string, c Command) (bool, error) {
			if f.past(c) {
				return false, nil
			}
			if !f.times(c.Requested) || !f.words(c.DocumentName, c.status(), c.Details) || !f.stage(!c.Finished.IsZero()) {
				return true, nil
			}
			if len(out.Commands) == page.Size() {
				out.NextToken = page.NextToken(last)
				return false, nil
			}
			out.Commands, last = append(out.Commands, c.wire()), key
			return true, nil
		})
	})
	return out, err
}

// past says that this command, and so all older ones, came too early.
func (f filter) past(c Command) bool { return c.Requested.Before(f.after) }

// walk calls fn with commands, the newest first, after the cursor: all, those
// of a node, or the one. Its keys are cursors for the same arguments.
func walk(tx *store.Tx, command, node, after string, fn func(key string, c Command) (bool, error)) error {
	visit := func(key string, _ mark) (bool, error) {
		c, ok, err := Commands.Get(tx, idOf(key))
		if err != nil || !ok {
			return err == nil, err
		}
		return fn(key, c)
	}
	switch {
	case command != "":
		c, ok, err := Commands.Get(tx, command)
		if err != nil || !ok || after != "" {
			return err
		}
		if node != "" {
			if _, sent, err := Invocations.Get(tx, invocationKey(command, node)); err != nil || !sent {
				return err
			}
		}
		_, err = fn(command, c)
		return err
	case node != "":
		return nodeNewest.Scan(tx, node+"/", after, visit)
	}
	return newest.Scan(tx, "", after, visit)
}

// wire is the command as operators see it.
func (c Command) wire() ssm.Command {
	w := ssm.Command{
		CommandId: c.ID, DocumentName: c.DocumentName, DocumentVersion: c.DocumentVersion, Comment: c.Comment,
		ExpiresAfter: ssm.Time{Time: c.Expires}, Parameters: c.Parameters, InstanceIds: c.InstanceIDs, Targets: c.Targets,
		RequestedDateTime: ssm.Time{Time: c.Requested}, Status: c.status(), StatusDetails: string(c.Details),
		OutputS3BucketName: c.S3Bucket, OutputS3KeyPrefix: c.S3KeyPrefix,
		MaxConcurrency: c.MaxConcurrency, MaxErrors: c.MaxErrors, TargetCount: c.TargetCount,
		CompletedCount: c.completed(), ErrorCount: c.errorCount(), DeliveryTimedOutCount: c.Counts[DeliveryTimedOut],
		CloudWatchOutputConfig: c.CloudWatch, TimeoutSeconds: c.TimeoutSeconds,
	}
	if w.Parameters == nil {
		w.Parameters = map[string][]string{}
	}
	if w.InstanceIds == nil {
		w.InstanceIds = []string{}
	}
	if w.Targets == nil {
		w.Targets = []ssm.Target{}
	}
	return w
}

func orUnknown(err error, command string) error {
	if err != nil {
		return err
	}
	return noCommand(command)
}

// ListCommandInvocations implements the operation: invocations of the newest
// command first, those of one command in order of node ids.
func (s *Service) ListCommandInvocations(_ context.Context, _ api.Caller, in ssm.ListCommandInvocationsInput) (out ssm.ListCommandInvocationsOutput, err error) {
	f, err := newFilter(in.Filters, invocationStatuses, false)
	if err != nil {
		return out, err
	}
	page := api.PageRequest{Op: "ListCommandInvocations", Filters: []any{in.CommandId, in.InstanceId, in.Filters}, Token: in.NextToken, Max: in.MaxResults, Default: defaultPage}
	at, err := page.Cursor()
	if err != nil {
		return out, err
	}
	l := invocationList{s: s, f: f, node: in.InstanceId, details: in.Details, page: page}
	l.out.CommandInvocations = []ssm.CommandInvocation{}
	err = s.db.View(func(tx *store.Tx) error {
		if in.CommandId != "" {
			if _, ok, err := Commands.Get(tx, in.CommandId); err != nil || !ok {
				return orUnknown(err, in.CommandId)
			}
		}
		return l.run(tx, in.CommandId, at)
	})
	return l.out, err
}

// invocationList collects one page. Its cursor is a command's cursor, a blank
// and the node's id: the command's other invocations come first.
type invocationList struct {
	s       *Service
	f       filter
	node    string
	details bool
	page    api.PageRequest
	out     ssm.ListCommandInvocationsOutput
	last    string
}

func (l *invocationList) run(tx *store.Tx, command, at string) error {
	key, node := splitCursor(at)
	if key != "" { // the rest of the command where the last page ended
		more, err := l.resume(tx, key, node)
		if err != nil || !more {
			return err
		}
	}
	return walk(tx, command, l.node, key, func(key string, c Command) (bool, error) {
		if l.f.past(c) {
			return false, nil
		}
		return l.command(tx, key, c, "")
	})
}

func (l *invocationList) resume(tx *store.Tx, key, node string) (bool, error) {
	c, ok, err := Commands.Get(tx, idOf(key))
	if err != nil || !ok {
		return err == nil, err
	}
	return l.command(tx, key, c, node)
}

// command adds the command's invocations after a node; false: the page is full.
func (l *invocationList) command(tx *store.Tx, key string, c Command, after string) (more bool, err error) {
	if !l.f.times(c.Requested) {
		return true, nil
	}
	from, prefix := "", c.ID+"/"
	if after != "" {
		from = invocationKey(c.ID, after)
	}
	more = true
	err = Invocations.Scan(tx, prefix, from, func(_ string, inv Invocation) (bool, error) {
		if l.node != "" && inv.NodeID != l.node || !l.f.words(c.DocumentName, inv.State.Status(), inv.State) {
			return true, nil
		}
		if len(l.out.CommandInvocations) == l.page.Size() {
			l.out.NextToken, more = l.page.NextToken(l.last), false
			return false, nil
		}
		w, err := l.s.invocation(tx, c, inv, l.details)
		if err != nil {
			return false, err
		}
		l.out.CommandInvocations, l.last = append(l.out.CommandInvocations, w), key+" "+inv.NodeID
		return true, nil
	})
	return more, err
}

func splitCursor(at string) (key, node string) {
	for i := len(at) - 1; i >= 0; i-- {
		if at[i] == ' ' {
			return at[:i], at[i+1:]
		}
	}
	return "", ""
}
