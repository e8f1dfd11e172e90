package ssm

// CreateDocumentInput makes a document with its version 1.
type CreateDocumentInput struct {
	Content        string `check:"required,min=1"`
	Name           string `check:"required,re=documentName"`
	DocumentType   string `json:",omitempty"` // Command when absent
	DocumentFormat string `json:",omitempty" check:"enum=YAML|JSON|TEXT"`
	VersionName    string `json:",omitempty" check:"re=versionName"`
	DisplayName    string `json:",omitempty" check:"max=1024,re=displayName"`
	TargetType     string `json:",omitempty" check:"max=200,re=targetType"`
	Tags           []Tag  `json:",omitempty" check:"max=1000"`

	Attachments []AttachmentsSource `json:",omitempty" check:"max=20"`
}

// AttachmentsSource says where what is attached to a document lies. Key is
// SourceUrl (a folder in S3), S3FileUrl (an object) or AttachmentReference
// (document/version/name).
type AttachmentsSource struct {
	Key    string   `json:",omitempty" check:"required,enum=SourceUrl|S3FileUrl|AttachmentReference"`
	Values []string `json:",omitempty" check:"required,min=1,max=1"`
	Name   string   `json:",omitempty" check:"re=attachmentName"`
}

// UpdateDocumentInput adds a version.
type UpdateDocumentInput struct {
	Content         string `check:"required,min=1"`
	Name            string `check:"required,re=documentName"`
	DocumentVersion string `json:",omitempty" check:"re=documentVersion"` // the latest, or $LATEST
	DocumentFormat  string `json:",omitempty" check:"enum=YAML|JSON|TEXT"`
	VersionName     string `json:",omitempty" check:"re=versionName"`
	DisplayName     string `json:",omitempty" check:"max=1024,re=displayName"`
	TargetType      string `json:",omitempty" check:"max=200,re=targetType"`

	Attachments []AttachmentsSource `json:",omitempty" check:"max=20"`
}

// DocumentDescriptionOutput answers CreateDocument and UpdateDocument.
type DocumentDescriptionOutput struct{ DocumentDescription DocumentDescription }

// DocumentDescription is a version of a document without its content.
type DocumentDescription struct {
	Name            string
	DisplayName     string `json:",omitempty"`
	VersionName     string `json:",omitempty"`
	Owner           string
	CreatedDate     Time
	Status          string
	DocumentVersion string
	Description     string              `json:",omitempty"`
	Parameters      []DocumentParameter `json:",omitempty"`
	PlatformTypes   []string
	DocumentType    string
	SchemaVersion   string `json:",omitempty"`
	LatestVersion   string
	DefaultVersion  string
	DocumentFormat  string
	TargetType      string `json:",omitempty"`
	Hash            string // hex SHA-256 of the content
	HashType        string // Sha256
	Tags            []Tag

	AttachmentsInformation []AttachmentInformation `json:",omitempty"`
}

// AttachmentInformation names what is attached to a document.
type AttachmentInformation struct{ Name string }

// DocumentParameter is a declared parameter. DefaultValue is text; the
// service writes lists and the like as JSON.
type DocumentParameter struct {
	Name         string
	Type         string  `json:",omitempty"`
	Description  string  `json:",omitempty"`
	DefaultValue *string `json:",omitempty"`
}

// UpdateDocumentDefaultVersionInput chooses the version that $DEFAULT names.
type UpdateDocumentDefaultVersionInput struct {
	Name            string `check:"required,re=documentName"`
	DocumentVersion string `check:"required,re=versionNumber"`
}

// UpdateDocumentDefaultVersionOutput repeats the choice.
type UpdateDocumentDefaultVersionOutput struct{ Description DefaultVersionDescription }

// DefaultVersionDescription is the default version of a document.
type DefaultVersionDescription struct {
	Name               string
	DefaultVersion     string
	DefaultVersionName string `json:",omitempty"`
}

// GetDocumentInput asks for content; Name may be an ARN. Without a version it
// is the default's, without a format it is JSON.
type GetDocumentInput struct {
	Name            string `check:"required,re=documentArn"`
	VersionName     string `json:",omitempty" check:"re=versionName"`
	DocumentVersion string `json:",omitempty" check:"re=documentVersion"`
	DocumentFormat  string `json:",omitempty" check:"enum=YAML|JSON|TEXT"`
}

// GetDocumentOutput is a version with its content.
type GetDocumentOutput struct {
	Name            string
	CreatedDate     *Time  `json:",omitempty"`
	DisplayName     string `json:",omitempty"`
	VersionName     string `json:",omitempty"`
	DocumentVersion string
	Status          string
	Content         string
	DocumentType    string
	DocumentFormat  string

	AttachmentsContent []AttachmentContent `json:",omitempty"`
}

// AttachmentContent is something attached to a document and where it can be
// fetched for a while.
type AttachmentContent struct {
	Name     string
	Size     int64
	Hash     string // hex
	HashType string // Sha256
	Url      string
}

// DescribeDocumentInput asks for a description; Name may be an ARN.
type DescribeDocumentInput struct {
	Name            string `check:"required,re=documentArn"`
	DocumentVersion string `json:",omitempty" check:"re=documentVersion"`
	VersionName     string `json:",omitempty" check:"re=versionName"`
}

// DescribeDocumentOutput is that description.
type DescribeDocumentOutput struct{ Document DocumentDescription }

// ListDocumentsInput lists documents by new or old filters, not both.
type ListDocumentsInput struct {
	Filters            []DocumentFilter    `json:",omitempty" check:"max=6"`
	DocumentFilterList []OldDocumentFilter `json:",omitempty" check:"min=1"`
	MaxResults         int                 `json:",omitempty" check:"min=1,max=50"`
	NextToken          string              `json:",omitempty"`
}

// DocumentFilter is one condition on documents; its values are alternatives.
type DocumentFilter struct {
	Key    string   `check:"required,min=1,max=128"`
	Values []string `json:",omitempty"`
}

// OldDocumentFilter is the older form; its members are lower case.
type OldDocumentFilter struct {
	Key   string `json:"key" check:"required"`
	Value string `json:"value" check:"required,min=1"`
}

// ListDocumentsOutput is a page of documents.
type ListDocumentsOutput struct {
	DocumentIdentifiers []DocumentIdentifier
	NextToken           string `json:",omitempty"`
}

// DocumentIdentifier is a document's default version in a list.
type DocumentIdentifier struct {
	Name            string
	CreatedDate     Time
	DisplayName     string `json:",omitempty"`
	Owner           string
	VersionName     string `json:",omitempty"`
	PlatformTypes   []string
	DocumentVersion string
	DocumentType    string
	SchemaVersion   string `json:",omitempty"`
	DocumentFormat  string
	TargetType      string `json:",omitempty"`
	Tags            []Tag
}

// ListDocumentVersionsInput lists a document's versions, the newest first.
type ListDocumentVersionsInput struct {
	Name       string `check:"required,re=documentArn"`
	MaxResults int    `json:",omitempty" check:"min=1,max=50"`
	NextToken  string `json:",omitempty"`
}

// ListDocumentVersionsOutput is a page of versions.
type ListDocumentVersionsOutput struct {
	DocumentVersions []DocumentVersion
	NextToken        string `json:",omitempty"`
}

// DocumentVersion is a version in a list.
type DocumentVersion struct {
	Name             string
	DisplayName      string `json:",omitempty"`
	DocumentVersion  string
	VersionName      string `json:",omitempty"`
	CreatedDate      Time
	IsDefaultVersion bool
	DocumentFormat   string
	Status           string
}

// DeleteDocumentInput deletes a document, or one version that is not its
// default. Force is for documents that are shared or in use.
type DeleteDocumentInput struct {
	Name            string `check:"required,re=documentName"`
	DocumentVersion string `json:",omitempty" check:"re=documentVersion"`
	VersionName     string `json:",omitempty" check:"re=versionName"`
	Force           bool   `json:",omitempty"`
}

// DescribeDocumentPermissionInput asks with whom a document is shared.
type DescribeDocumentPermissionInput struct {
	Name           string `check:"required,re=documentName"`
	PermissionType string `check:"required"` // Share
	MaxResults     int    `json:",omitempty" check:"min=1,max=200"`
	NextToken      string `json:",omitempty"`
}

// DescribeDocumentPermissionOutput has the accounts twice.
type DescribeDocumentPermissionOutput struct {
	AccountIds             []string
	AccountSharingInfoList []AccountSharingInfo
	NextToken              string `json:",omitempty"`
}

// AccountSharingInfo is an account and the version that it gets.
type AccountSharingInfo struct{ AccountId, SharedDocumentVersion string }

// ModifyDocumentPermissionInput shares a document with accounts, or with all.
type ModifyDocumentPermissionInput struct {
	Name                  string   `check:"required,re=documentName"`
	PermissionType        string   `check:"required"`
	AccountIdsToAdd       []string `json:",omitempty" check:"max=20"`
	AccountIdsToRemove    []string `json:",omitempty" check:"max=20"`
	SharedDocumentVersion string   `json:",omitempty" check:"enum=$LATEST|$DEFAULT|$ALL"`
}
