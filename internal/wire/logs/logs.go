// Package logs is the part of CloudWatch Logs that agents and operators of
// this project use: plain data for both ends. The tags named check are the
// model's constraints, which the control plane applies.
package logs

// TargetPrefix begins the X-Amz-Target of every call.
const TargetPrefix = "Logs_20140328"

// The operations.
const (
	OpCreateLogGroup     = "CreateLogGroup"
	OpDescribeLogGroups  = "DescribeLogGroups"
	OpDeleteLogGroup     = "DeleteLogGroup"
	OpCreateLogStream    = "CreateLogStream"
	OpDescribeLogStreams = "DescribeLogStreams"
	OpDeleteLogStream    = "DeleteLogStream"
	OpPutLogEvents       = "PutLogEvents"
	OpGetLogEvents       = "GetLogEvents"
	OpFilterLogEvents    = "FilterLogEvents"
)

// Codes of refusals that callers branch on.
const (
	CodeExists        = "ResourceAlreadyExistsException"
	CodeNotFound      = "ResourceNotFoundException"
	CodeInvalid       = "InvalidParameterException"
	CodeThrottled     = "ThrottlingException"
	CodeAccepted      = "DataAlreadyAcceptedException"
	CodeSequenceToken = "InvalidSequenceTokenException"
)

// Limits of PutLogEvents.
const (
	MaxEvents     = 10_000
	MaxBatch      = 1 << 20 // bytes of messages, with EventOverhead for each
	EventOverhead = 26
)

// Empty is an answer without members.
type Empty struct{}

// CreateLogGroupInput makes a log group.
type CreateLogGroupInput struct {
	LogGroupName string            `json:"logGroupName" check:"required,re=logGroup"`
	KMSKeyID     string            `json:"kmsKeyId,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
	Class        string            `json:"logGroupClass,omitempty"`
}

// LogGroupInput names a log group.
type LogGroupInput struct {
	LogGroupName string `json:"logGroupName" check:"required,re=logGroup"`
}

// DescribeLogGroupsInput lists log groups by name.
type DescribeLogGroupsInput struct {
	Prefix    string `json:"logGroupNamePrefix,omitempty" check:"re=logGroup"`
	Pattern   string `json:"logGroupNamePattern,omitempty" check:"re=logGroup"`
	NextToken string `json:"nextToken,omitempty"`
	Limit     int    `json:"limit,omitempty" check:"min=1,max=50"`
}

// LogGroup is a log group. Times are milliseconds since 1970.
type LogGroup struct {
	LogGroupName string `json:"logGroupName"`
	CreationTime int64  `json:"creationTime"`
	MetricFilter int    `json:"metricFilterCount"`
	ARN          string `json:"arn"`         // ends in :*
	LogGroupARN  string `json:"logGroupArn"` // does not
	StoredBytes  int64  `json:"storedBytes"`
	Class        string `json:"logGroupClass"`
	KMSKeyID     string `json:"kmsKeyId,omitempty"`
}

// DescribeLogGroupsOutput is a page of log groups.
type DescribeLogGroupsOutput struct {
	LogGroups []LogGroup `json:"logGroups"`
	NextToken string     `json:"nextToken,omitempty"`
}

// LogStreamInput names a log stream.
type LogStreamInput struct {
	LogGroupName  string `json:"logGroupName" check:"required,re=logGroup"`
	LogStreamName string `json:"logStreamName" check:"required,re=logStream"`
}

// DescribeLogStreamsInput lists a group's streams, by name when OrderBy is "".
type DescribeLogStreamsInput struct {
	LogGroupName string `json:"logGroupName" check:"required,re=logGroup"`
	Prefix       string `json:"logStreamNamePrefix,omitempty" check:"re=logStream"`
	OrderBy      string `json:"orderBy,omitempty" check:"enum=LogStreamName|LastEventTime"`
	Descending   bool   `json:"descending,omitempty"`
	NextToken    string `json:"nextToken,omitempty"`
	Limit        int    `json:"limit,omitempty" check:"min=1,max=50"`
}

// LogStream is a log stream. The times but the first are absent before its
// first event.
type LogStream struct {
	LogStreamName       string `json:"logStreamName"`
	CreationTime        int64  `json:"creationTime"`
	FirstEventTimestamp int64  `json:"firstEventTimestamp,omitempty"`
	LastEventTimestamp  int64  `json:"lastEventTimestamp,omitempty"`
	LastIngestionTime   int64  `json:"lastIngestionTime,omitempty"`
	UploadSequenceToken string `json:"uploadSequenceToken,omitempty"`
	ARN                 string `json:"arn"`
	StoredBytes         int64  `json:"storedBytes"`
}

// DescribeLogStreamsOutput is a page of log streams.
type DescribeLogStreamsOutput struct {
	LogStreams []LogStream `json:"logStreams"`
	NextToken  string      `json:"nextToken,omitempty"`
}

// InputEvent is an event to store.
type InputEvent struct {
	Timestamp int64  `json:"timestamp"`
	Message   string `json:"message" check:"required,min=1"`
}

// PutLogEventsInput stores events, the oldest first. SequenceToken has no
// meaning any more and is taken as it comes.
type PutLogEventsInput struct {
	LogGroupName  string       `json:"logGroupName" check:"required,re=logGroup"`
	LogStreamName string       `json:"logStreamName" check:"required,re=logStream"`
	LogEvents     []InputEvent `json:"logEvents" check:"required,min=1,max=10000"`
	SequenceToken string       `json:"sequenceToken,omitempty"`
}

// RejectedEvents says which events were not stored: those before
// TooOldEnd and those from TooNewStart on.
type RejectedEvents struct {
	TooNewStart *int `json:"tooNewLogEventStartIndex,omitempty"`
	TooOldEnd   *int `json:"tooOldLogEventEndIndex,omitempty"`
}

// PutLogEventsOutput is the answer to it.
type PutLogEventsOutput struct {
	NextSequenceToken string          `json:"nextSequenceToken,omitempty"`
	Rejected          *RejectedEvents `json:"rejectedLogEventsInfo,omitempty"`
}

// GetLogEventsInput reads one stream: StartTime is included, EndTime is not.
type GetLogEventsInput struct {
	LogGroupName  string `json:"logGroupName" check:"required,re=logGroup"`
	LogStreamName string `json:"logStreamName" check:"required,re=logStream"`
	StartTime     int64  `json:"startTime,omitempty" check:"min=0"`
	EndTime       int64  `json:"endTime,omitempty" check:"min=0"`
	NextToken     string `json:"nextToken,omitempty"`
	Limit         int    `json:"limit,omitempty" check:"min=1,max=10000"`
	StartFromHead bool   `json:"startFromHead,omitempty"`
	Unmask        bool   `json:"unmask,omitempty"`
}

// OutputEvent is an event of a stream.
type OutputEvent struct {
	Timestamp     int64  `json:"timestamp"`
	Message       string `json:"message"`
	IngestionTime int64  `json:"ingestionTime"`
}

// GetLogEventsOutput is a page of events, the oldest first. A token that is
// the one asked with says that there is nothing more in its direction.
type GetLogEventsOutput struct {
	Events            []OutputEvent `json:"events"`
	NextForwardToken  string        `json:"nextForwardToken"`
	NextBackwardToken string        `json:"nextBackwardToken"`
}

// FilterLogEventsInput reads the streams of a group together.
type FilterLogEventsInput struct {
	LogGroupName  string   `json:"logGroupName" check:"required,re=logGroup"`
	StreamNames   []string `json:"logStreamNames,omitempty" check:"min=1,max=100"`
	StreamPrefix  string   `json:"logStreamNamePrefix,omitempty" check:"re=logStream"`
	StartTime     int64    `json:"startTime,omitempty" check:"min=0"`
	EndTime       int64    `json:"endTime,omitempty" check:"min=0"`
	FilterPattern string   `json:"filterPattern,omitempty" check:"max=1024"`
	NextToken     string   `json:"nextToken,omitempty"`
	Limit         int      `json:"limit,omitempty" check:"min=1,max=10000"`
	Interleaved   bool     `json:"interleaved,omitempty"`
	Unmask        bool     `json:"unmask,omitempty"`
}

// FilteredEvent is an event with its stream.
type FilteredEvent struct {
	LogStreamName string `json:"logStreamName"`
	Timestamp     int64  `json:"timestamp"`
	Message       string `json:"message"`
	IngestionTime int64  `json:"ingestionTime"`
	EventID       string `json:"eventId"`
}

// FilterLogEventsOutput is a page of events in the order of their times.
type FilterLogEventsOutput struct {
	Events    []FilteredEvent `json:"events"`
	NextToken string          `json:"nextToken,omitempty"`
}
