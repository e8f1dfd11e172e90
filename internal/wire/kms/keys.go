package kms

import "ssmagent/internal/wire/ssm"

// Tag is a key and a value on a key; this service names them unlike others.
type Tag struct {
	TagKey   string
	TagValue string
}

// CreateKeyInput makes a key.
type CreateKeyInput struct {
	Description                    string `json:",omitempty" check:"max=8192"`
	KeyUsage                       string `json:",omitempty"`
	KeySpec                        string `json:",omitempty"`
	CustomerMasterKeySpec          string `json:",omitempty"`
	Origin                         string `json:",omitempty"`
	Policy                         string `json:",omitempty" check:"max=131072"`
	MultiRegion                    bool   `json:",omitempty"`
	BypassPolicyLockoutSafetyCheck bool   `json:",omitempty"`
	Tags                           []Tag  `json:",omitempty" check:"max=50"`
}

// CreateKeyOutput is the key made.
type CreateKeyOutput struct{ KeyMetadata KeyMetadata }

// DescribeKeyInput asks for a key.
type DescribeKeyInput struct {
	KeyId       string   `check:"required,min=1,max=2048"`
	GrantTokens []string `json:",omitempty" check:"max=10"`
}

// DescribeKeyOutput is the key.
type DescribeKeyOutput struct{ KeyMetadata KeyMetadata }

// ListKeysInput asks for a page of keys.
type ListKeysInput struct {
	Limit  int    `json:",omitempty" check:"min=1,max=1000"`
	Marker string `json:",omitempty" check:"min=1,max=1024"`
}

// KeyListEntry is a key in a list.
type KeyListEntry struct {
	KeyId  string
	KeyArn string
}

// ListKeysOutput is a page; NextMarker is there when it is Truncated.
type ListKeysOutput struct {
	Keys       []KeyListEntry
	NextMarker string `json:",omitempty"`
	Truncated  bool
}

// CreateAliasInput gives a key a name, which begins with "alias/".
type CreateAliasInput struct {
	AliasName   string `check:"required,min=1,max=256"`
	TargetKeyId string `check:"required,min=1,max=2048"`
}

// UpdateAliasInput gives a name to another key.
type UpdateAliasInput struct {
	AliasName   string `check:"required,min=1,max=256"`
	TargetKeyId string `check:"required,min=1,max=2048"`
}

// DeleteAliasInput takes a name away.
type DeleteAliasInput struct {
	AliasName string `check:"required,min=1,max=256"`
}

// ListAliasesInput asks for a page of aliases, of one key perhaps.
type ListAliasesInput struct {
	KeyId  string `json:",omitempty" check:"min=1,max=2048"`
	Limit  int    `json:",omitempty" check:"min=1,max=100"`
	Marker string `json:",omitempty" check:"min=1,max=1024"`
}

// AliasListEntry is an alias in a list.
type AliasListEntry struct {
	AliasName       string
	AliasArn        string
	TargetKeyId     string
	CreationDate    ssm.Time
	LastUpdatedDate ssm.Time
}

// ListAliasesOutput is a page; NextMarker is there when it is Truncated.
type ListAliasesOutput struct {
	Aliases    []AliasListEntry
	NextMarker string `json:",omitempty"`
	Truncated  bool
}

// KeyInput names the key to enable or to disable, or not to delete. This takes
// ids and ARNs only, no aliases.
type KeyInput struct {
	KeyId string `check:"required,min=1,max=2048"`
}

// ScheduleKeyDeletionInput has a key deleted in days, 30 when none are given.
type ScheduleKeyDeletionInput struct {
	KeyId               string `check:"required,min=1,max=2048"`
	PendingWindowInDays *int   `json:",omitempty" check:"min=7,max=30"`
}

// ScheduleKeyDeletionOutput says when.
type ScheduleKeyDeletionOutput struct {
	KeyId               string
	DeletionDate        ssm.Time
	KeyState            string
	PendingWindowInDays int
}

// CancelKeyDeletionOutput names the key that stays, as its ARN.
type CancelKeyDeletionOutput struct{ KeyId string }

// ListResourceTagsInput asks for a page of a key's tags.
type ListResourceTagsInput struct {
	KeyId  string `check:"required,min=1,max=2048"`
	Limit  int    `json:",omitempty" check:"min=1,max=50"`
	Marker string `json:",omitempty" check:"min=1,max=1024"`
}

// ListResourceTagsOutput is a page; NextMarker is there when it is Truncated.
type ListResourceTagsOutput struct {
	Tags       []Tag
	NextMarker string `json:",omitempty"`
	Truncated  bool
}

// PutKeyPolicyInput says who may use a key.
type PutKeyPolicyInput struct {
	KeyId                          string `check:"required,min=1,max=2048"`
	PolicyName                     string `json:",omitempty" check:"min=1,max=128"`
	Policy                         string `check:"required,min=1,max=131072"`
	BypassPolicyLockoutSafetyCheck bool   `json:",omitempty"`
}

// GetKeyPolicyInput asks who may use a key.
type GetKeyPolicyInput struct {
	KeyId      string `check:"required,min=1,max=2048"`
	PolicyName string `json:",omitempty" check:"min=1,max=128"`
}

// GetKeyPolicyOutput is the policy.
type GetKeyPolicyOutput struct {
	Policy     string
	PolicyName string
}

// ListKeyPoliciesInput asks for the names of a key's policies.
type ListKeyPoliciesInput struct {
	KeyId  string `check:"required,min=1,max=2048"`
	Limit  int    `json:",omitempty" check:"min=1,max=1000"`
	Marker string `json:",omitempty" check:"min=1,max=1024"`
}

// ListKeyPoliciesOutput is the one that there is.
type ListKeyPoliciesOutput struct {
	PolicyNames []string
	Truncated   bool
}
