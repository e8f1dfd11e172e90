// Package cloudwatch is the action aws:cloudWatch: it configures, starts and
// stops the program of AWS that sends logs and counters of Windows to CloudWatch,
// and keeps it running.
package cloudwatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
)

// Values of startType.
const (
	enabled  = "Enabled"
	disabled = "Disabled"
)

// Plugin is the step.
type Plugin struct {
	Program            Program
	InstanceID, Region string
}

var _ step.Plugin = Plugin{}

// Run implements step.Plugin.
func (p Plugin) Run(ctx context.Context, in step.Input) step.Outcome {
	if ctx.Err() != nil {
		return step.Outcome{Status: doc.Cancelled, Code: 1}
	}
	text, err := configuration(in.Properties)
	if err != nil {
		return step.Reject(in, err)
	}
	s, err := step.Decode[struct {
		StartType string `json:"startType"`
	}](in.Settings, "startType must be a string")
	if err != nil {
		return step.Reject(in, err)
	}
	if _, err := io.WriteString(in.Stdout, s.StartType); err != nil {
		return step.Fail(in, err)
	}
	switch s.StartType {
	case enabled:
		err = p.Program.Enable(ctx, text, p.InstanceID, p.Region)
	case disabled:
		err = p.Program.Disable(ctx)
	default:
		err = fmt.Errorf("startType %.40q in the step's settings is neither Enabled nor Disabled, in these letters", s.StartType)
	}
	switch {
	case err == nil:
		return step.Outcome{Status: doc.Success, Output: text}
	case ctx.Err() != nil:
		return step.Stopped(ctx, in, err)
	}
	return step.Fail(in, err)
}

// configuration is the text of the program's configuration, which comes as it is
// or as the JSON that it stands for; empty for none.
func configuration(properties any) (string, error) {
	text, ok := properties.(string)
	if !ok {
		b, err := json.Marshal(properties)
		if err != nil {
			return "", fmt.Errorf("properties of the step: %w", err)
		}
		text = string(b)
	}
	if text = strings.TrimSpace(text); text == "" || text == "null" || text == "{}" {
		return "", nil
	}
	if len(text) > maxConfiguration {
		return "", fmt.Errorf("the configuration has more than %d bytes", maxConfiguration)
	}
	if !strings.HasPrefix(text, "{") || !json.Valid([]byte(text)) {
		return "", errors.New("the configuration is no JSON object")
	}
	return text, nil
}

// switched is a configuration that is on or off.
func switched(text string, on bool) ([]byte, error) {
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		return nil, fmt.Errorf("the configuration: %w", err)
	}
	for name := range members {
		if strings.EqualFold(name, "IsEnabled") {
			delete(members, name)
		}
	}
	members["IsEnabled"] = json.RawMessage("false")
	if on {
		members["IsEnabled"] = json.RawMessage("true")
	}
	return json.MarshalIndent(members, "", "    ")
}
