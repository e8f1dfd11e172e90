package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

// Defaults of SendCommand.
const (
	DefaultTimeoutSeconds = 3600
	defaultConcurrency    = "50"
	defaultErrors         = "0"
)

// SendCommand implements the operation. The command is durable when it
// returns; nodes that are away get it when they come, until it times out.
func (s *Service) SendCommand(_ context.Context, _ api.Caller, in ssm.SendCommandInput) (ssm.SendCommandOutput, error) {
	for _, check := range []func(ssm.SendCommandInput) *api.Error{refuseNotices, checkTargets} {
		if e := check(in); e != nil {
			return ssm.SendCommandOutput{}, e
		}
	}
	id := s.newID()
	var c *Command
	err := s.update(func(t *txn) error {
		var err error
		c, err = t.send(id, in)
		return err
	})
	if err != nil {
		return ssm.SendCommandOutput{}, err
	}
	return ssm.SendCommandOutput{Command: c.wire()}, nil
}

func (t *txn) send(id string, in ssm.SendCommandInput) (*Command, error) {
	d, err := t.s.documents.Resolve(t.tx, in.DocumentName, in.DocumentVersion)
	if err != nil {
		return nil, err
	}
	if e := checkDocument(d, in); e != nil {
		return nil, e
	}
	p, e := planFor(d.Content, in.Parameters)
	if e != nil {
		return nil, e
	}
	targets, err := resolve(t.tx, in)
	if err != nil {
		return nil, err
	}
	c := t.s.newCommand(id, in, d, p, len(targets), t.now)
	body, e := payload(c, p)
	if e != nil {
		return nil, e
	}
	t.cmds[id], t.dirty[id] = c, true
	for _, n := range targets {
		if err := t.invoke(c, n, d.Platforms, len(in.InstanceIds) > 0); err != nil {
			return nil, err
		}
	}
	c.settle(t.now)
	if err := payloads.Put(t.tx, id, body); err != nil {
		return nil, err
	}
	return c, newest.Put(t.tx, fallingKey(c.Requested, id), mark{})
}

func checkDocument(d Document, in ssm.SendCommandInput) *api.Error {
	if d.Type != "Command" {
		return api.Errorf("InvalidDocument", "document %s is of type %s: send-command runs documents of type Command", d.Name, d.Type)
	}
	switch {
	case in.DocumentHash == "":
	case in.DocumentHashType == "Sha1":
		return api.Errorf(api.CodeValidation, "DocumentHashType Sha1 is not kept here: give the Sha256 hash")
	case !strings.EqualFold(in.DocumentHash, d.Hash):
		return api.Errorf("InvalidDocument", "DocumentHash is not that of document %s version %s, which is %s", d.Name, d.Version, d.Hash)
	}
	return nil
}

func (s *Service) newCommand(id string, in ssm.SendCommandInput, d Document, p plan, targets int, now time.Time) *Command {
	c := &Command{
		ID: id, DocumentName: d.Name, DocumentVersion: in.DocumentVersion, Comment: in.Comment,
		Parameters: in.Parameters, InstanceIDs: in.InstanceIds, Targets: in.Targets,
		Requested: now.UTC(), TimeoutSeconds: in.TimeoutSeconds,
		MaxConcurrency: in.MaxConcurrency, MaxErrors: in.MaxErrors,
		S3Bucket: in.OutputS3BucketName, S3KeyPrefix: in.OutputS3KeyPrefix, CloudWatch: in.CloudWatchOutputConfig,
		Execution: p.execution, Steps: p.steps, TargetCount: targets,
	}
	if c.DocumentVersion == "" {
		c.DocumentVersion = "$DEFAULT"
	}
	if c.TimeoutSeconds == 0 {
		c.TimeoutSeconds = DefaultTimeoutSeconds
	}
	if c.MaxConcurrency == "" {
		c.MaxConcurrency = defaultConcurrency
	}
	if c.MaxErrors == "" {
		c.MaxErrors = defaultErrors
	}
	c.Expires = c.Requested.Add(time.Duration(c.TimeoutSeconds) * time.Second)
	c.Concurrency = share(c.MaxConcurrency, targets, 1)
	c.Errors = errorShare(c.MaxErrors, targets)
	return c
}

// invoke adds the invocation on one node. A node named by id must be able to
// run the document; among those found by target the others are passed over.
func (t *txn) invoke(c *Command, n nodes.Node, platforms []string, named bool) error {
	inv := &Invocation{CommandID: c.ID, NodeID: n.ID, NodeName: n.Info.ComputerName, Requested: c.Requested, State: Pending, Deadline: c.Expires}
	if !runsOn(platforms, n) {
		if named {
			return api.Errorf("UnsupportedPlatformType", "document %s is for %s, node %s runs %s", c.DocumentName, strings.Join(platforms, ", "), n.ID, n.Info.PlatformType)
		}
		inv.State, inv.Imposed, inv.Finished, inv.Deadline = InvalidPlatform, true, t.now, time.Time{}
	}
	key := invocationKey(c.ID, n.ID)
	t.invs[key] = inv
	c.count("", inv.State, t.now)
	if inv.State == Pending {
		t.holds.create(*inv, c)
	}
	return nodeNewest.Put(t.tx, nodeKey(*inv), mark{})
}

// payload is what travels to the nodes, the same for all. It must fit into
// one frame of the control channel.
func payload(c *Command, p plan) (string, *api.Error) {
	m := doc.SendCommand{
		CommandId: c.ID, DocumentName: c.DocumentName, DocumentContent: p.content, Parameters: p.parameters,
		OutputS3BucketName: c.S3Bucket, OutputS3KeyPrefix: c.S3KeyPrefix, CloudWatchOutputEnabled: "false",
	}
	if c.CloudWatch != nil {
		m.CloudWatchLogGroupName = c.CloudWatch.CloudWatchLogGroupName
		m.CloudWatchOutputEnabled = fmt.Sprint(c.CloudWatch.CloudWatchOutputEnabled)
	}
	b, err := plain(m)
	if err != nil {
		return "", api.Errorf("InvalidDocument", "document %s cannot be sent: %v", c.DocumentName, err)
	}
	whole, err := plain(mgs.AgentJob{SchemaVersion: 1, JobId: MessageID(c.ID, "mi-00000000000000000"), Topic: mgs.TopicSendCommand, Content: string(b)})
	const room = frame.MaxSize - frame.HeaderSize - 256 // the rest of the topic
	if err != nil || len(whole) > room {
		return "", api.Errorf("MaxDocumentSizeExceeded", "document %s with its parameters has %d bytes on the wire, at most %d fit: make the parameters smaller", c.DocumentName, len(whole), room)
	}
	return string(b), nil
}

// plain encodes without HTML escapes, which only make scripts longer.
func plain(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
