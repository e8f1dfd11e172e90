package ssm

import "ssmagent/internal/secret"

// Types of parameters.
const (
	TypeString       = "String"
	TypeStringList   = "StringList"
	TypeSecureString = "SecureString"
)

// PutParameterInput makes a parameter or, with Overwrite, its next version.
// What is absent then stays as it was.
type PutParameterInput struct {
	Name           string  `check:"required,min=1,max=2048"`
	Value          string  `check:"required,min=1"`
	Type           string  `json:",omitempty" check:"enum=String|StringList|SecureString"`
	KeyId          string  `json:",omitempty" check:"min=1,max=256"`
	Overwrite      bool    `json:",omitempty"`
	Description    *string `json:",omitempty" check:"max=1024"`
	AllowedPattern *string `json:",omitempty" check:"max=1024"`
	Tier           string  `json:",omitempty" check:"enum=Standard|Advanced|Intelligent-Tiering"`
	Policies       string  `json:",omitempty" check:"max=4096"`
	DataType       string  `json:",omitempty" check:"max=128"`
	Tags           []Tag   `json:",omitempty" check:"max=1000"`
}

// PutParameterOutput tells the new version.
type PutParameterOutput struct {
	Version int64
	Tier    string
}

// GetParameterInput asks for a parameter: by its name or ARN, which :version
// or :label may follow.
type GetParameterInput struct {
	Name           string `check:"required,min=1,max=2048"`
	WithDecryption bool   `json:",omitempty"`
}

// GetParameterOutput is that parameter.
type GetParameterOutput struct{ Parameter Parameter }

// Parameter is a version of a parameter with its value. Without decryption
// the value of a SecureString is its ciphertext in base64.
type Parameter struct {
	Name             string
	Type             string
	Value            secret.Text
	Version          int64  `json:",omitempty"`
	Selector         string `json:",omitempty"` // ":4", ":label", when it was asked for with one
	SourceResult     string `json:",omitempty"`
	LastModifiedDate *Time  `json:",omitempty"`
	ARN              string `json:",omitempty"`
	DataType         string `json:",omitempty"`
}

// GetParametersInput asks for parameters by name, as GetParameterInput.
type GetParametersInput struct {
	Names          []string `check:"required,min=1,max=10"`
	WithDecryption bool     `json:",omitempty"`
}

// GetParametersOutput has what was found, and the names that were not.
type GetParametersOutput struct {
	Parameters        []Parameter
	InvalidParameters []string
}

// GetParametersByPathInput lists a level of a hierarchy, or all below it.
type GetParametersByPathInput struct {
	Path             string            `check:"required,min=1,max=2048"`
	Recursive        bool              `json:",omitempty"`
	ParameterFilters []ParameterFilter `json:",omitempty"`
	WithDecryption   bool              `json:",omitempty"`
	MaxResults       int               `json:",omitempty" check:"min=1,max=10"`
	NextToken        string            `json:",omitempty"`
}

// GetParametersByPathOutput is a page of parameters.
type GetParametersByPathOutput struct {
	Parameters []Parameter
	NextToken  string `json:",omitempty"`
}

// ParameterFilter is one condition on parameters; its values are alternatives.
type ParameterFilter struct {
	Key    string   `check:"required,min=1,max=132"`
	Option string   `json:",omitempty" check:"min=1,max=10"`
	Values []string `json:",omitempty" check:"min=1,max=50"`
}

// OldParameterFilter is the older form.
type OldParameterFilter struct {
	Key    string   `check:"required,enum=Name|Type|KeyId"`
	Values []string `check:"required,min=1,max=50"`
}

// DescribeParametersInput lists parameters without values, by new or old
// filters, not both. There are no Shared ones of other accounts here.
type DescribeParametersInput struct {
	Filters          []OldParameterFilter `json:",omitempty"`
	ParameterFilters []ParameterFilter    `json:",omitempty"`
	MaxResults       int                  `json:",omitempty" check:"min=1,max=50"`
	NextToken        string               `json:",omitempty"`
	Shared           bool                 `json:",omitempty"`
}

// DescribeParametersOutput is a page of parameters.
type DescribeParametersOutput struct {
	Parameters []ParameterMetadata
	NextToken  string `json:",omitempty"`
}

// ParameterMetadata is a version of a parameter without its value.
type ParameterMetadata struct {
	Name             string
	ARN              string `json:",omitempty"`
	Type             string
	KeyId            string `json:",omitempty"`
	LastModifiedDate Time
	LastModifiedUser string
	Description      string `json:",omitempty"`
	AllowedPattern   string `json:",omitempty"`
	Version          int64
	Tier             string
	Policies         []Empty
	DataType         string
}

// GetParameterHistoryInput lists the versions of a parameter.
type GetParameterHistoryInput struct {
	Name           string `check:"required,min=1,max=2048"`
	WithDecryption bool   `json:",omitempty"`
	MaxResults     int    `json:",omitempty" check:"min=1,max=50"`
	NextToken      string `json:",omitempty"`
}

// GetParameterHistoryOutput is a page of versions.
type GetParameterHistoryOutput struct {
	Parameters []ParameterHistory
	NextToken  string `json:",omitempty"`
}

// ParameterHistory is a version of a parameter.
type ParameterHistory struct {
	ParameterMetadata
	Value  string
	Labels []string
}

// LabelParameterVersionInput attaches labels to a version, the latest when
// ParameterVersion is absent.
type LabelParameterVersionInput struct {
	Name             string   `check:"required,min=1,max=2048"`
	ParameterVersion int64    `json:",omitempty" check:"min=1"`
	Labels           []string `check:"required,min=1,max=10"`
}

// LabelParameterVersionOutput has the labels that cannot be.
type LabelParameterVersionOutput struct {
	InvalidLabels    []string
	ParameterVersion int64
}

// UnlabelParameterVersionInput takes labels off a version.
type UnlabelParameterVersionInput struct {
	Name             string   `check:"required,min=1,max=2048"`
	ParameterVersion int64    `check:"required,min=1"`
	Labels           []string `check:"required,min=1,max=10"`
}

// UnlabelParameterVersionOutput has those that were there and those that were not.
type UnlabelParameterVersionOutput struct{ RemovedLabels, InvalidLabels []string }

// DeleteParameterInput deletes a parameter with all its versions.
type DeleteParameterInput struct {
	Name string `check:"required,min=1,max=2048"`
}

// DeleteParametersInput deletes several.
type DeleteParametersInput struct {
	Names []string `check:"required,min=1,max=10"`
}

// DeleteParametersOutput has those that were there and those that were not.
type DeleteParametersOutput struct{ DeletedParameters, InvalidParameters []string }
