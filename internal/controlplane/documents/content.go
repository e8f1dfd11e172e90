package documents

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"go.yaml.in/yaml/v2"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/ssm"
)

const codeContent = "InvalidDocumentContent"

// newVersion checks content of a document type and says what is in it. Its
// errors are the api errors of CreateDocument.
func newVersion(kind, format, content string) (Version, error) {
	if len(content) > maxContent {
		return Version{}, api.Errorf("MaxDocumentSizeExceeded", "Content has %d bytes, at most %d are taken", len(content), maxContent)
	}
	if format == "TEXT" {
		return Version{}, api.Errorf(codeContent, "a %s document is JSON or YAML, not TEXT", kind)
	}
	sum := sha256.Sum256([]byte(content))
	v := Version{Format: format, Content: content, Hash: hex.EncodeToString(sum[:])}
	switch kind {
	case "Session":
		return v, v.readSession()
	case typePackage:
		return v, v.readPackage()
	}
	return v, v.readCommand()
}

func (v *Version) readCommand() error {
	d, err := decode(v.Format, v.Content)
	if err != nil {
		return contentError(err)
	}
	if errs := d.CheckContent(); len(errs) > 0 {
		return contentError(errors.Join(errs...))
	}
	v.SchemaVersion, v.Description, v.PlatformTypes = d.SchemaVersion, d.Description, d.Platforms()
	for _, name := range slices.Sorted(maps.Keys(d.Parameters)) {
		p := d.Parameters[name]
		v.Parameters = append(v.Parameters, ssm.DocumentParameter{Name: name, Type: p.Type, Description: p.Description, DefaultValue: defaultText(p.Default)})
	}
	return nil
}

func decode(format, content string) (doc.Document, error) {
	if format == "YAML" {
		return doc.DecodeYAML([]byte(content))
	}
	return doc.Decode([]byte(content))
}

// session is what a session document must have; the rest is the agent's.
type session struct {
	SchemaVersion string                     `json:"schemaVersion"`
	Description   string                     `json:"description"`
	SessionType   string                     `json:"sessionType"`
	Parameters    map[string]doc.Parameter   `json:"parameters"`
	Inputs        map[string]json.RawMessage `json:"inputs"`
	Properties    json.RawMessage            `json:"properties"`
}

func (v *Version) readSession() error {
	text, err := convert("Session", v.Format, "JSON", v.Content)
	if err != nil {
		return err
	}
	var s session
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return api.Errorf(codeContent, "the session document cannot be decoded: %v", err)
	}
	if s.SchemaVersion != "1.0" {
		return api.Errorf("InvalidDocumentSchemaVersion", "schemaVersion is %q, a session document has 1.0", api.Clip(s.SchemaVersion, 128))
	}
	if !slices.Contains([]string{"Standard_Stream", "InteractiveCommands", "NonInteractiveCommands", "Port"}, s.SessionType) {
		return api.Errorf(codeContent, "sessionType is %q, needs Standard_Stream, InteractiveCommands, NonInteractiveCommands or Port", api.Clip(s.SessionType, 128))
	}
	v.SchemaVersion, v.Description, v.PlatformTypes = s.SchemaVersion, s.Description, []string{"Windows", "Linux", "MacOS"}
	for _, name := range slices.Sorted(maps.Keys(s.Parameters)) {
		p := s.Parameters[name]
		v.Parameters = append(v.Parameters, ssm.DocumentParameter{Name: name, Type: p.Type, Description: p.Description, DefaultValue: defaultText(p.Default)})
	}
	return nil
}

func contentError(err error) error {
	code := codeContent
	switch {
	case errors.Is(err, doc.ErrSchemaVersion):
		code = "InvalidDocumentSchemaVersion"
	case errors.Is(err, doc.ErrTooLarge):
		code = "MaxDocumentSizeExceeded"
	}
	return api.Errorf(code, "%v", err)
}

// defaultText is a default as descriptions show it: text as it is, else JSON.
func defaultText(v any) *string {
	if v == nil {
		return nil
	}
	text, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		if err != nil {
			return nil
		}
		text = string(b)
	}
	return &text
}

// convert gives content another format. A command document in YAML becomes
// JSON by the typed rules of its agents; members that no agent reads are lost.
func convert(kind, from, to, content string) (string, error) {
	switch {
	case from == to || to == "TEXT":
		return content, nil
	case to == "YAML":
		var v any
		if err := json.Unmarshal([]byte(content), &v); err != nil {
			return "", api.Errorf(codeContent, "the document is no JSON: %v", err)
		}
		b, err := yaml.Marshal(whole(v))
		if err != nil {
			return "", fmt.Errorf("document as YAML: %w", err)
		}
		return string(b), nil
	case kind == "Session":
		return sessionJSON(content)
	}
	d, err := decode(from, content)
	if err != nil {
		return "", contentError(err)
	}
	return marshal(d)
}

// sessionJSON turns YAML with names as keys into JSON.
func sessionJSON(content string) (text string, err error) {
	// The decoder reports faults that its authors did not foresee by panicking.
	defer func() {
		if r := recover(); r != nil {
			err = api.Errorf(codeContent, "the document is no YAML: %v", r)
		}
	}()
	var v any
	if err := yaml.Unmarshal([]byte(content), &v); err != nil {
		return "", api.Errorf(codeContent, "the document is no YAML: %v", err)
	}
	return marshal(named(v))
}

func marshal(v any) (string, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return "", api.Errorf(codeContent, "the document has no JSON form: %v", err)
	}
	return string(b), nil
}

// named turns YAML's maps into JSON's; keys that are no text are dropped, as
// agents do.
func named(v any) any {
	switch v := v.(type) {
	case map[any]any:
		m := map[string]any{}
		for k, e := range v {
			if name, ok := k.(string); ok {
				m[name] = named(e)
			}
		}
		return m
	case []any:
		for i := range v {
			v[i] = named(v[i])
		}
	}
	return v
}

// whole turns numbers without a fraction into integers, which YAML writes
// without an exponent.
func whole(v any) any {
	switch v := v.(type) {
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
	case map[string]any:
		for k, e := range v {
			v[k] = whole(e)
		}
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	}
	return v
}
