package mgs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Session types, the SessionType of documents and handshakes.
const (
	SessionStandardStream         = "Standard_Stream"
	SessionInteractiveCommands    = "InteractiveCommands"
	SessionNonInteractiveCommands = "NonInteractiveCommands"
	SessionPort                   = "Port"
)

// SessionSchema is the only schemaVersion of session documents.
const SessionSchema = "1.0"

// TopicStartSession is the Topic of an AgentTask; no agent looks at it.
const TopicStartSession = "aws.ssm.startSession"

// AgentTaskContent is the order to start a session, the Content of AgentTask.
type AgentTaskContent struct {
	DocumentName    string
	DocumentContent SessionDocument
	SessionId       string
	// Parameters are the values to substitute: scalars where the document
	// wants a scalar, for agents do not unwrap lists of one.
	Parameters   map[string]json.RawMessage
	RunAsUser    string // of the caller; wins over Inputs.RunAsDefaultUser
	SessionOwner string // ARN of the caller
}

// SessionDocument is a session document before substitution.
type SessionDocument struct {
	SchemaVersion string `json:"schemaVersion"`
	Description   string `json:"description"`
	SessionType   string `json:"sessionType"`
	// Inputs are SessionInputs, once placeholders have been substituted.
	Inputs     json.RawMessage             `json:"inputs,omitempty"`
	Parameters map[string]SessionParameter `json:"parameters,omitempty"`
	// Properties are, once placeholders have been substituted,
	// CommandProperties or PortProperties by SessionType.
	Properties json.RawMessage `json:"properties,omitempty"`
}

// SessionParameter declares a parameter of a session document. Agents check
// AllowedPattern only, the service the rest.
type SessionParameter struct {
	Type           string          `json:"type"`
	Description    string          `json:"description,omitempty"`
	Default        json.RawMessage `json:"default,omitempty"`
	AllowedValues  []string        `json:"allowedValues,omitempty"`
	AllowedPattern string          `json:"allowedPattern,omitempty"`
	MinChars       json.Number     `json:"minChars,omitempty"`
	MaxChars       json.Number     `json:"maxChars,omitempty"`
	MinItems       json.Number     `json:"minItems,omitempty"`
	MaxItems       json.Number     `json:"maxItems,omitempty"`
}

// SessionInputs are the preferences of a session. IdleSessionTimeout and
// MaxSessionDuration are any JSON: the service enforces them, never the agent.
type SessionInputs struct {
	S3BucketName                string          `json:"s3BucketName,omitempty"`
	S3KeyPrefix                 string          `json:"s3KeyPrefix,omitempty"`
	S3EncryptionEnabled         Bool            `json:"s3EncryptionEnabled,omitempty"`
	CloudWatchLogGroupName      string          `json:"cloudWatchLogGroupName,omitempty"`
	CloudWatchStreamingEnabled  bool            `json:"cloudWatchStreamingEnabled"` // a string makes agents refuse the order
	CloudWatchEncryptionEnabled Bool            `json:"cloudWatchEncryptionEnabled,omitempty"`
	KMSKeyId                    string          `json:"kmsKeyId,omitempty"`
	RunAsEnabled                Bool            `json:"runAsEnabled,omitempty"`
	RunAsDefaultUser            string          `json:"runAsDefaultUser,omitempty"`
	ShellProfile                ShellProfile    `json:"shellProfile,omitzero"`
	IdleSessionTimeout          json.RawMessage `json:"idleSessionTimeout,omitempty"`
	MaxSessionDuration          json.RawMessage `json:"maxSessionDuration,omitempty"`
	// SSMAgent is ours; stock agents pass it over.
	SSMAgent OwnInputs `json:"ssmagent,omitzero"`
}

// OwnInputs are those that only our agents know.
type OwnInputs struct {
	RecordInputs
	// WindowsShell is what sessions run on Windows: ShellPowerShell, which it is
	// when nothing is said, or ShellCmd.
	WindowsShell string `json:"windowsShell,omitempty"`
}

// The words of OwnInputs.WindowsShell.
const (
	ShellPowerShell = "powershell"
	ShellCmd        = "cmd"
)

// RecordInputs say what is recorded of a session on the node. Empty words
// leave it to the node's configuration.
type RecordInputs struct {
	Recording          string `json:"recording,omitempty"`          // RecordOn or RecordOff
	RecordInput        Bool   `json:"recordInput,omitempty"`        // what is typed too, while the terminal echoes it
	WhenRecordingFails string `json:"whenRecordingFails,omitempty"` // RecordContinue or RecordEnd
}

// The words of RecordInputs.
const (
	RecordOn       = "on"
	RecordOff      = "off"
	RecordContinue = "continue"
	RecordEnd      = "end"
)

// ShellProfile is run when a shell starts; Linux stands for all that is not
// Windows.
type ShellProfile struct {
	Windows string `json:"windows"`
	Linux   string `json:"linux"`
}

// CommandProperties are the properties of command sessions, by platform.
type CommandProperties struct {
	Linux   *CommandProperty `json:"linux,omitempty"`
	MacOS   *CommandProperty `json:"macos,omitempty"`
	Windows *CommandProperty `json:"windows,omitempty"`
}

// CommandProperty is what a command session runs on one platform. The last
// three members count for NonInteractiveCommands only.
type CommandProperty struct {
	Commands              string `json:"commands"`
	RunAsElevated         bool   `json:"runAsElevated"`
	SeparateOutputStream  Bool   `json:"separateOutputStream,omitempty"`
	StdOutSeparatorPrefix string `json:"stdOutSeparatorPrefix,omitempty"`
	StdErrSeparatorPrefix string `json:"stdErrSeparatorPrefix,omitempty"`
}

// PortProperties are the properties of port sessions; those that start with
// Local concern the client. Numbers are strings.
type PortProperties struct {
	Host                string `json:"host,omitempty"` // "": the node itself
	LocalConnectionType string `json:"localConnectionType,omitempty"`
	LocalPortNumber     string `json:"localPortNumber,omitempty"`
	LocalUnixSocket     string `json:"localUnixSocket,omitempty"`
	PortNumber          string `json:"portNumber"`
	Type                string `json:"type,omitempty"` // LocalPortForwarding, or "" for SSH
}

// LocalPortForwarding is the PortProperties.Type of everything but SSH.
const LocalPortForwarding = "LocalPortForwarding"

// Bool is a boolean that may arrive as a string; "" is false.
type Bool bool

// UnmarshalJSON implements json.Unmarshaler. It takes what strconv.ParseBool
// takes, as the stock agent does.
func (b *Bool) UnmarshalJSON(data []byte) error {
	var s string
	switch {
	case string(data) == "null":
		return nil
	case len(data) > 0 && data[0] == '"':
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		if s == "" {
			*b = false
			return nil
		}
	case string(data) == "true" || string(data) == "false":
		s = string(data)
	default:
		return errors.New("a boolean must be true, false or one of them as a string")
	}
	v, err := strconv.ParseBool(s)
	if err != nil {
		return fmt.Errorf("%.20q is not a boolean", s)
	}
	*b = Bool(v)
	return nil
}

// NewAgentTask wraps an order to start a session.
func NewAgentTask(c AgentTaskContent) (AgentTask, error) {
	if err := c.check(); err != nil {
		return AgentTask{}, fmt.Errorf("start-session order: %w", err)
	}
	if c.Parameters == nil {
		c.Parameters = map[string]json.RawMessage{}
	}
	b, err := json.Marshal(c)
	if err != nil {
		return AgentTask{}, fmt.Errorf("encode start-session order: %w", err)
	}
	return AgentTask{Content: string(b), TaskId: c.SessionId, Topic: TopicStartSession, SchemaVersion: 1}, nil
}

// Session returns the order that t wraps, its id and schema version checked.
func (t AgentTask) Session() (AgentTaskContent, error) {
	c, err := Decode[AgentTaskContent]([]byte(t.Content))
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return AgentTaskContent{}, fmt.Errorf("start-session order: %w", err)
	}
	return c, nil
}

func (c AgentTaskContent) check() error {
	if !ValidSessionID(c.SessionId) {
		return fmt.Errorf("SessionId %.64q is empty, over %d bytes or cannot be a file name", c.SessionId, maxSessionID)
	}
	if c.DocumentContent.SchemaVersion != SessionSchema {
		return fmt.Errorf("schemaVersion %.16q of the session document must be %q", c.DocumentContent.SchemaVersion, SessionSchema)
	}
	return nil
}

// maxSessionID is above the 96 of the API, so that ids may be prefixed.
const maxSessionID = 128

// ValidSessionID says whether id is what session ids are made of, a principal's
// name and hex digits, and so neither separates nor climbs in a path.
func ValidSessionID(id string) bool {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("+=,.@_-", r)
	}
	return id != "" && len(id) <= maxSessionID && id[0] != '.' && id[0] != '-' && id[len(id)-1] != '.' &&
		!strings.ContainsFunc(id, func(r rune) bool { return !ok(r) })
}
