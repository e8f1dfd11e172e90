// Package doc is SSM documents and their results: what travels inside a
// command, how a document becomes steps (parameters, substitution,
// preconditions), and how step results become a reply. Pure logic and plain
// data for both ends; nothing here touches a file or a process.
package doc

import "encoding/json"

// SendCommand is the payload of a command message (service-to-agent).
type SendCommand struct {
	CommandId              string
	DocumentName           string
	DocumentContent        json.RawMessage
	Parameters             map[string]json.RawMessage `json:",omitempty"`
	OutputS3BucketName     string
	OutputS3KeyPrefix      string
	CloudWatchLogGroupName string
	// CloudWatchOutputEnabled is a boolean in a string ("" means off): a
	// JSON boolean makes stock agents refuse the whole payload.
	CloudWatchOutputEnabled string
}

// CancelCommand is the payload of a cancel message.
type CancelCommand struct{ CancelMessageId string }

// Status of a step or of a document, as on the wire.
type Status string

// The statuses.
const (
	NotStarted       Status = "NotStarted"
	InProgress       Status = "InProgress"
	Success          Status = "Success"
	SuccessAndReboot Status = "SuccessAndReboot"
	PassedAndReboot  Status = "PassedAndReboot"
	Failed           Status = "Failed"
	Cancelled        Status = "Cancelled"
	TimedOut         Status = "TimedOut"
	Skipped          Status = "Skipped"
)

// Reply is what an agent reports, as JSON in a string inside SendReply (MDS)
// or agent_job_reply (MGS).
type Reply struct {
	AdditionalInfo      AdditionalInfo        `json:"additionalInfo"`
	DocumentStatus      Status                `json:"documentStatus"`
	DocumentTraceOutput string                `json:"documentTraceOutput"`
	RuntimeStatus       map[string]StepStatus `json:"runtimeStatus"`
}

// AdditionalInfo says who reports and when.
type AdditionalInfo struct {
	Agent                   AgentInfo      `json:"agent"`
	DateTime                string         `json:"dateTime"`
	RunID                   string         `json:"runId"`
	RuntimeStatusCounts     map[Status]int `json:"runtimeStatusCounts"`
	AbleToOpenMGSConnection *bool          `json:"ableToOpenMGSConnection,omitempty"`
}

// AgentInfo is the configuration's own view of the agent.
type AgentInfo struct {
	Lang    string `json:"lang"`
	Name    string `json:"name"`
	OS      string `json:"os"`
	OSVer   string `json:"osver"`
	Version string `json:"ver"`
}

// StepStatus is the result of one step inside a Reply.
type StepStatus struct {
	Status             Status `json:"status"`
	Code               int64  `json:"code"`
	Name               string `json:"name"`
	Output             string `json:"output"`
	StartDateTime      string `json:"startDateTime"`
	EndDateTime        string `json:"endDateTime"`
	OutputS3BucketName string `json:"outputS3BucketName"`
	OutputS3KeyPrefix  string `json:"outputS3KeyPrefix"`
	StepName           string `json:"stepName"`
	StandardOutput     string `json:"standardOutput"`
	StandardError      string `json:"standardError"`
}
