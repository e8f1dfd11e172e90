// Package commands is Run Command on the control plane's side: commands,
// their invocations on nodes and the results of steps, kept in the store; the
// queue of what is to be delivered, in memory and rebuilt from the store; and
// the deadlines of both.
package commands

import (
	"fmt"
	"math"
	"time"

	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/ssm"
)

// State is the StatusDetails of an invocation or a command.
type State string

// The states. Those from Success on are final; of these the ones from
// DeliveryTimedOut on are never an agent's word.
const (
	Pending           State = "Pending"
	Delayed           State = "Delayed"
	InProgress        State = "InProgress"
	Cancelling        State = "Cancelling"
	Success           State = "Success"
	Failed            State = "Failed"
	Cancelled         State = "Cancelled"
	ExecutionTimedOut State = "ExecutionTimedOut"
	DeliveryTimedOut  State = "DeliveryTimedOut"
	Undeliverable     State = "Undeliverable"
	Terminated        State = "Terminated"
	InvalidPlatform   State = "InvalidPlatform"

	Incomplete       State = "Incomplete"       // of commands only
	NoInstancesInTag State = "NoInstancesInTag" // of commands only
)

// Final says whether an invocation in this state stays in it.
func (s State) Final() bool {
	switch s {
	case Pending, Delayed, InProgress, Cancelling:
		return false
	}
	return true
}

// Status is the API's enumeration for s. The model says what StatusDetails
// there are, not how they map; this is the natural choice.
func (s State) Status() string {
	switch s {
	case DeliveryTimedOut, ExecutionTimedOut:
		return "TimedOut"
	case Undeliverable, InvalidPlatform, Incomplete, NoInstancesInTag:
		return "Failed"
	case Terminated:
		return "Cancelled"
	}
	return string(s)
}

// undelivered says that the node has not said yet that it has the command.
func (s State) undelivered() bool { return s == Pending || s == Delayed }

// Command is one SendCommand.
type Command struct {
	ID              string
	DocumentName    string
	DocumentVersion string // as asked for, or the number it stood for
	Comment         string
	Parameters      map[string][]string
	InstanceIDs     []string
	Targets         []ssm.Target
	Requested       time.Time
	Expires         time.Time // undelivered invocations end here
	TimeoutSeconds  int
	MaxConcurrency  string
	MaxErrors       string
	S3Bucket        string
	S3KeyPrefix     string
	CloudWatch      *ssm.CloudWatchOutputConfig

	Concurrency     int           // MaxConcurrency in nodes
	Errors          int           // MaxErrors in nodes
	Execution       time.Duration // sum of the steps' time-outs
	Steps           []Step
	TargetCount     int
	Counts          map[State]int // of invocations
	Details         State
	CancelRequested bool      // for all nodes
	Finished        time.Time // zero while there is one to come
}

// Step is a step of the command's document.
type Step struct{ Name, Action string }

// Invocation is a command on one node.
type Invocation struct {
	CommandID string
	NodeID    string
	NodeName  string
	Requested time.Time
	Rev       int // grows with every change
	State     State
	// Imposed says that the state is the control plane's word and that the
	// node may not know of it: what it still reports is ignored.
	Imposed   bool
	Delivered time.Time // the node's first sign of having it
	Finished  time.Time
	Deadline  time.Time // of the present state, zero when final
	Trace     string
	Refused   bool   // Trace is the control plane's word for a refusal; the node's own is better
	Expect    int    // steps that the last reply counts, told here or elsewhere
	CancelID  string // id of the cancel message, once there is one
}

// StepResult is what a node reported on a step.
type StepResult struct {
	Name, Action   string
	Status         doc.Status
	Code           int
	Output         string
	StandardOutput string
	StandardError  string
	Start, End     time.Time
	S3Bucket       string
	S3KeyPrefix    string
	StepDir        string
}

// Cancel is a cancel message to a node.
type Cancel struct {
	ID        string
	NodeID    string
	CommandID string
	Created   time.Time
	Done      bool
}

// mark is a record of an index: the key says it all.
type mark struct{}

// Tables of this package. The payload stands apart from the command because
// it holds the whole document, the steps apart from the invocation because
// they hold the output.
var (
	Commands    = store.Table[Command]{Name: "commands"}            // by id
	Invocations = store.Table[Invocation]{Name: "invocations"}      // by id/node
	payloads    = store.Table[string]{Name: "command_payloads"}     // by id
	steps       = store.Table[StepResult]{Name: "command_steps"}    // by id/node/number
	cancels     = store.Table[Cancel]{Name: "command_cancels"}      // by node/cancel id
	newest      = store.Table[mark]{Name: "commands_newest"}        // by falling time/id
	nodeNewest  = store.Table[mark]{Name: "commands_of_node"}       // by node/falling time/id
	open        = store.Table[mark]{Name: "commands_open"}          // by id
	finished    = store.Table[time.Time]{Name: "commands_finished"} // by rising time/id
	running     = store.Table[time.Time]{Name: "commands_running"}  // deadlines, by node/id
)

func invocationKey(command, node string) string { return command + "/" + node }

func stepKey(command, node string, i int) string {
	return fmt.Sprintf("%s/%s/%03d", command, node, i)
}

func cancelKey(node, id string) string { return node + "/" + id }

// risingKey orders by time, the earliest first; fallingKey the latest first.
func risingKey(t time.Time, id string) string {
	return fmt.Sprintf("%016x/%s", uint64(t.UnixNano()), id)
}

func fallingKey(t time.Time, id string) string {
	return fmt.Sprintf("%016x/%s", uint64(math.MaxInt64-t.UnixNano()), id)
}

// idOf is the id at the end of an index key.
func idOf(key string) string {
	for i := len(key) - 1; i >= 0; i-- {
		if key[i] == '/' {
			return key[i+1:]
		}
	}
	return key
}
