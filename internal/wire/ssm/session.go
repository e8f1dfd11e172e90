package ssm

import "ssmagent/internal/secret"

// StartSessionInput opens a session on a node, named by its id or name.
// DocumentName is a document of type Session; the preferences document
// SSM-SessionManagerRunShell when absent.
type StartSessionInput struct {
	Target       string              `check:"required,min=1,max=400"`
	DocumentName string              `json:",omitempty" check:"re=documentArn"`
	Reason       string              `json:",omitempty" check:"min=1,max=256"`
	Parameters   map[string][]string `json:",omitempty"`
}

// SessionOutput answers StartSession and ResumeSession. A ResumeSession
// without TokenValue tells the client that the session is over.
type SessionOutput struct {
	SessionId  string
	TokenValue secret.Text `json:",omitempty"` // at most 300 characters
	StreamUrl  string      `json:",omitempty"` // ws:// or wss://
}

// ResumeSessionInput asks for a new token of a session.
type ResumeSessionInput struct {
	SessionId string `check:"required,min=1,max=96"`
}

// TerminateSessionInput ends a session.
type TerminateSessionInput struct {
	SessionId string `check:"required,min=1,max=96"`
}

// TerminateSessionOutput names the session that was ended.
type TerminateSessionOutput struct{ SessionId string }

// GetConnectionStatusInput asks whether sessions can be started on a node.
type GetConnectionStatusInput struct {
	Target string `check:"required,min=1,max=400"`
}

// Values of GetConnectionStatusOutput.Status; older models have them with
// capitals.
const (
	TargetConnected    = "connected"
	TargetNotConnected = "notconnected"
)

// GetConnectionStatusOutput says whether the node's control channel is up.
type GetConnectionStatusOutput struct{ Target, Status string }

// Values of DescribeSessionsInput.State.
const (
	SessionsActive  = "Active"
	SessionsHistory = "History"
)

// DescribeSessionsInput lists sessions, the newest first.
type DescribeSessionsInput struct {
	State      string          `check:"required,enum=Active|History"`
	Filters    []SessionFilter `json:",omitempty" check:"min=1,max=6"`
	MaxResults int             `json:",omitempty" check:"min=1,max=200"`
	NextToken  string          `json:",omitempty"`
}

// SessionFilter is one condition; its members are lower case. Keys:
// InvokedAfter, InvokedBefore, Target, Owner, Status, SessionId, AccessType,
// and DocumentName, which is ours.
type SessionFilter struct {
	Key   string `json:"key" check:"required"`
	Value string `json:"value" check:"required,min=1,max=400"`
}

// Values of Session.Status. The first three are active sessions'.
const (
	SessionConnecting   = "Connecting"
	SessionConnected    = "Connected"
	SessionDisconnected = "Disconnected"
	SessionTerminating  = "Terminating"
	SessionTerminated   = "Terminated"
	SessionFailed       = "Failed"
)

// Session is a session as operators see it. MaxSessionDuration is minutes as
// text, absent without a limit.
type Session struct {
	SessionId          string
	Target             string
	Status             string
	StartDate          Time
	EndDate            *Time `json:",omitempty"`
	DocumentName       string
	Owner              string            // the ARN of who started it
	Reason             string            `json:",omitempty"`
	Details            string            `json:",omitempty"` // why it ended; at most 1,024 characters
	OutputUrl          *SessionOutputUrl `json:",omitempty"`
	MaxSessionDuration string            `json:",omitempty"`
	AccessType         string            // Standard
}

// SessionOutputUrl says where the session's log is.
type SessionOutputUrl struct {
	S3OutputUrl         string `json:",omitempty"`
	CloudWatchOutputUrl string `json:",omitempty"`
}

// SessionAccessStandard is the AccessType of every session here.
const SessionAccessStandard = "Standard"

// DescribeSessionsOutput is a page of sessions.
type DescribeSessionsOutput struct {
	Sessions  []Session
	NextToken string `json:",omitempty"`
}
