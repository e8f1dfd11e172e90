// Package admin is the agent's window for the administrators of its machine:
// how the node is, its figures, the level of its log, and profiles of the
// running process. It speaks HTTP over a local socket, so that whatever
// scrapes metrics can ask it too.
package admin

import (
	"errors"
	"path/filepath"
	"sync"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/ssmclient"
)

// Socket is the path of the window's socket below the directory of those.
func Socket(dir string) string { return filepath.Join(dir, "admin") }

// State is how a node is, in a word.
type State string

// The states of a node.
const (
	Starting     State = "starting"     // nothing was asked yet
	Hibernating  State = "hibernating"  // the service refuses the node; nothing runs before it does not
	Unreachable  State = "unreachable"  // the service has never answered
	Online       State = "online"       // the gateway's channel is open
	Polling      State = "polling"      // commands come by polls; there are no sessions
	Reconnecting State = "reconnecting" // the channel is lost, the service has answered lately
	Offline      State = "offline"      // no channel, no answer for long
)

// Status is what is known of a running agent.
type Status struct {
	State   State
	Why     string `json:",omitempty"` // what the last failure was, if it counts still
	Ready   bool   // the service counts the node as online
	Version string
	PID     int
	User    string // that the agent runs as
	Started time.Time

	InstanceID, Region, Identity string

	Heartbeat         Heartbeat
	NoPings           bool   `json:",omitempty"` // nothing beats: the channel alone counts
	Channel           string // "ssmmessages", "ec2messages" or not known yet
	ChannelOpen       bool
	ClockBehind       float64   // seconds that this machine's clock is behind the service's
	CredentialsExpire time.Time `json:",omitzero"`

	CommandsWaiting, CommandsRunning, Sessions, Unsent int

	Goroutines           int
	HeapBytes            int64
	ResidentBytes        int64
	MemoryLimitBytes     int64
	OpenFiles, FileLimit int
	LogLevel             string
}

// Caller is whose the node's credentials are.
type Caller struct {
	Arn     string
	Expires time.Time `json:",omitzero"`
}

// Proxies are the variables by which programs use a proxy, with its password.
type Proxies struct {
	HTTP  string `json:"http_proxy"`
	HTTPS string `json:"https_proxy"`
	No    string `json:"no_proxy"`
}

// Judge fills in State, Why and Ready: a node is online as long as its channel
// is open or its last answered ping is younger than twice interval and a minute.
func (s *Status) Judge(now time.Time, interval time.Duration) {
	h := s.Heartbeat
	fresh := !h.Answered.IsZero() && now.Sub(h.Answered) < 2*interval+time.Minute
	s.Why = h.Error
	switch {
	case s.NoPings && s.ChannelOpen:
		s.State = Online
	case s.NoPings && s.Channel == "":
		s.State = Starting
	case s.NoPings:
		s.State = Offline
	case h.Answered.IsZero() && h.Asked.IsZero():
		s.State = Starting
	case h.Answered.IsZero() && h.Refused:
		s.State = Hibernating
	case h.Answered.IsZero():
		s.State = Unreachable
	case s.ChannelOpen:
		s.State = Online
	case !fresh:
		s.State = Offline
	case s.Channel == "ec2messages":
		s.State = Polling
	default:
		s.State = Reconnecting
	}
	s.Ready = s.State == Online || s.State == Polling || s.State == Reconnecting
}

// Heartbeat is what became of the pings. Times are the last ones.
type Heartbeat struct {
	Asked    time.Time `json:",omitzero"`
	Answered time.Time `json:",omitzero"`
	Error    string    `json:",omitempty"` // of the last ping
	Refused  bool      `json:",omitempty"` // that is what the service said

	AnsweredTotal, RefusedTotal, LostTotal uint64
}

// Heart keeps the Heartbeat. Safe for concurrent use.
type Heart struct {
	clock clock.Clock

	mu sync.Mutex
	h  Heartbeat
}

// NewHeart returns a Heart that has not beaten.
func NewHeart(c clock.Clock) *Heart { return &Heart{clock: c} }

// Beat notes the outcome of a ping.
func (h *Heart) Beat(err error) {
	now := h.clock.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.Asked, h.h.Error, h.h.Refused = now, "", false
	if err == nil {
		h.h.Answered = now
		h.h.AnsweredTotal++
		return
	}
	h.h.Error = err.Error()
	if _, lost := errors.AsType[*ssmclient.Unreachable](err); !lost {
		h.h.Refused = true
		h.h.RefusedTotal++
		return
	}
	h.h.LostTotal++
}

// Last is the heartbeat as it is known now.
func (h *Heart) Last() Heartbeat {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.h
}
