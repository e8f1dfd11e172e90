package doc

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Document is the content of a command document.
type Document struct {
	SchemaVersion string                  `json:"schemaVersion" yaml:"schemaVersion"`
	Description   string                  `json:"description,omitempty" yaml:"description"`
	Parameters    map[string]Parameter    `json:"parameters,omitempty" yaml:"parameters"`
	RuntimeConfig map[string]PluginConfig `json:"runtimeConfig,omitempty" yaml:"runtimeConfig"` // steps of 1.x
	MainSteps     []MainStep              `json:"mainSteps,omitempty" yaml:"mainSteps"`         // steps of 2.x
}

// Parameter declares a document parameter.
type Parameter struct {
	Type           string   `json:"type" yaml:"type"`
	Default        any      `json:"default,omitempty" yaml:"default"` // null: none
	Description    string   `json:"description,omitempty" yaml:"description"`
	AllowedValues  []string `json:"allowedValues,omitempty" yaml:"allowedValues"`
	AllowedPattern string   `json:"allowedPattern,omitempty" yaml:"allowedPattern"` // RE2, unanchored
	// Limits in bytes and items. An unusable limit is no limit.
	MinChars json.Number `json:"minChars,omitempty" yaml:"minChars"`
	MaxChars json.Number `json:"maxChars,omitempty" yaml:"maxChars"`
	MinItems json.Number `json:"minItems,omitempty" yaml:"minItems"`
	MaxItems json.Number `json:"maxItems,omitempty" yaml:"maxItems"`
	// InterpolationType "ENV_VAR" hands the value of a String to scripts in
	// the variable SSM_<name> instead of pasting it into them (2.2).
	InterpolationType string `json:"interpolationType,omitempty" yaml:"interpolationType"`
}

// PluginConfig is a step of a 1.x document.
type PluginConfig struct {
	Settings    any    `json:"settings,omitempty" yaml:"settings"`
	Properties  any    `json:"properties" yaml:"properties"`
	Description string `json:"description,omitempty" yaml:"description"`
}

// MainStep is a step of a 2.x document.
type MainStep struct {
	Action       string              `json:"action" yaml:"action"`
	Name         string              `json:"name" yaml:"name"`
	Inputs       any                 `json:"inputs" yaml:"inputs"`
	Settings     any                 `json:"settings,omitempty" yaml:"settings"`
	Precondition map[string][]string `json:"precondition,omitempty" yaml:"precondition"`
	// Decoded and without effect, as in stock agents: the ones that count
	// are in Inputs.
	MaxAttempts    int    `json:"maxAttempts,omitempty" yaml:"maxAttempts"`
	TimeoutSeconds int    `json:"timeoutSeconds,omitempty" yaml:"timeoutSeconds"`
	OnFailure      string `json:"onFailure,omitempty" yaml:"onFailure"`
}

// SchemaVersions lists the versions that are accepted, by exact text.
func SchemaVersions() []string {
	return []string{"1.0", "1.2", "2.0", "2.0.1", "2.0.2", "2.0.3", "2.2"}
}

// Decode decodes a JSON document by the rules of encoding/json (names in any
// case, unknown members dropped) and checks its version and that it has steps.
func Decode(content []byte) (Document, error) {
	var d Document
	if err := decode("document", content, &d); err != nil {
		if errors.Is(err, ErrDecode) {
			err = cmp.Or(misfits(content), err)
		}
		return Document{}, err
	}
	return d, d.shape()
}

// shape is the first stage of the parse pipeline.
func (d Document) shape() error {
	if !slices.Contains(SchemaVersions(), d.SchemaVersion) {
		return fmt.Errorf("%w %s; use one of %s", ErrSchemaVersion, quoted(d.SchemaVersion), strings.Join(SchemaVersions(), ", "))
	}
	if d.v1() && len(d.RuntimeConfig) == 0 {
		return fmt.Errorf("%w: a document of version %s needs a step in runtimeConfig", ErrNoSteps, d.SchemaVersion)
	}
	if !d.v1() && len(d.MainSteps) == 0 {
		return fmt.Errorf("%w: a document of version %s needs a step in mainSteps", ErrNoSteps, d.SchemaVersion)
	}
	return nil
}

func (d Document) v1() bool { return strings.HasPrefix(d.SchemaVersion, "1.") }

// preconditions says whether the version honours them (2.2 and later).
func (d Document) preconditions() bool {
	c, err := CompareVersions(d.SchemaVersion, "2.2")
	return err == nil && c >= 0
}
