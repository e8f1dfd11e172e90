package predecessor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/google/uuid"

	"ssmagent/internal/fsys"
	"ssmagent/internal/job"
	"ssmagent/internal/outbox"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mds"
	"ssmagent/internal/wire/mgs"
)

// The stock agent's folders of replies that it could not send.
const (
	pollReplies    = "replies"
	gatewayReplies = "replies_mgs"
)

var errReply = errors.New("no reply of the stock agent")

// unsent is what the stock agent keeps of a reply over the gateway.
type unsent struct {
	ReplyId     string
	AgentResult struct {
		MessageID     string
		Status        doc.Status
		LastPlugin    string // empty in the last reply
		PluginResults map[string]result
	}
}

// letters are replies that were not sent.
type letters struct {
	taken []string        // files whose replies are in the outbox
	final map[string]bool // messages whose last reply is among them
}

// replies puts the replies that were not sent into the outbox, under their own
// ids.
func (o Options) replies(ctx context.Context) (l letters, err error) {
	l.final = map[string]bool{}
	for dir, read := range map[string]reader{pollReplies: readPollReply, gatewayReplies: o.readGatewayReply} {
		names, lerr := o.files(o.path(dir))
		err = errors.Join(err, lerr)
		for _, name := range names {
			if ctx.Err() != nil {
				return l, context.Cause(ctx)
			}
			err = errors.Join(err, o.reply(o.path(dir, name), read, &l))
		}
	}
	return l, err
}

// reader makes the reply of a file's content, and says which status it tells.
type reader func([]byte) (outbox.Entry, doc.Status, error)

// reply puts one reply into the outbox. One that cannot be read stays where it
// is.
func (o Options) reply(file string, read reader, l *letters) error {
	info, err := o.FS.Lstat(file)
	if err != nil {
		return fmt.Errorf("look for a reply of the stock agent: %w", err)
	}
	b, err := fsys.ReadFile(o.FS, file, maxFile)
	if err != nil && !errors.Is(err, fsys.ErrTooLarge) {
		return err
	}
	var e outbox.Entry
	var status doc.Status
	if err == nil {
		e, status, err = read(b)
	}
	if err != nil {
		o.Log.Warn("a reply of the stock agent cannot be read and is not sent", "file", file, "error", err)
		return nil
	}
	e.Topic, e.Created = mgs.TopicSendCommand, info.ModTime()
	if err := o.Outbox.Put(e); err != nil {
		return fmt.Errorf("keep a reply of the stock agent: %w", err)
	}
	l.taken = append(l.taken, file)
	l.final[e.JobID] = l.final[e.JobID] || status.Terminal()
	o.Log.Info("a reply that the stock agent had not sent is taken over", "job", e.JobID, "status", status)
	return nil
}

// removeTaken removes the files of the replies. Until then they say which
// commands are over.
func (o Options) removeTaken(l letters) (err error) {
	for _, file := range l.taken {
		if rerr := o.FS.Remove(file); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("remove a reply that was taken over: %w", rerr))
		}
	}
	for _, dir := range []string{pollReplies, gatewayReplies} {
		if serr := o.FS.SyncDir(o.path(dir)); serr != nil && !errors.Is(serr, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("remove a reply that was taken over: %w", serr))
		}
	}
	return err
}

// readPollReply reads the input of a SendReply.
func readPollReply(b []byte) (outbox.Entry, doc.Status, error) {
	var in mds.SendReplyInput
	if err := json.Unmarshal(b, &in); err != nil {
		return outbox.Entry{}, "", fmt.Errorf("%w: %w", errReply, err)
	}
	var r doc.Reply
	if err := json.Unmarshal([]byte(in.Payload), &r); err != nil {
		return outbox.Entry{}, "", fmt.Errorf("%w: its payload: %w", errReply, err)
	}
	e, err := entry(in.ReplyId, in.MessageId, in.Payload, job.ChannelMDS)
	return e, r.DocumentStatus, err
}

// readGatewayReply reads results and makes the reply of them.
func (o Options) readGatewayReply(b []byte) (outbox.Entry, doc.Status, error) {
	var u unsent
	if err := json.Unmarshal(b, &u); err != nil {
		return outbox.Entry{}, "", fmt.Errorf("%w: %w", errReply, err)
	}
	a := u.AgentResult
	if a.Status == "" || len(a.PluginResults) > maxSteps {
		return outbox.Entry{}, "", fmt.Errorf("%w: it has the status %q and %d results", errReply, a.Status, len(a.PluginResults))
	}
	var results []doc.Result
	var last *doc.Result
	for id, p := range a.PluginResults {
		r := p.result(id, p.PluginName)
		results = append(results, r)
		if id == a.LastPlugin {
			last = &r
		}
	}
	status := a.Status
	var reply doc.Reply
	if last != nil {
		reply, status = doc.NewStepReply(o.Agent, o.Clock.Now(), results, *last), doc.InProgress
	} else {
		reply = doc.NewReply(o.Agent, o.Clock.Now(), results, status)
	}
	text, err := reply.Encode(mgs.MaxReplyContent)
	if err != nil {
		return outbox.Entry{}, "", err
	}
	e, err := entry(u.ReplyId, a.MessageID, text, job.ChannelMGS)
	return e, status, err
}

// entry checks the ids of a reply.
func entry(reply, message, text, channel string) (outbox.Entry, error) {
	if err := uuid.Validate(reply); err != nil {
		return outbox.Entry{}, fmt.Errorf("%w: its id %.80q is none: %w", errReply, reply, err)
	}
	if _, err := doc.CommandID(message); err != nil {
		return outbox.Entry{}, fmt.Errorf("%w: %w", errReply, err)
	}
	if len(text) > outbox.MaxContent {
		return outbox.Entry{}, fmt.Errorf("%w: it has %d bytes; at most %d are taken", errReply, len(text), outbox.MaxContent)
	}
	return outbox.Entry{ID: strings.ToLower(reply), JobID: message, Content: text, Channel: channel}, nil
}
