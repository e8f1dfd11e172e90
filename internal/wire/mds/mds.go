// Package mds holds the words of the message delivery service (ec2messages):
// the JSON 1.1 requests and answers of the long poll that carries commands to
// nodes without a control channel. Plain data for both ends.
package mds

// TargetPrefix precedes the operation in X-Amz-Target.
const TargetPrefix = "EC2WindowsMessageDeliveryService"

// Operations of the service. GetEndpoint is modelled but no agent calls it.
const (
	OpGetMessages        = "GetMessages"
	OpAcknowledgeMessage = "AcknowledgeMessage"
	OpDeleteMessage      = "DeleteMessage"
	OpFailMessage        = "FailMessage"
	OpSendReply          = "SendReply"
	OpGetEndpoint        = "GetEndpoint"
)

// VisibilityTimeoutSeconds is what the agent asks for: a message neither
// acknowledged nor failed is delivered again after it.
const VisibilityTimeoutSeconds = 10

// FailureInternal is the only FailureType agents send.
const FailureInternal = "InternalHandlerException"

// GetMessagesInput asks for messages; Destination is the instance id.
type GetMessagesInput struct {
	Destination                string
	MessagesRequestId          string
	VisibilityTimeoutInSeconds int64  `json:",omitempty"`
	NextToken                  string `json:",omitempty"`
}

// GetMessagesOutput has an empty list, not an error, when nothing came.
type GetMessagesOutput struct {
	Destination       string
	Messages          []Message
	MessagesRequestId string
	NextToken         string `json:",omitempty"`
}

// Message is one delivery. Topic, Destination, MessageId and CreatedDate must
// not be empty: the stock agent drops such a message without a word.
type Message struct {
	Topic         string
	Destination   string
	MessageId     string
	CreatedDate   string // ISO 8601 with milliseconds
	Payload       string // doc.SendCommand or doc.CancelCommand
	PayloadDigest string `json:",omitempty"`
}

// AcknowledgeMessageInput says that a message was accepted.
type AcknowledgeMessageInput struct{ MessageId string }

// DeleteMessageInput ends a message (sent by the updater).
type DeleteMessageInput struct{ MessageId string }

// FailMessageInput refuses a message.
type FailMessageInput struct {
	FailureType string
	MessageId   string
}

// SendReplyInput carries a doc.Reply as JSON in Payload.
type SendReplyInput struct {
	MessageId string
	Payload   string
	ReplyId   string
}

// SendReplyOutput is not read by agents.
type SendReplyOutput struct {
	Description string
	MessageId   string
	ReplyId     string
	ReplyStatus string
}

// GetEndpointInput and GetEndpointOutput are modelled, never called.
type GetEndpointInput struct{ Destination string }

// GetEndpointOutput names the endpoint to use.
type GetEndpointOutput struct{ Endpoint string }

// Empty is the answer of the operations without one.
type Empty struct{}
