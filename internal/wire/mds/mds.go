// Package mds holds the words of the message delivery service (ec2messages):
// the JSON 1.1 requests and answers of the long poll that carries commands to
// nodes without a control channel. Plain data for both ends.
package mds

import "encoding/json"

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

// FailureTypes of the model. FailureInternal is the only one that agents send.
const (
	FailureInternal  = "InternalHandlerException"
	FailureNoHandler = "NoHandlerExists"
)

// ReplyStatuses of SendReplyOutput. No agent looks at them.
const (
	ReplyCreated       = "Created"
	ReplyQueued        = "Queued"
	ReplyAcknowledged  = "Acknowledged"
	ReplyNoActionTaken = "NoActionTaken"
)

// Error codes of the service. None changes what an agent does, but by being
// worth a retry or not.
const (
	ErrAuthorization        = "AuthorizationFailureException"
	ErrInternal             = "InternalServerException"
	ErrInvalidDestination   = "InvalidDestinationException"
	ErrInvalidMessageID     = "InvalidMessageIdException"
	ErrRequestTimeout       = "RequestTimeoutException"
	ErrTooManyRequests      = "TooManyRequestsException"
	ErrUnsupportedOperation = "UnsupportedMessageOperationException"
)

// Least lengths of request members, as the model has them.
const (
	MinDestination       = 10
	MinMessagesRequestID = 16
)

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

// MarshalJSON writes no messages as an empty list, never as null.
func (o GetMessagesOutput) MarshalJSON() ([]byte, error) {
	type plain GetMessagesOutput
	if o.Messages == nil {
		o.Messages = []Message{}
	}
	return json.Marshal(plain(o))
}

// Complete says whether a stock agent would look at m: it drops a message that
// lacks one of these without a word.
func (m Message) Complete() bool {
	return m.Topic != "" && m.Destination != "" && m.MessageId != "" && m.CreatedDate != ""
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
