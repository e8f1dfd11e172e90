package doc

import (
	"encoding/json"
	"errors"
	"fmt"
)

// MaxPayload bounds a command's payload and a document, in bytes.
const MaxPayload = 1 << 20

// Sentinels of what can be wrong with a payload or a document.
var (
	// ErrTooLarge: more than MaxPayload bytes, or parameters that blow the
	// document up.
	ErrTooLarge = errors.New("document is too large")
	// ErrDecode: no JSON, or a value of the wrong type somewhere in it.
	ErrDecode = errors.New("document cannot be decoded")
	// ErrSchemaVersion: not one of SchemaVersions.
	ErrSchemaVersion = errors.New("unsupported document schema version")
	// ErrNoSteps: the version's place for steps is empty.
	ErrNoSteps = errors.New("Unsupported schema format") //nolint:staticcheck // the text that stock agents begin with
)

// ParseSendCommand decodes the payload of a command. The document inside is
// still bytes: see Decode.
func ParseSendCommand(payload []byte) (SendCommand, error) {
	var c SendCommand
	if err := decode("command payload", payload, &c); err != nil {
		return SendCommand{}, err
	}
	if !ValidID(c.CommandId) {
		return SendCommand{}, fmt.Errorf("command payload: %w: CommandId %s must be 1 to %d of letters, digits and any of - _ : and dots", ErrName, quoted(c.CommandId), maxName)
	}
	if len(c.DocumentContent) == 0 || string(c.DocumentContent) == "null" {
		return SendCommand{}, fmt.Errorf("command payload: %w: DocumentContent is missing", ErrDecode)
	}
	return c, nil
}

// ParseCancelCommand decodes the payload of a cancel message.
func ParseCancelCommand(payload []byte) (CancelCommand, error) {
	var c CancelCommand
	if err := decode("cancel payload", payload, &c); err != nil {
		return CancelCommand{}, err
	}
	if _, err := CommandID(c.CancelMessageId); err != nil {
		return CancelCommand{}, fmt.Errorf("cancel payload: CancelMessageId: %w", err)
	}
	return c, nil
}

// decode is encoding/json with a bound and errors for people.
func decode(what string, b []byte, v any) error {
	if len(b) > MaxPayload {
		return fmt.Errorf("%w: %s has %d bytes, at most %d are accepted; make the document smaller or let it download what it needs", ErrTooLarge, what, len(b), MaxPayload)
	}
	err := json.Unmarshal(b, v)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := wrong.Field
		if field == "" {
			field = "the whole"
		}
		return fmt.Errorf("%s: %w: %s is a JSON %s where %s is needed (byte %d)", what, ErrDecode, field, wrong.Value, kindName(wrong.Type.Kind().String()), wrong.Offset)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", what, ErrDecode, err)
	}
	return nil
}

func kindName(kind string) string {
	switch kind {
	case "struct", "map":
		return "an object"
	case "slice":
		return "an array"
	case "int", "int64":
		return "an integer"
	}
	return "a " + kind
}
