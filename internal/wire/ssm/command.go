package ssm

import "encoding/json"

// SendCommandInput runs a document on nodes, named by id or by target.
// TimeoutSeconds is the time to be delivered in, 3600 when absent;
// MaxConcurrency (50 when absent) and MaxErrors (0) are numbers or percentages.
type SendCommandInput struct {
	DocumentName           string                  `check:"required,re=documentArn"`
	DocumentVersion        string                  `json:",omitempty" check:"re=documentVersion"`
	DocumentHash           string                  `json:",omitempty" check:"max=256"`
	DocumentHashType       string                  `json:",omitempty" check:"enum=Sha256|Sha1"`
	InstanceIds            []string                `json:",omitempty" check:"max=50"`
	Targets                []Target                `json:",omitempty" check:"max=5"`
	Parameters             map[string][]string     `json:",omitempty"`
	TimeoutSeconds         int                     `json:",omitempty" check:"min=30,max=2592000"`
	Comment                string                  `json:",omitempty" check:"max=100"`
	OutputS3Region         string                  `json:",omitempty" check:"min=3,max=20"` // ignored by the service
	OutputS3BucketName     string                  `json:",omitempty" check:"min=3,max=63"`
	OutputS3KeyPrefix      string                  `json:",omitempty" check:"max=500"`
	MaxConcurrency         string                  `json:",omitempty" check:"re=concurrency"`
	MaxErrors              string                  `json:",omitempty" check:"re=errors"`
	CloudWatchOutputConfig *CloudWatchOutputConfig `json:",omitempty"`
	// What needs SNS, IAM or CloudWatch alarms.
	ServiceRoleArn     string          `json:",omitempty"`
	NotificationConfig json.RawMessage `json:",omitempty"`
	AlarmConfiguration json.RawMessage `json:",omitempty"`
}

// Target chooses nodes: Key is InstanceIds, tag:<name> or tag-key. The values
// of a target are alternatives; of several targets all must hold.
type Target struct {
	Key    string   `check:"required,min=1,max=163"`
	Values []string `check:"max=50"`
}

// CloudWatchOutputConfig sends output to a log group.
type CloudWatchOutputConfig struct {
	CloudWatchLogGroupName  string `json:",omitempty" check:"min=1,max=512"`
	CloudWatchOutputEnabled bool
}

// SendCommandOutput is the command as accepted.
type SendCommandOutput struct{ Command Command }

// Command is a command with its counts over all nodes.
type Command struct {
	CommandId              string
	DocumentName           string
	DocumentVersion        string
	Comment                string
	ExpiresAfter           Time
	Parameters             map[string][]string
	InstanceIds            []string
	Targets                []Target
	RequestedDateTime      Time
	Status                 string
	StatusDetails          string
	OutputS3Region         string `json:",omitempty"`
	OutputS3BucketName     string
	OutputS3KeyPrefix      string
	MaxConcurrency         string
	MaxErrors              string
	TargetCount            int
	CompletedCount         int
	ErrorCount             int
	DeliveryTimedOutCount  int
	ServiceRole            string
	CloudWatchOutputConfig *CloudWatchOutputConfig `json:",omitempty"`
	TimeoutSeconds         int
}

// CancelCommandInput cancels a command, on all its nodes when none is named.
type CancelCommandInput struct {
	CommandId   string   `check:"required,min=36,max=36"`
	InstanceIds []string `json:",omitempty" check:"max=50"`
}

// ListCommandsInput lists commands, the newest first.
type ListCommandsInput struct {
	CommandId  string          `json:",omitempty" check:"min=36,max=36"`
	InstanceId string          `json:",omitempty" check:"re=instanceId"`
	Filters    []CommandFilter `json:",omitempty" check:"min=1,max=5"`
	MaxResults int             `json:",omitempty" check:"min=1,max=50"`
	NextToken  string          `json:",omitempty"`
}

// CommandFilter is one condition; its members are lower case. Keys:
// InvokedAfter, InvokedBefore, Status, ExecutionStage, DocumentName.
type CommandFilter struct {
	Key   string `json:"key" check:"required"`
	Value string `json:"value" check:"required,min=1,max=128"`
}

// ListCommandsOutput is a page of commands.
type ListCommandsOutput struct {
	Commands  []Command
	NextToken string `json:",omitempty"`
}

// ListCommandInvocationsInput lists what commands did on nodes.
type ListCommandInvocationsInput struct {
	CommandId  string          `json:",omitempty" check:"min=36,max=36"`
	InstanceId string          `json:",omitempty" check:"re=instanceId"`
	Filters    []CommandFilter `json:",omitempty" check:"min=1,max=5"`
	Details    bool            `json:",omitempty"` // with CommandPlugins
	MaxResults int             `json:",omitempty" check:"min=1,max=50"`
	NextToken  string          `json:",omitempty"`
}

// ListCommandInvocationsOutput is a page of invocations.
type ListCommandInvocationsOutput struct {
	CommandInvocations []CommandInvocation
	NextToken          string `json:",omitempty"`
}

// CommandInvocation is a command on one node.
type CommandInvocation struct {
	CommandId              string
	InstanceId             string
	InstanceName           string
	Comment                string
	DocumentName           string
	DocumentVersion        string
	RequestedDateTime      Time
	Status                 string
	StatusDetails          string
	TraceOutput            string `json:",omitempty"` // at most 2,500 characters
	StandardOutputUrl      string
	StandardErrorUrl       string
	CommandPlugins         []CommandPlugin
	ServiceRole            string
	CloudWatchOutputConfig *CloudWatchOutputConfig `json:",omitempty"`
}

// CommandPlugin is one step of an invocation; Name is the step's name.
type CommandPlugin struct {
	Name                   string
	Status                 string
	StatusDetails          string
	ResponseCode           int
	ResponseStartDateTime  *Time  `json:",omitempty"`
	ResponseFinishDateTime *Time  `json:",omitempty"`
	Output                 string `json:",omitempty"` // at most 2,500 characters
	StandardOutputUrl      string
	StandardErrorUrl       string
	OutputS3Region         string `json:",omitempty"`
	OutputS3BucketName     string
	OutputS3KeyPrefix      string
}

// GetCommandInvocationInput asks for one step on one node; PluginName is the
// step's name, needed when the document has several.
type GetCommandInvocationInput struct {
	CommandId  string `check:"required,min=36,max=36"`
	InstanceId string `check:"required,re=instanceId"`
	PluginName string `json:",omitempty" check:"min=4"`
}

// GetCommandInvocationOutput is that step. The three times are texts: ISO
// 8601, "" while the step has not begun.
type GetCommandInvocationOutput struct {
	CommandId              string
	InstanceId             string
	Comment                string
	DocumentName           string
	DocumentVersion        string
	PluginName             string
	ResponseCode           int // -1: not started or not received
	ExecutionStartDateTime string
	ExecutionElapsedTime   string
	ExecutionEndDateTime   string
	Status                 string
	StatusDetails          string
	StandardOutputContent  string // at most 24,000 characters
	StandardOutputUrl      string
	StandardErrorContent   string // at most 8,000 characters
	StandardErrorUrl       string
	CloudWatchOutputConfig *CloudWatchOutputConfig `json:",omitempty"`
}
