package mgs

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"

	"ssmagent/internal/secret"
)

// CreateChannelResponse is the XML answer to CreateControlChannel and
// CreateDataChannel, with status 201 and no other. The name of the root element
// and namespaces are not looked at by readers.
type CreateChannelResponse struct {
	XMLName              xml.Name
	MessageSchemaVersion string
	TokenValue           secret.Text
}

// Roots that answers have by custom.
const (
	RootCreateControlChannel = "CreateControlChannelResponse"
	RootCreateDataChannel    = "CreateDataChannelResponse"
)

// ErrorResponse is the XML body of a refusal; XMLName.Local is the code.
type ErrorResponse struct {
	XMLName xml.Name
	Message string
}

// CodeAccessDenied is the one code that an agent acts upon: it turns to
// ec2messages.
const CodeAccessDenied = "AccessDeniedException"

// TextTerminated anywhere in the body of a refused CreateDataChannel ends an
// agent's attempts to reconnect the session.
const TextTerminated = "Session is already terminated"

// maxXML bounds an answer; tokens have a few hundred bytes.
const maxXML = 64 << 10

// Encode returns the answer with the given root element.
func (r CreateChannelResponse) Encode(root string) ([]byte, error) {
	if r.TokenValue == "" {
		return nil, errors.New("encode channel response: a stock agent dies of an answer without TokenValue")
	}
	return encodeXML(root, &r, &r.XMLName)
}

// DecodeCreateChannelResponse reads an answer with any root element. One
// without a token is an error.
func DecodeCreateChannelResponse(b []byte) (CreateChannelResponse, error) {
	var r CreateChannelResponse
	if err := decodeXML(b, &r); err != nil {
		return CreateChannelResponse{}, fmt.Errorf("decode channel response: %w", err)
	}
	if r.TokenValue == "" {
		return CreateChannelResponse{}, errors.New("decode channel response: TokenValue is missing")
	}
	return r, nil
}

// EncodeError returns the body of a refusal.
func EncodeError(code, message string) ([]byte, error) {
	r := ErrorResponse{Message: message}
	return encodeXML(code, &r, &r.XMLName)
}

// DecodeError reads the body of a refusal with any root element. A body that
// is none says so in its error: whoever calls has a status to report.
func DecodeError(b []byte) (ErrorResponse, error) {
	var r ErrorResponse
	if err := decodeXML(b, &r); err != nil {
		return ErrorResponse{}, fmt.Errorf("decode gateway error: %w", err)
	}
	return r, nil
}

// IsAccessDenied says whether the body of a refused CreateControlChannel tells
// the agent to fall back to ec2messages: the element is looked for in the text.
func IsAccessDenied(body []byte) bool {
	return bytes.Contains(body, []byte("<"+CodeAccessDenied+">"))
}

// IsTerminated says whether the body of a refused CreateDataChannel tells the
// agent that the session is over.
func IsTerminated(body []byte) bool { return bytes.Contains(body, []byte(TextTerminated)) }

func encodeXML(root string, v any, name *xml.Name) ([]byte, error) {
	letter := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
	if root == "" || len(root) > 128 || strings.ContainsFunc(root, func(r rune) bool { return !letter(r) }) {
		return nil, fmt.Errorf("encode XML: root element %q is not made of letters", root)
	}
	name.Local = root
	return xml.Marshal(v)
}

func decodeXML(b []byte, v any) error {
	if len(b) > maxXML {
		return fmt.Errorf("%d bytes, at most %d are taken", len(b), maxXML)
	}
	return xml.Unmarshal(b, v)
}
