// Package job keeps the documents a node has promised to run: a directory per
// job that is on disk before the job is acknowledged, a queue that runs a few
// at a time in worker processes, finds those again after a restart of the
// agent, and reports every result once.
package job

import (
	"errors"
	"fmt"
	"time"

	"ssmagent/internal/wire/doc"
)

// Version of the job directory's layout. A directory of a later version is
// left alone by an earlier agent.
const Version = 1

// Channels that deliver jobs, as the health ping names them.
const (
	ChannelMGS = "ssmmessages"
	ChannelMDS = "ec2messages"
)

// Node is what a worker tells the scripts about the machine they run on.
type Node struct {
	InstanceID      string
	Region          string
	PlatformType    string // "linux" or "windows": what preconditions compare
	PlatformName    string
	PlatformVersion string
	DefaultWorkDir  string `json:",omitempty"`
	// AsInvoker: everything runs as the user who started the agent (-root).
	AsInvoker bool `json:",omitempty"`
	// LocalOutputCleanup is Ssm.PluginLocalOutputCleanup: "after-execution",
	// "after-upload", else the files of steps stay.
	LocalOutputCleanup string `json:",omitempty"`
	// SharedFile is where the node's credentials are shared, in the profile
	// SharedProfile; empty: nowhere.
	SharedFile    string `json:",omitempty"`
	SharedProfile string `json:",omitempty"`
	// Packages is where packages lie.
	Packages Packages `json:",omitzero"`
	// Plugins is where programs of AWS lie that steps call; empty: there are none.
	Plugins string `json:",omitempty"`
	// Services is where steps find the services of AWS.
	Services Services `json:",omitzero"`
}

// Packages are the directories of packages on the node.
type Packages struct {
	Dir       string `json:",omitempty"` // content and state
	Locks     string `json:",omitempty"`
	Manifests string `json:",omitempty"`
}

// Services is how a worker reaches the services of AWS. There is nothing
// secret in it: credentials come from the agent, when a step needs them.
type Services struct {
	SSM       string `json:",omitempty"` // URL of Systems Manager
	SSMRegion string `json:",omitempty"` // region in signatures for it
	S3        string `json:",omitempty"` // URL in place of S3's hosts; empty: none
	Buckets   string `json:",omitempty"` // URL of S3 for output; {region} is the bucket's
	Logs      string `json:",omitempty"` // URL of CloudWatch Logs
	CABundle  string `json:",omitempty"` // file of certificates to trust as well
	UserAgent string `json:",omitempty"`
}

// Request is a job as it lies in request.json: all that a worker needs.
type Request struct {
	Version      int
	ID           string // the command's id, name of the directory
	JobID        string
	Channel      string // the one that delivered it and gets the replies
	Created      time.Time
	Accepted     time.Time
	DocumentName string `json:",omitempty"`
	Steps        []doc.Step
	// Dir is the orchestration directory (absolute); the worker makes it.
	Dir         string
	S3Bucket    string `json:",omitempty"`
	S3KeyPrefix string `json:",omitempty"`
	// LogGroup is the log group of CloudWatch Logs that output goes to while
	// steps run; empty: none.
	LogGroup string `json:",omitempty"`
	Node     Node
}

// Sentinels of Submit.
var (
	ErrDuplicate = errors.New("the command is known already")
	ErrFull      = errors.New("too many commands are waiting")
	ErrClosed    = errors.New("the agent is stopping")
	// ErrInvalid: delivering it again cannot help.
	ErrInvalid = errors.New("the command cannot be run")
)

// errTorn marks a request that was never acknowledged: its write did not end.
var errTorn = errors.New("the request is not whole")

// validID says whether id may name a directory: it comes from the network.
func validID(id string) bool {
	if id == "" || len(id) > 128 || id[0] == '.' || id[0] == '-' {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

func (r Request) validate() error {
	switch {
	case !validID(r.ID):
		return fmt.Errorf("%w: its id %.140q is not made of letters, digits, dots, dashes and underscores", ErrInvalid, r.ID)
	case len(r.Steps) == 0:
		return fmt.Errorf("%w: it has no steps", ErrInvalid)
	case r.Dir == "":
		return fmt.Errorf("%w: it has no orchestration directory", ErrInvalid)
	}
	seen := map[string]bool{}
	for _, s := range r.Steps {
		if s.ID == "" || seen[s.ID] {
			return fmt.Errorf("%w: the step name %q is empty or there twice; rename the step", ErrInvalid, s.ID)
		}
		seen[s.ID] = true
	}
	return nil
}

// Variables is what every process that a document starts has in its
// environment; what is not known is left out.
func (n Node) Variables() []string {
	var env []string
	profile := n.SharedProfile
	if n.SharedFile == "" {
		profile = ""
	}
	for _, v := range [][2]string{
		{"AWS_SSM_INSTANCE_ID", n.InstanceID}, {"AWS_SSM_REGION_NAME", n.Region},
		{"AWS_SSM_PLATFORM_NAME", n.PlatformName}, {"AWS_SSM_PLATFORM_VERSION", n.PlatformVersion},
		{"AWS_SHARED_CREDENTIALS_FILE", n.SharedFile}, {"AWS_PROFILE", profile},
	} {
		if v[1] != "" {
			env = append(env, v[0]+"="+v[1])
		}
	}
	return env
}
