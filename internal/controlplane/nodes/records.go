// Package nodes is the control plane's register: activations, managed nodes,
// their tags, health and keys.
package nodes

import (
	"time"

	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

// Node is a managed node.
type Node struct {
	ID            string // mi- and 17 hex digits; i-… of EC2
	ActivationID  string
	Name          string // DefaultInstanceName of the activation
	IAMRole       string
	Tags          []ssm.Tag
	Registered    time.Time
	PublicKey     string // base64 PKIX DER
	PublicKeyType string
	Fingerprint   string
	SourceIP      string
	LastPing      time.Time                          // zero before the first
	Info          ssm.UpdateInstanceInformationInput // the last full ping, merged
	RotateKey     bool                               // answer UpdateKeyPair true
	Clone         *CloneSign                         // nil: none was seen
}

// CloneSign says why two machines seem to be the same node.
type CloneSign struct {
	Seen time.Time // the last time
	What string
}

// Activation admits nodes.
type Activation struct {
	ID          string
	CodeHash    string // hex SHA-256 of the code, which is shown only once
	IAMRole     string
	Description string
	DefaultName string
	Limit       int
	Count       int
	Created     time.Time
	Expires     time.Time
	Tags        []ssm.Tag
}

// Tables of this package.
var (
	Nodes       = store.Table[Node]{Name: "nodes"}             // by node id
	Activations = store.Table[Activation]{Name: "activations"} // by activation id
)

// Tag returns the value of a node's tag and whether it has it.
func (n Node) Tag(key string) (string, bool) {
	for _, t := range n.Tags {
		if t.Key == key {
			return t.Value, true
		}
	}
	return "", false
}
