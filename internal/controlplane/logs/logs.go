// Package logs is CloudWatch Logs for one site: groups, streams and events in
// the store, good enough for the AWS CLI, the SDKs and agents that stream their
// output.
package logs

import (
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	wire "ssmagent/internal/wire/logs"
)

// DefaultPutRate is how many PutLogEvents are taken a second, as AWS does in
// most regions.
const DefaultPutRate = 1500

// Options are what a Service needs.
type Options struct {
	DB      *store.DB
	Clock   clock.Clock
	Log     *slog.Logger
	Region  string
	Account string
	// PutRate is how many PutLogEvents are taken a second; the others are told
	// to slow down. DefaultPutRate when zero.
	PutRate int
}

// Service is the log store. Safe for concurrent use.
type Service struct {
	opt Options

	mu      sync.Mutex
	tokens  float64 // PutLogEvents that may come now
	counted time.Time
}

// New returns the service, after it has removed what a crash left of deleted
// streams.
func New(o Options) (*Service, error) {
	if o.PutRate == 0 {
		o.PutRate = DefaultPutRate
	}
	s := &Service{opt: o, tokens: float64(o.PutRate), counted: o.Clock.Now()}
	if err := s.purge(); err != nil {
		return nil, fmt.Errorf("log store: %w", err)
	}
	return s, nil
}

// maxBody is for a batch whose every byte is an escape in JSON.
const maxBody = 8 << 20

// Ops are the operations. Nodes may write; reading and deleting is for
// operators.
func (s *Service) Ops() api.Ops {
	operator, node := []api.Kind{api.Operator}, []api.Kind{api.Operator, api.Node}
	op := func(name string) string { return wire.TargetPrefix + "." + name }
	return api.Ops{
		op(wire.OpCreateLogGroup):     {Allow: node, Handle: api.Strict(s.createGroup)},
		op(wire.OpDescribeLogGroups):  {Allow: node, Handle: api.Strict(s.describeGroups)},
		op(wire.OpDeleteLogGroup):     {Allow: operator, Handle: api.Strict(s.deleteGroup)},
		op(wire.OpCreateLogStream):    {Allow: node, Handle: api.Strict(s.createStream)},
		op(wire.OpDescribeLogStreams): {Allow: node, Handle: api.Strict(s.describeStreams)},
		op(wire.OpDeleteLogStream):    {Allow: operator, Handle: api.Strict(s.deleteStream)},
		op(wire.OpPutLogEvents):       {Allow: node, Handle: api.Strict(s.putEvents), Body: maxBody},
		op(wire.OpGetLogEvents):       {Allow: operator, Handle: api.Strict(s.getEvents)},
		op(wire.OpFilterLogEvents):    {Allow: operator, Handle: api.Strict(s.filterEvents)},
	}
}

// group is a log group as it is kept, under its name.
type group struct {
	Created int64
	KMSKey  string `json:",omitempty"`
}

// stream is a log stream as it is kept, under group, NUL, name.
type stream struct {
	ID       string // of its events: never that of another stream
	Created  int64
	First    int64  `json:",omitempty"`
	Last     int64  `json:",omitempty"`
	Ingested int64  `json:",omitempty"`
	Bytes    int64  `json:",omitempty"`
	Seq      uint64 // of the last event
}

// event is an event as it is kept, under the stream's ID, NUL, and time and
// number as sixteen hexadecimal digits each.
type event struct {
	Message  string `json:"m"`
	Ingested int64  `json:"i"`
}

// dead is a stream that was deleted and whose events are still there.
type dead struct{}

var (
	groups  = store.Table[group]{Name: "logs_groups"}
	streams = store.Table[stream]{Name: "logs_streams"}
	events  = store.Table[event]{Name: "logs_events"}
	graves  = store.Table[dead]{Name: "logs_graves"}
)

func streamKey(group, name string) string { return group + "\x00" + name }

// at is the second part of an event's key.
func at(ms int64, seq uint64) string { return fmt.Sprintf("%016x%016x", ms, seq) }

// whenOf is the time in it.
func whenOf(position string) (ms int64) {
	ms, _ = strconv.ParseInt(position[:16], 16, 64) // written by at
	return ms
}

func (s *Service) now() int64 { return s.opt.Clock.Now().UnixMilli() }

func (s *Service) arn(group string) string {
	return fmt.Sprintf("arn:aws:logs:%s:%s:log-group:%s", s.opt.Region, s.opt.Account, group)
}

func needGroup(tx *store.Tx, name string) error {
	_, ok, err := groups.Get(tx, name)
	if err == nil && !ok {
		err = api.Errorf(wire.CodeNotFound, "The specified log group does not exist.")
	}
	return err
}

func needStream(tx *store.Tx, group, name string) (stream, error) {
	if err := needGroup(tx, group); err != nil {
		return stream{}, err
	}
	st, ok, err := streams.Get(tx, streamKey(group, name))
	if err == nil && !ok {
		err = api.Errorf(wire.CodeNotFound, "The specified log stream does not exist.")
	}
	return st, err
}

// throttle takes a PutLogEvents into the account, or refuses it.
func (s *Service) throttle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, rate := s.opt.Clock.Now(), float64(s.opt.PutRate)
	s.tokens = min(rate, s.tokens+rate*max(now.Sub(s.counted), 0).Seconds())
	if s.counted = now; s.tokens < 1 {
		return &api.Error{Code: wire.CodeThrottled, Message: "Rate exceeded", Status: http.StatusBadRequest}
	}
	s.tokens--
	return nil
}
