// Package mgs holds the words of the message gateway service (ssmmessages):
// the REST bodies, the first text message of a channel, and the JSON payloads
// of the frames on control and data channel. Plain data for both ends.
package mgs

import (
	"encoding/json"
	"fmt"
	"time"

	"ssmagent/internal/secret"
)

// Message types, the Type of a frame.Message.
const (
	TypeInteractiveShell     = "interactive_shell"
	TypeChannelClosed        = "channel_closed"
	TypeAgentTaskComplete    = "agent_task_complete"
	TypeAgentTaskAcknowledge = "agent_task_acknowledge"
	TypeAgentJob             = "agent_job"
	TypeAgentJobAck          = "agent_job_ack"
	TypeAgentJobReply        = "agent_job_reply"
	TypeAgentJobReplyAck     = "agent_job_reply_ack"
	TypeAgentTelemetry       = "agent_telemetry"
	TypeAgentUpdateResult    = "agent_update_result"
	TypeAgentSessionState    = "agent_session_state"
	TypeOutputStreamData     = "output_stream_data"
	TypeInputStreamData      = "input_stream_data"
	TypeAcknowledge          = "acknowledge"
	TypePausePublication     = "pause_publication"
	TypeStartPublication     = "start_publication"
)

// SchemaVersion is the MessageSchemaVersion of REST bodies and first messages.
const SchemaVersion = "1.0"

// Topics of jobs are compared by prefix: a service appends what it likes.
const (
	TopicSendCommand   = "aws.ssm.sendCommand"
	TopicCancelCommand = "aws.ssm.cancelCommand"
)

// MaxReplyContent is the size in bytes above which the stock agent drops the
// content of an agent_job_reply instead of sending it.
const MaxReplyContent = 120000

// CreateControlChannelRequest is the body of POST /v1/control-channel/{InstanceId}.
type CreateControlChannelRequest struct {
	MessageSchemaVersion string
	RequestId            string
}

// CreateDataChannelRequest is the body of POST /v1/data-channel/{SessionId}.
// The agent line sends an empty ClientId.
type CreateDataChannelRequest struct {
	MessageSchemaVersion string
	RequestId            string
	ClientId             string
}

// OpenControlChannel is the first text message of an agent's control channel.
type OpenControlChannel struct {
	Cookie               *string
	MessageSchemaVersion string
	RequestId            string
	TokenValue           secret.Text
	AgentVersion         string
	PlatformType         string
}

// OpenDataChannel is the first text message of either side of a data channel:
// ClientInstanceId is there when it comes from an agent.
type OpenDataChannel struct {
	MessageSchemaVersion string
	RequestId            string
	TokenValue           secret.Text
	ClientInstanceId     string `json:",omitempty"`
	ClientId             string
	ClientVersion        string `json:",omitempty"`
}

// AgentJob orders a command or a cancellation. Content is JSON in a string:
// doc.SendCommand or doc.CancelCommand, by the prefix of Topic.
type AgentJob struct {
	SchemaVersion int
	JobId         string
	Topic         string
	Content       string
}

// AgentJobAck says what became of an AgentJob; see the Ack codes.
type AgentJobAck struct {
	JobId                 string `json:"jobId"`
	AcknowledgedMessageId string `json:"acknowledgedMessageId"`
	CreatedDate           string `json:"createdDate"`
	StatusCode            string `json:"statusCode"`
	ErrorMessage          string `json:"errorMessage"`
}

// AckCode is the pair of StatusCode and ErrorMessage of an AgentJobAck.
type AckCode struct{ Code, Message string }

// The codes of AgentJobAck. Only BufferFull asks for a redelivery.
var (
	AckSuccessful      = AckCode{"200", "Successful"}
	AckClosed          = AckCode{"51401", "ClosedProcessor"}
	AckBufferFull      = AckCode{"51402", "ProcessorBufferFull"}
	AckUnexpectedType  = AckCode{"51403", "UnexpectedDocumentType"}
	AckTranslation     = AckCode{"51404", "ProcessorErrorCodeTranslationFailed"}
	AckDuplicate       = AckCode{"51405", "DuplicateCommand"}
	AckInvalidDocument = AckCode{"51406", "InvalidDocument"}
	AckNoContainer     = AckCode{"51407", "ContainerNotSupported"}
	AckParseError      = AckCode{"51408", "AgentJobMessageParseError"}
	AckUnexpectedError = AckCode{"51499", "UnexpectedError"}
)

// AgentJobReply reports on a job. Content is a doc.Reply as JSON in a string.
type AgentJobReply struct {
	SchemaVersion int    `json:"schemaVersion"`
	JobId         string `json:"jobId"`
	Content       string `json:"content"`
	Topic         string `json:"topic"`
}

// AgentJobReplyAck acknowledges the reply frame whose id it names.
type AgentJobReplyAck struct {
	JobId                 string `json:"jobId"`
	AcknowledgedMessageId string `json:"acknowledgedMessageId"`
}

// AgentTask is the payload of interactive_shell. Content is AgentTaskContent
// as JSON in a string.
type AgentTask struct {
	Content       string
	TaskId        string
	Topic         string
	SchemaVersion int
}

// AgentTaskComplete reports the end of a session (TaskId is the session id).
type AgentTaskComplete struct {
	SchemaVersion    int
	TaskId           string
	Topic            string
	FinalTaskStatus  string
	IsRoutingFailure bool
	AwsAccountId     string
	InstanceId       string
	Output           string
	S3Bucket         string
	S3UrlSuffix      string
	CwlGroup         string
	CwlStream        string
	RetryNumber      int
}

// AgentTaskAcknowledge answers AgentTaskComplete; MessageId is the frame's.
type AgentTaskAcknowledge struct {
	SchemaVersion int
	MessageId     string
	TaskId        string
	Topic         string
}

// ChannelClosed tells a side that the service ended the channel. CreatedDate is
// a string: a number makes stock agents refuse the payload. Output is text for
// the client's user.
type ChannelClosed struct {
	MessageId     string
	CreatedDate   string
	DestinationId string
	SessionId     string
	MessageType   string
	SchemaVersion int
	Output        string
}

// States of an AgentSessionState.
const (
	SessionConnected   = "Connected"
	SessionTerminating = "Terminating"
)

// AgentSessionState is fire and forget: Connected or Terminating.
type AgentSessionState struct {
	SchemaVersion int
	SessionState  string
	SessionId     string
}

// Acknowledge acknowledges a stream message; only the sequence number counts.
type Acknowledge struct {
	AcknowledgedMessageType           string
	AcknowledgedMessageId             string
	AcknowledgedMessageSequenceNumber int64
	IsSequentialMessage               bool
}

// AgentTelemetry carries counts of past days.
type AgentTelemetry struct {
	SchemaVersion               int
	NumberOfAgentReboot         int
	NumberOfSSMWorkerReboot     int
	NumberOfInProcExecuterStart int
	AgentVersion                string
}

// AgentUpdateResult carries the outcome of the last update of the agent.
type AgentUpdateResult struct {
	SchemaVersion         int
	AgentUpdateResultCode string
	SourceVersion         string
	TargetVersion         string
}

// TimeFormat is ISO 8601 in UTC with milliseconds, as in every payload.
const TimeFormat = "2006-01-02T15:04:05.000Z"

// FormatTime writes t as payloads do.
func FormatTime(t time.Time) string { return t.UTC().Format(TimeFormat) }

// Decode is the one way a payload becomes a value. It takes what the stock
// decoder takes (encoding/json: case-insensitive names, unknown members
// ignored) and bounds nothing: the frame's size already is.
func Decode[T any](payload []byte) (T, error) {
	var v T
	if err := json.Unmarshal(payload, &v); err != nil {
		return v, fmt.Errorf("decode %T: %w", v, err)
	}
	return v, nil
}
