// Package ssm holds the JSON 1.1 shapes of the Systems Manager API
// (AmazonSSM, 2014-11-06) that agent, operators and our control plane speak.
// Field names are the wire's. Plain data for both ends.
package ssm

import "ssmagent/internal/secret"

// TargetPrefix precedes the operation in X-Amz-Target.
const TargetPrefix = "AmazonSSM"

// ContentType of requests and answers.
const ContentType = "application/x-amz-json-1.1"

// Tag is a key and a value on a resource.
type Tag struct {
	Key   string
	Value string
}

// RegisterManagedInstanceInput registers a node. With an activation the call
// is anonymous; with IamRole and Tags it is signed.
type RegisterManagedInstanceInput struct {
	ActivationCode secret.Text `json:",omitempty"`
	ActivationId   string      `json:",omitempty"`
	Fingerprint    string
	IamRole        string `json:",omitempty"`
	PublicKey      string // base64 of PKIX DER, 392 characters for RSA 2048
	PublicKeyType  string // "Rsa"
	Tags           []Tag  `json:",omitempty"`
}

// RegisterManagedInstanceOutput names the new node, mi- and 17 hex digits.
type RegisterManagedInstanceOutput struct{ InstanceId string }

// RequestManagedInstanceRoleTokenInput asks for credentials. Fingerprint is
// the UUID given at registration, on EC2 the instance id.
type RequestManagedInstanceRoleTokenInput struct{ Fingerprint string }

// RequestManagedInstanceRoleTokenOutput has five members, all of which a stock
// agent dereferences.
type RequestManagedInstanceRoleTokenOutput struct {
	AccessKeyId         string
	SecretAccessKey     secret.Text
	SessionToken        secret.Text
	TokenExpirationDate Time
	UpdateKeyPair       bool
}

// UpdateManagedInstancePublicKeyInput replaces the key that signs token calls;
// the node is named by the signature's Credential.
type UpdateManagedInstancePublicKeyInput struct {
	NewPublicKey     string
	NewPublicKeyType string
}

// UpdateInstanceInformationInput is the health ping. The empty ping has only
// AgentName, AgentVersion, InstanceId and PlatformType.
type UpdateInstanceInformationInput struct {
	AgentName            string
	AgentStatus          string `json:",omitempty"`
	AgentVersion         string
	AvailabilityZone     *string `json:",omitempty"`
	AvailabilityZoneId   *string `json:",omitempty"`
	ComputerName         string  `json:",omitempty"`
	IPAddress            string  `json:",omitempty"`
	InstanceId           string
	PlatformName         string  `json:",omitempty"`
	PlatformType         string  `json:",omitempty"`
	PlatformVersion      string  `json:",omitempty"`
	SSMConnectionChannel *string `json:",omitempty"`
}

// ListInstanceAssociationsInput asks for a node's associations.
type ListInstanceAssociationsInput struct {
	InstanceId string
	MaxResults int    `json:",omitempty"`
	NextToken  string `json:",omitempty"`
}

// Empty is the answer of operations without one.
type Empty struct{}

// Error is the body of every refusal: the code, after an optional namespace
// and '#', and a sentence.
type Error struct {
	Type    string `json:"__type"`
	Message string `json:"message"`
}
