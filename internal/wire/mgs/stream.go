package mgs

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// PayloadType of stream messages; every other message has 0.
const (
	PayloadOutput               = 1 // raw bytes, either way
	PayloadError                = 2 // defined, unused
	PayloadSize                 = 3 // Size, client to agent
	PayloadParameter            = 4 // defined, unused
	PayloadHandshakeRequest     = 5
	PayloadHandshakeResponse    = 6
	PayloadHandshakeComplete    = 7
	PayloadEncChallengeRequest  = 8 // EncChallenge
	PayloadEncChallengeResponse = 9 // EncChallenge
	PayloadFlag                 = 10
	PayloadStdErr               = 11 // raw bytes, agent to client
	PayloadExitCode             = 12 // FormatExit, agent to client
)

// Flag is the payload of type PayloadFlag.
type Flag uint32

// The flags.
const (
	FlagDisconnectToPort   Flag = 1 // client to agent: close the connection to the destination
	FlagTerminateSession   Flag = 2 // client to agent: end the session
	FlagConnectToPortError Flag = 3 // agent to client: the destination could not be dialled
)

// Flags of ours, client to agent, in sessions of type NonInteractiveCommands
// where both have said Streams in their Extension.
const (
	FlagInputEnd  Flag = 0x53410001 // standard input ends here
	FlagInterrupt Flag = 0x53410002 // the command gets an interrupt, as by ^C
	FlagQuit      Flag = 0x53410003 // the command is to quit, as by ^\
)

// Encode returns the payload.
func (f Flag) Encode() []byte { return binary.BigEndian.AppendUint32(nil, uint32(f)) }

// DecodeFlag reads a payload of type PayloadFlag.
func DecodeFlag(payload []byte) (Flag, error) {
	if len(payload) != 4 {
		return 0, fmt.Errorf("decode flag: %d bytes, need 4", len(payload))
	}
	return Flag(binary.BigEndian.Uint32(payload)), nil
}

// The parts of a payload of type PayloadExitCode: the decimal code, and behind
// it, towards clients of ours, the signal's number and name.
const (
	exitPrefix   = "EXIT_CODE: "
	signalPrefix = " SIGNAL: "
	maxExit      = 64 // bytes
)

// Exit is how a program ended. Code is -1 for an end by a signal, of which only
// our own programs tell the number on the node's system and the name.
type Exit struct {
	Code   int
	Signal int    // 0: none, or not told
	Name   string // as SIGKILL; letters, digits and + only
}

// FormatExit returns the payload of type PayloadExitCode for a client of ours.
func FormatExit(e Exit) []byte {
	text := exitPrefix + strconv.Itoa(e.Code)
	if e.Signal > 0 && signalName(e.Name) {
		text += signalPrefix + strconv.Itoa(e.Signal) + " " + e.Name
	}
	return []byte(text)
}

// FormatExitCode returns the payload of type PayloadExitCode; -1 stands for an
// end by a signal.
func FormatExitCode(code int) []byte { return FormatExit(Exit{Code: code}) }

// ParseExit reads a payload of type PayloadExitCode.
func ParseExit(payload []byte) (Exit, error) {
	text, ok := strings.CutPrefix(string(payload[:min(len(payload), maxExit)]), exitPrefix)
	text, signal, signalled := strings.Cut(text, signalPrefix)
	code, err := strconv.ParseInt(text, 10, 0)
	e := Exit{Code: int(code)}
	ok = ok && err == nil && len(payload) <= maxExit
	if signalled {
		number, name, _ := strings.Cut(signal, " ")
		n, err := strconv.ParseUint(number, 10, 16)
		e.Signal, e.Name = int(n), name
		ok = ok && err == nil && n > 0 && signalName(name)
	}
	if !ok {
		return Exit{}, fmt.Errorf("decode exit code: %.64q is not %q, a number and perhaps a signal", payload, exitPrefix)
	}
	return e, nil
}

// signalName says whether s looks like the name of a signal, SIGRTMIN+3 at the
// longest.
func signalName(s string) bool {
	ok := func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '+' }
	return s != "" && len(s) <= 16 && !strings.ContainsFunc(s, func(r rune) bool { return !ok(r) })
}

// ParseExitCode reads the code of a payload of type PayloadExitCode.
func ParseExitCode(payload []byte) (int, error) {
	e, err := ParseExit(payload)
	return e.Code, err
}

// Size is the size of a terminal in characters.
type Size struct {
	Cols uint32 `json:"cols"`
	Rows uint32 `json:"rows"`
}

// Types of the actions that a handshake asks for.
const (
	ActionSessionType   = "SessionType"
	ActionKMSEncryption = "KMSEncryption"
)

// HandshakeRequest asks the client to prepare itself. AgentVersion has four
// numbers: clients compare it only then.
type HandshakeRequest struct {
	AgentVersion           string
	RequestedClientActions []ClientAction
	// Extensions is ours: JSON that other peers ignore.
	Extensions json.RawMessage `json:",omitempty"`
}

// ClientAction is one action: ActionParameters is SessionTypeParameters or
// KMSEncryptionParameters, by ActionType.
type ClientAction struct {
	ActionType       string
	ActionParameters json.RawMessage
}

// SessionTypeParameters names the session type. Properties are those of the
// resolved document for port sessions, else null.
type SessionTypeParameters struct {
	SessionType string
	Properties  json.RawMessage
}

// KMSEncryptionParameters asks for encryption with a data key of KMSKeyId.
type KMSEncryptionParameters struct {
	KMSKeyId  string
	Challenge string // base64 of 16 random bytes; no stock client knows it
}

// ActionStatus is the outcome of an action. Whoever receives anything but
// ActionSuccess ends the session.
type ActionStatus int

// The outcomes. Stock clients answer an unknown action type with status 0.
const (
	ActionSuccess     ActionStatus = 1
	ActionFailed      ActionStatus = 2
	ActionUnsupported ActionStatus = 3
)

// HandshakeResponse has one processed action for each that was requested, in
// the same order. It is sent once: a second one blocks stock agents for ever.
type HandshakeResponse struct {
	ClientVersion          string
	ProcessedClientActions []ProcessedClientAction
	Errors                 []string // null when there is none
	// Extensions is ours: JSON that other peers ignore.
	Extensions json.RawMessage `json:",omitempty"`
}

// ProcessedClientAction is the outcome of an action. ActionResult is
// KMSEncryptionResult after a successful KMSEncryption, else null.
type ProcessedClientAction struct {
	ActionType   string
	ActionStatus ActionStatus
	ActionResult json.RawMessage
	Error        string
}

// KMSEncryptionResult carries the wrapped data key.
type KMSEncryptionResult struct {
	KMSCipherTextKey         []byte
	KMSCipherTextHash        []byte // null from stock clients
	ChallengeAcknowledgement bool   `json:",omitempty"`
}

// HandshakeComplete ends the handshake; the duration is nanoseconds.
type HandshakeComplete struct {
	HandshakeTimeToComplete time.Duration
	CustomerMessage         string // shown to the user when not empty
}

// EncChallenge is the payload of both challenge messages: nonce, ciphertext
// and tag of 64 random bytes.
type EncChallenge struct{ Challenge []byte }

// NewSessionType returns the action that names the session type; nil
// properties are null.
func NewSessionType(sessionType string, properties json.RawMessage) (ClientAction, error) {
	return newAction(ActionSessionType, SessionTypeParameters{sessionType, properties})
}

// NewKMSEncryption returns the action that asks for encryption.
func NewKMSEncryption(keyID, challenge string) (ClientAction, error) {
	return newAction(ActionKMSEncryption, KMSEncryptionParameters{keyID, challenge})
}

func newAction(kind string, parameters any) (ClientAction, error) {
	b, err := json.Marshal(parameters)
	if err != nil {
		return ClientAction{}, fmt.Errorf("encode action %s: %w", kind, err)
	}
	return ClientAction{kind, b}, nil
}
