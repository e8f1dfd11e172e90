package logs

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	wire "ssmagent/internal/wire/logs"
)

func (s *Service) createGroup(_ context.Context, _ api.Caller, in wire.CreateLogGroupInput) (wire.Empty, error) {
	switch {
	case in.KMSKeyID != "":
		return wire.Empty{}, api.Errorf(wire.CodeInvalid, "kmsKeyId is set, but this control plane does not encrypt log groups with a key: leave it out")
	case in.Class != "" && in.Class != "STANDARD":
		return wire.Empty{}, api.Errorf(wire.CodeInvalid, "logGroupClass must be STANDARD here")
	case len(in.Tags) > 0:
		return wire.Empty{}, api.Errorf(wire.CodeInvalid, "tags of log groups are not kept here: leave them out")
	}
	return wire.Empty{}, s.opt.DB.Update(func(tx *store.Tx) error {
		if _, ok, err := groups.Get(tx, in.LogGroupName); err != nil || ok {
			return cmp.Or(err, error(api.Errorf(wire.CodeExists, "The specified log group already exists")))
		}
		return groups.Put(tx, in.LogGroupName, group{Created: s.now()})
	})
}

func (s *Service) describeGroups(_ context.Context, _ api.Caller, in wire.DescribeLogGroupsInput) (out wire.DescribeLogGroupsOutput, err error) {
	if in.Prefix != "" && in.Pattern != "" {
		return out, api.Errorf(wire.CodeInvalid, "logGroupNamePrefix and logGroupNamePattern exclude each other")
	}
	page := api.PageRequest{Op: wire.OpDescribeLogGroups, Filters: []string{in.Prefix, in.Pattern}, Token: in.NextToken, Max: in.Limit, Default: 50}
	after, err := page.Cursor()
	if err != nil {
		return out, badToken()
	}
	out.LogGroups = []wire.LogGroup{}
	err = s.opt.DB.View(func(tx *store.Tx) error {
		return groups.Scan(tx, in.Prefix, after, func(name string, g group) (bool, error) {
			if !strings.Contains(strings.ToLower(name), strings.ToLower(in.Pattern)) {
				return true, nil
			}
			if n := len(out.LogGroups); n == page.Size() {
				out.NextToken = page.NextToken(out.LogGroups[n-1].LogGroupName)
				return false, nil
			}
			size, err := groupSize(tx, name)
			out.LogGroups = append(out.LogGroups, wire.LogGroup{LogGroupName: name, CreationTime: g.Created, ARN: s.arn(name) + ":*", LogGroupARN: s.arn(name), StoredBytes: size, Class: "STANDARD", KMSKeyID: g.KMSKey})
			return true, err
		})
	})
	return out, err
}

func badToken() error {
	return api.Errorf(wire.CodeInvalid, "The specified nextToken is invalid: ask for the first page without it")
}

func groupSize(tx *store.Tx, name string) (n int64, err error) {
	err = streams.Scan(tx, streamKey(name, ""), "", func(_ string, st stream) (bool, error) {
		n += st.Bytes
		return true, nil
	})
	return n, err
}

func (s *Service) createStream(_ context.Context, _ api.Caller, in wire.LogStreamInput) (wire.Empty, error) {
	id := uuid.NewString()
	return wire.Empty{}, s.opt.DB.Update(func(tx *store.Tx) error {
		if err := needGroup(tx, in.LogGroupName); err != nil {
			return err
		}
		key := streamKey(in.LogGroupName, in.LogStreamName)
		if _, ok, err := streams.Get(tx, key); err != nil || ok {
			return cmp.Or(err, error(api.Errorf(wire.CodeExists, "The specified log stream already exists")))
		}
		return streams.Put(tx, key, stream{ID: id, Created: s.now()})
	})
}

func (s *Service) describeStreams(_ context.Context, _ api.Caller, in wire.DescribeLogStreamsInput) (out wire.DescribeLogStreamsOutput, err error) {
	byTime := in.OrderBy == "LastEventTime"
	if byTime && in.Prefix != "" {
		return out, api.Errorf(wire.CodeInvalid, "Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	all := []wire.LogStream{}
	err = s.opt.DB.View(func(tx *store.Tx) error {
		if err := needGroup(tx, in.LogGroupName); err != nil {
			return err
		}
		base := streamKey(in.LogGroupName, "")
		return streams.Scan(tx, base+in.Prefix, "", func(key string, st stream) (bool, error) {
			all = append(all, wire.LogStream{LogStreamName: key[len(base):], CreationTime: st.Created, FirstEventTimestamp: st.First, LastEventTimestamp: st.Last,
				LastIngestionTime: st.Ingested, UploadSequenceToken: token(st.Seq), ARN: s.arn(in.LogGroupName) + ":log-stream:" + key[len(base):], StoredBytes: st.Bytes})
			return true, nil
		})
	})
	if err != nil {
		return out, err
	}
	key := func(l wire.LogStream) string {
		if byTime {
			return at(l.LastEventTimestamp, 0) + l.LogStreamName
		}
		return l.LogStreamName
	}
	slices.SortFunc(all, func(a, b wire.LogStream) int { return strings.Compare(key(a), key(b)) })
	page := api.PageRequest{Op: wire.OpDescribeLogStreams, Filters: []any{in.LogGroupName, in.Prefix, byTime, in.Descending}, Token: in.NextToken, Max: in.Limit, Default: 50}
	after, err := page.Cursor()
	if err != nil {
		return out, badToken()
	}
	if in.Descending {
		slices.Reverse(all)
	}
	if after != "" {
		all = slices.DeleteFunc(all, func(l wire.LogStream) bool { return key(l) == after || (key(l) < after) != in.Descending })
	}
	if len(all) > page.Size() {
		all = all[:page.Size()]
		out.NextToken = page.NextToken(key(all[len(all)-1]))
	}
	out.LogStreams = all
	return out, nil
}

func (s *Service) deleteStream(_ context.Context, _ api.Caller, in wire.LogStreamInput) (wire.Empty, error) {
	err := s.opt.DB.Update(func(tx *store.Tx) error {
		st, err := needStream(tx, in.LogGroupName, in.LogStreamName)
		if err != nil {
			return err
		}
		return bury(tx, streamKey(in.LogGroupName, in.LogStreamName), st)
	})
	if err == nil {
		err = s.purge()
	}
	return wire.Empty{}, err
}

func (s *Service) deleteGroup(_ context.Context, _ api.Caller, in wire.LogGroupInput) (wire.Empty, error) {
	err := s.opt.DB.Update(func(tx *store.Tx) error {
		if err := needGroup(tx, in.LogGroupName); err != nil {
			return err
		}
		all := map[string]stream{}
		err := streams.Scan(tx, streamKey(in.LogGroupName, ""), "", func(key string, st stream) (bool, error) {
			all[key] = st
			return true, nil
		})
		for key, st := range all {
			if err == nil {
				err = bury(tx, key, st)
			}
		}
		if err != nil {
			return err
		}
		return groups.Delete(tx, in.LogGroupName)
	})
	if err == nil {
		err = s.purge()
	}
	return wire.Empty{}, err
}

// bury takes a stream out of the way; its events follow.
func bury(tx *store.Tx, key string, st stream) error {
	if err := graves.Put(tx, st.ID, dead{}); err != nil {
		return err
	}
	return streams.Delete(tx, key)
}

// batch is how many events are removed in one transaction.
const batch = 5000

// purge removes the events of deleted streams, some at a time so that others
// are not kept waiting.
func (s *Service) purge() error {
	for more := true; more; {
		err := s.opt.DB.Update(func(tx *store.Tx) error {
			id := ""
			if err := graves.Scan(tx, "", "", func(key string, _ dead) (bool, error) { id = key; return false, nil }); err != nil {
				return err
			}
			if more = id != ""; !more {
				return nil
			}
			var keys []string
			err := events.Scan(tx, id+"\x00", "", func(key string, _ event) (bool, error) {
				keys = append(keys, key)
				return len(keys) < batch, nil
			})
			for _, k := range keys {
				if err == nil {
					err = events.Delete(tx, k)
				}
			}
			if err == nil && len(keys) < batch {
				err = graves.Delete(tx, id)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
