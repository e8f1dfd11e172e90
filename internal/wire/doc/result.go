package doc

import "time"

// Step is one step of a parsed document, ready to be run: parameters are
// substituted, preconditions resolved.
type Step struct {
	ID       string // PluginID: the step's name (2.x) or the plugin's (1.x)
	Action   string // PluginName, "aws:runShellScript"
	Inputs   any    `json:",omitempty"` // substituted inputs/properties: JSON values
	Settings any    `json:",omitempty"`
	// Env holds the variables of ENV_VAR parameters for a script:
	// "SSM_<name>" and the value. Nil for other actions.
	Env map[string]string `json:",omitempty"`
	// Dir is the step's directory below the command's orchestration
	// directory: the name without colons, checked to be one path element.
	Dir string
	// V2 says that the step comes from mainSteps; 1.x steps place their
	// streams differently.
	V2 bool
	// PreconditionsEnabled is true from schema 2.2 on.
	PreconditionsEnabled bool
	Preconditions        map[string][]Argument `json:",omitempty"`
}

// Argument is one argument of a precondition before and after substitution.
type Argument struct{ Initial, Resolved string }

// Result is the outcome of one step, as the engine records it.
type Result struct {
	ID, Action     string
	Status         Status
	Code           int
	Output         string // combined text for the console, at most 2,500 bytes
	StandardOutput string // at most 24,000 bytes
	StandardError  string
	Error          string // when set it is what replies show as output
	Reason         string `json:",omitempty"` // class of a skip or failure, for tests and logs
	Start, End     time.Time
	S3Bucket       string `json:",omitempty"`
	S3KeyPrefix    string `json:",omitempty"`
}
