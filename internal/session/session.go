// Package session keeps the sessions that the service has ordered: a directory
// per session that is on disk before its worker starts, so that a later agent
// finds the worker again, can end it, and reports its end once. What happens in
// a session is its worker's business.
package session

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"ssmagent/internal/link"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mgs"
	"ssmagent/users"
)

// Version of the session directory's layout. A directory of a later version is
// left alone by an earlier agent.
const Version = 1

// WorkerName is argv[0] of a session worker; its argument is the session's
// directory.
const WorkerName = "ssm-session-worker"

// CopyName is the first word of the command that is the node's end of a copy:
// it sends or receives a path.
const CopyName = "ssm-session-copy"

// Node is what a worker has to know of the node and its service.
type Node struct {
	InstanceID string
	Region     string // of signatures for the gateway
	Endpoint   string // of the gateway: http or https URL
	CABundle   string `json:",omitempty"` // file of certificates to trust besides the system's
	UserAgent  string
	Version    string // the agent's, four numbers
	// Platform is Linux, MacOS or Windows.
	Platform string `json:",omitempty"`
	// Container: commands of InteractiveCommands are run without a shell, as
	// stock agents do in their container mode.
	Container bool `json:",omitempty"`
	// Denied are addresses and prefixes that no named host of a port session
	// may have, beside those that are always denied.
	Denied []string `json:",omitempty"`
	// StockPayload is the size in bytes of the payloads of port sessions towards
	// stock clients; 0 is 1,024.
	StockPayload int `json:",omitempty"`
	Logging      Logging
	// AsInvoker: shells run as the user who started the agent (-root).
	AsInvoker bool `json:",omitempty"`
	Records   Records
	// KMS is for sessions that are encrypted.
	KMS KMS `json:",omitzero"`
	// Data is the agent's data directory, where is remembered what User was
	// made of, and User how the account of sessions is to be made.
	Data string     `json:",omitempty"`
	User users.Wish `json:",omitzero"`
	// LoginShells: sessions begin as under `su -`.
	LoginShells bool `json:",omitempty"`
}

// KMS is where a worker has data keys opened.
type KMS struct {
	Endpoint string // http or https URL
	Region   string // of signatures
	// Acknowledge refuses clients that do not bind their data key to the
	// node's challenge (Kms.RequireKMSChallengeResponse).
	Acknowledge bool `json:",omitempty"`
}

// Logging is where what sessions print goes when their documents ask for it.
type Logging struct {
	Dir       string        `json:",omitempty"` // of local copies, absolute
	Keep      bool          `json:",omitempty"` // one of every session stays (Ssm.SessionLogsDestination disk)
	Retention time.Duration `json:",omitempty"` // how long they stay
	Region    string        `json:",omitempty"` // of signatures for the two services
	S3        string        `json:",omitempty"` // URL; {region} is the bucket's
	Logs      string        `json:",omitempty"` // URL of CloudWatch Logs
}

// Request is a session as it lies in request.json. It holds no secrets.
type Request struct {
	Version  int
	ID       string // name of the directory
	Accepted time.Time
	Type     string // as mgs has them
	Document string `json:",omitempty"` // its name
	Owner    string `json:",omitempty"`
	RunAs    string `json:",omitempty"` // the account that the service names
	Inputs   mgs.SessionInputs
	// Properties are those of the document, with its parameters filled in: see
	// Command and Port.
	Properties json.RawMessage `json:",omitempty"`
	Node       Node
}

// Status is the outcome of a session, as FinalTaskStatus has it.
type Status string

// The outcomes.
const (
	Success Status = "Success"
	Failed  Status = "Failed"
)

// Result is how a session ended, as it lies in result.json.
type Result struct {
	Status Status
	Output string `json:",omitempty"` // the reason, for the session's person

	audited bool // its worker has put it on the audit log
	// Where its log is, or should be.
	S3Bucket  string `json:",omitempty"`
	S3Key     string `json:",omitempty"`
	LogGroup  string `json:",omitempty"`
	LogStream string `json:",omitempty"`
	// LogPending: the log is not there yet.
	LogPending bool `json:",omitempty"`
}

// Order is a line from the agent to a worker.
type Order struct {
	// Run starts the session; it is sent once the worker's process is on
	// record. A worker whose agent goes before that ends without a trace.
	Run bool `json:"run,omitempty"`
	// HandOn, with Run: the session is over, as its result says, and its log is
	// to be handed on, which the worker that served it did not live to do.
	HandOn      bool              `json:"handOn,omitempty"`
	Terminate   bool              `json:"terminate,omitempty"`
	Credentials *link.Credentials `json:"credentials,omitempty"`
	// Refused is why there are no credentials now.
	Refused string `json:"refused,omitempty"`
}

// Event is a line from a worker to the agent.
type Event struct {
	Credentials bool `json:"credentials,omitempty"` // the worker needs some
	Uploading   bool `json:"uploading,omitempty"`   // the session is over, its log is on its way
	End         bool `json:"end,omitempty"`         // the result is on disk
}

var (
	// errTorn marks a request whose write did not end.
	errTorn = errors.New("the request is not whole")
	// errRejected marks an order that is wrong in itself.
	errRejected = errors.New("the session cannot be started")
)

// request makes a Request of an order. The error wraps errRejected when the
// session is known and is to be told; its id is in the request then.
func (m *Manager) request(ctx context.Context, t mgs.AgentTask) (Request, error) {
	c, err := t.Session()
	if err != nil {
		var id struct{ SessionId string }
		if json.Unmarshal([]byte(t.Content), &id) == nil && mgs.ValidSessionID(id.SessionId) {
			return Request{ID: id.SessionId}, fmt.Errorf("%w: %w", errRejected, err)
		}
		return Request{}, err
	}
	r := Request{
		Version: Version, ID: c.SessionId, Accepted: m.opt.Clock.Now().UTC(), Type: c.DocumentContent.SessionType,
		Document: clip(c.DocumentName, 256), Owner: clip(c.SessionOwner, 512), RunAs: strings.TrimSpace(c.RunAsUser), Node: m.current(),
	}
	if err := r.resolve(ctx, c, m.opt.Store); err != nil {
		return r, fmt.Errorf("%w: %w", errRejected, err)
	}
	return r, nil
}

// resolve fills in the document, and refuses one that cannot be served.
func (r *Request) resolve(ctx context.Context, c mgs.AgentTaskContent, store doc.ParameterStore) error {
	values, err := parameters(ctx, c, store)
	if err != nil {
		return err
	}
	inputs, err := substitute(c.DocumentContent.Inputs, values)
	if err == nil && len(inputs) > 0 {
		err = json.Unmarshal(inputs, &r.Inputs)
	}
	if err == nil {
		err = possible(*r)
	}
	if err != nil {
		return fmt.Errorf("inputs of the session document: %w", err)
	}
	if r.Properties, err = substitute(c.DocumentContent.Properties, values); err != nil {
		return fmt.Errorf("properties of the session document: %w", err)
	}
	return r.checkProperties()
}

// maxProfile bounds the shell profile in bytes.
const maxProfile = 64 << 10

// maxKeyID bounds kmsKeyId in bytes, as KMS does.
const maxKeyID = 2048

// maxKeyPrefix leaves room for the session's id in an object's key.
const maxKeyPrefix = 800

// possible refuses what would otherwise silently not be done.
func possible(r Request) error {
	in := r.Inputs
	switch {
	case bool(in.RunAsEnabled) && r.RunAsName() != "" && !users.ValidName(r.RunAsName()):
		return fmt.Errorf("the account %.64q of runAsDefaultUser, or of the tag SSMSessionRunAs of who started the session, is no name that an account can have", r.RunAsName())
	case len(in.KMSKeyId) > maxKeyID:
		return fmt.Errorf("kmsKeyId is longer than %d bytes; it must be the id, the ARN or the alias of a KMS key", maxKeyID)
	case len(in.S3KeyPrefix) > maxKeyPrefix:
		return fmt.Errorf("s3KeyPrefix is longer than %d bytes", maxKeyPrefix)
	case len(in.ShellProfile.Linux) > maxProfile || len(in.ShellProfile.Windows) > maxProfile:
		return fmt.Errorf("shellProfile is longer than %d bytes; have it run a script instead", maxProfile)
	}
	return checkOwn(in.SSMAgent)
}

// RunAsName is the account that a session with runAsEnabled gets: the service's
// word wins over the document's. Empty: neither names one.
func (r Request) RunAsName() string {
	return cmp.Or(r.RunAs, strings.TrimSpace(r.Inputs.RunAsDefaultUser))
}

func (r Request) validate() error {
	if !mgs.ValidSessionID(r.ID) || r.Node.InstanceID == "" || r.Node.Endpoint == "" {
		return errTorn
	}
	return nil
}

// logged says whether what the session prints is to be handed on.
func (r Request) logged() bool {
	return r.Type != mgs.SessionPort && (r.Inputs.S3BucketName != "" || r.Inputs.CloudWatchLogGroupName != "")
}

func clip(s string, n int) string { return s[:min(len(s), n)] }
