package upload

import (
	"context"
	"fmt"

	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/logs"
)

// Group says whether a log group is there and whether a key encrypts it.
func (u *Uploader) Group(ctx context.Context, name string) (found, encrypted bool, err error) {
	in := logs.DescribeLogGroupsInput{Prefix: name}
	for {
		var out logs.DescribeLogGroupsOutput
		if err := u.logs.Call(ctx, logs.OpDescribeLogGroups, in, &out); err != nil {
			return false, false, fmt.Errorf("log group %s: %w", name, err)
		}
		for _, g := range out.LogGroups {
			if g.LogGroupName == name {
				return true, g.KMSKeyID != "", nil
			}
		}
		if out.NextToken == "" || out.NextToken == in.NextToken {
			return false, false, nil
		}
		in.NextToken = out.NextToken
	}
}

// CreateGroup makes a log group; one that is there is fine.
func (u *Uploader) CreateGroup(ctx context.Context, name string) error {
	err := u.logs.Call(ctx, logs.OpCreateLogGroup, logs.CreateLogGroupInput{LogGroupName: name}, nil)
	if err != nil && ssmclient.Code(err) != logs.CodeExists {
		return fmt.Errorf("make log group %s: %w", name, err)
	}
	return nil
}

// Stream is a log stream that events are put into, by one caller at a time.
type Stream struct {
	u           *Uploader
	group, name string
	token       string
	made        bool
}

// Stream returns the stream of that name, which is made when it is first put
// into.
func (u *Uploader) Stream(group, name string) *Stream { return &Stream{u: u, group: group, name: name} }

// Put puts messages into the stream, with the time of now. An error that is Missing
// says that there is no such group.
func (s *Stream) Put(ctx context.Context, messages ...string) error {
	if !s.made {
		err := s.u.logs.Call(ctx, logs.OpCreateLogStream, logs.LogStreamInput{LogGroupName: s.group, LogStreamName: s.name}, nil)
		if err != nil && ssmclient.Code(err) != logs.CodeExists {
			return fmt.Errorf("make log stream %s of %s: %w", s.name, s.group, err)
		}
		s.made = true
	}
	in := logs.PutLogEventsInput{LogGroupName: s.group, LogStreamName: s.name, SequenceToken: s.token}
	now := s.u.skew.Now(s.u.opt.Clock).UnixMilli()
	for _, m := range messages {
		in.LogEvents = append(in.LogEvents, logs.InputEvent{Timestamp: now, Message: m})
	}
	var out logs.PutLogEventsOutput
	err := s.u.logs.Call(ctx, logs.OpPutLogEvents, in, &out)
	if ssmclient.Code(err) == logs.CodeSequenceToken {
		if in.SequenceToken, err = s.readToken(ctx); err == nil {
			err = s.u.logs.Call(ctx, logs.OpPutLogEvents, in, &out)
		}
	}
	switch ssmclient.Code(err) {
	case logs.CodeAccepted: // an answer was lost
		err = nil
	case logs.CodeNotFound:
		s.made = false // somebody removed it
	}
	if err != nil {
		return fmt.Errorf("put events into log stream %s of %s: %w", s.name, s.group, err)
	}
	s.token = out.NextSequenceToken
	return nil
}

// readToken asks which sequence token the stream wants: services of today
// want none.
func (s *Stream) readToken(ctx context.Context) (string, error) {
	var out logs.DescribeLogStreamsOutput
	err := s.u.logs.Call(ctx, logs.OpDescribeLogStreams, logs.DescribeLogStreamsInput{LogGroupName: s.group, Prefix: s.name}, &out)
	for _, l := range out.LogStreams {
		if l.LogStreamName == s.name {
			return l.UploadSequenceToken, err
		}
	}
	return "", err
}

// Missing says that err is the service's word that a group or stream is not
// there.
func Missing(err error) bool { return ssmclient.Code(err) == logs.CodeNotFound }
