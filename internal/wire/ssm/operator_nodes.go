package ssm

import "ssmagent/internal/secret"

// The tag `check` of the operators' shapes states the model's constraints:
// required, min and max (of a number, of a text's characters, of a list's
// length), enum=A|B and re=<name of a pattern>. The control plane enforces
// them; clients may ignore them.

// CreateActivationInput asks for an activation that admits nodes.
type CreateActivationInput struct {
	IamRole              string              `check:"required,min=1,max=64"`
	Description          string              `json:",omitempty" check:"max=256"`
	DefaultInstanceName  string              `json:",omitempty" check:"max=256,re=label"`
	RegistrationLimit    int                 `json:",omitempty" check:"min=1,max=1000"` // 1 when absent
	ExpirationDate       *Time               `json:",omitempty"`                        // a day from now when absent, 30 at most
	Tags                 []Tag               `json:",omitempty" check:"max=1000"`
	RegistrationMetadata []RegistrationDatum `json:",omitempty"`
}

// RegistrationDatum is an item of RegistrationMetadata, of the service's own
// consoles; accepted, kept nowhere.
type RegistrationDatum struct {
	Key   string `check:"required,min=1,max=128"`
	Value string `check:"required,min=1,max=2048"`
}

// CreateActivationOutput is the only time that the code is shown.
type CreateActivationOutput struct {
	ActivationId   string
	ActivationCode secret.Text
}

// DescribeActivationsInput lists activations.
type DescribeActivationsInput struct {
	Filters    []ActivationFilter `json:",omitempty"`
	MaxResults int                `json:",omitempty" check:"min=1,max=50"`
	NextToken  string             `json:",omitempty"`
}

// ActivationFilter is one condition; its values are alternatives.
type ActivationFilter struct {
	FilterKey    string   `check:"required"` // ActivationIds, DefaultInstanceName, IamRole
	FilterValues []string `json:",omitempty"`
}

// DescribeActivationsOutput is a page of activations.
type DescribeActivationsOutput struct {
	ActivationList []Activation
	NextToken      string `json:",omitempty"`
}

// Activation is an activation as operators see it.
type Activation struct {
	ActivationId        string
	Description         string `json:",omitempty"`
	DefaultInstanceName string `json:",omitempty"`
	IamRole             string
	RegistrationLimit   int
	RegistrationsCount  int
	ExpirationDate      Time
	Expired             bool
	CreatedDate         Time
	Tags                []Tag
}

// DeleteActivationInput names the activation; nodes it admitted stay.
type DeleteActivationInput struct {
	ActivationId string `check:"required,re=uuid"`
}

// DescribeInstanceInformationInput lists nodes by new or old filters, not both.
type DescribeInstanceInformationInput struct {
	Filters                       []InstanceFilter    `json:",omitempty"`
	InstanceInformationFilterList []OldInstanceFilter `json:",omitempty"`
	MaxResults                    int                 `json:",omitempty" check:"min=5,max=50"`
	NextToken                     string              `json:",omitempty"`
}

// InstanceFilter is one condition on nodes; its values are alternatives.
type InstanceFilter struct {
	Key    string   `check:"required,min=1"`
	Values []string `check:"required,min=1,max=100"`
}

// OldInstanceFilter is the older form; its members are lower case.
type OldInstanceFilter struct {
	Key      string   `json:"key" check:"required,min=1"`
	ValueSet []string `json:"valueSet" check:"required,min=1,max=100"`
}

// DescribeInstanceInformationOutput is a page of nodes.
type DescribeInstanceInformationOutput struct {
	InstanceInformationList []InstanceInformation
	NextToken               string `json:",omitempty"`
}

// InstanceInformation is a node as operators see it.
type InstanceInformation struct {
	InstanceId       string
	PingStatus       string // Online, ConnectionLost
	LastPingDateTime *Time  `json:",omitempty"`
	AgentVersion     string `json:",omitempty"`
	IsLatestVersion  *bool  `json:",omitempty"`
	PlatformType     string `json:",omitempty"`
	PlatformName     string `json:",omitempty"`
	PlatformVersion  string `json:",omitempty"`
	ActivationId     string `json:",omitempty"`
	IamRole          string `json:",omitempty"`
	RegistrationDate *Time  `json:",omitempty"`
	ResourceType     string // ManagedInstance, EC2Instance
	Name             string `json:",omitempty"`
	IPAddress        string `json:",omitempty"`
	ComputerName     string `json:",omitempty"`
	SourceId         string `json:",omitempty"`
	SourceType       string `json:",omitempty"`
	// CloneWarning is a member of our own, which stock clients pass over: why
	// two machines seem to be this node.
	CloneWarning string `json:",omitempty"`
}

// DeregisterManagedInstanceInput names the node to forget.
type DeregisterManagedInstanceInput struct {
	InstanceId string `check:"required,re=managedId"`
}

// UpdateManagedInstanceRoleInput gives a node another role name.
type UpdateManagedInstanceRoleInput struct {
	InstanceId string `check:"required,re=managedId"`
	IamRole    string `check:"required,min=1,max=64"`
}

// RequestKeyRotationInput names a node that is to replace its key. The call is
// our own: AWS decides by itself when a node does.
type RequestKeyRotationInput struct {
	InstanceId string `check:"required,re=managedId"`
}

// AddTagsToResourceInput sets tags; equal keys are overwritten.
type AddTagsToResourceInput struct {
	ResourceType string `check:"required"`
	ResourceId   string `check:"required,min=1"`
	Tags         []Tag  `check:"required,max=1000"`
}

// RemoveTagsFromResourceInput removes tags by key.
type RemoveTagsFromResourceInput struct {
	ResourceType string   `check:"required"`
	ResourceId   string   `check:"required,min=1"`
	TagKeys      []string `check:"required,max=1000"`
}

// ListTagsForResourceInput asks for a resource's tags.
type ListTagsForResourceInput struct {
	ResourceType string `check:"required"`
	ResourceId   string `check:"required,min=1"`
}

// ListTagsForResourceOutput has the tags in the order of their keys.
type ListTagsForResourceOutput struct{ TagList []Tag }
