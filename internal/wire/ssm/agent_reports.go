package ssm

import "encoding/json"

// ListInstanceAssociationsOutput is a page; empty means nothing to do.
type ListInstanceAssociationsOutput struct {
	Associations []json.RawMessage
	NextToken    string `json:",omitempty"`
}

// ListAssociationsInput is the fallback of stock agents and an operator's
// list. Filter members are lower case.
type ListAssociationsInput struct {
	AssociationFilterList []AssociationFilter `json:",omitempty" check:"min=1"`
	MaxResults            int                 `json:",omitempty" check:"min=1,max=50"`
	NextToken             string              `json:",omitempty"`
}

// AssociationFilter is one condition on associations.
type AssociationFilter struct {
	Key   string `json:"key" check:"required,enum=InstanceId|Name|AssociationId|AssociationStatusName|LastExecutedBefore|LastExecutedAfter|AssociationName|ResourceGroupName"`
	Value string `json:"value" check:"required,min=1"`
}

// DescribeAssociationInput names an association by id, or by document and node.
type DescribeAssociationInput struct {
	Name               string `json:",omitempty" check:"re=documentArn"`
	InstanceId         string `json:",omitempty" check:"re=instanceId"`
	AssociationId      string `json:",omitempty"`
	AssociationVersion string `json:",omitempty"`
}

// UpdateInstanceAssociationStatusInput reports an association's run.
type UpdateInstanceAssociationStatusInput struct {
	AssociationId   string          `check:"required,min=1,max=256"`
	InstanceId      string          `check:"required,re=instanceId"`
	ExecutionResult json.RawMessage `check:"required"`
}

// UpdateAssociationStatusInput is the legacy form of it.
type UpdateAssociationStatusInput struct {
	Name              string          `check:"required,re=documentArn"`
	InstanceId        string          `check:"required,re=instanceId"`
	AssociationStatus json.RawMessage `check:"required"`
}

// PutInventoryInput reports inventory. An item without Content says that it
// is unchanged since the ContentHash it names.
type PutInventoryInput struct {
	InstanceId string          `check:"required,re=instanceId"`
	Items      []InventoryItem `check:"required,min=1,max=30"`
}

// InventoryItem is one type's inventory.
type InventoryItem struct {
	TypeName      string              `check:"required,min=1,max=100,re=inventoryType"`
	SchemaVersion string              `check:"required,re=inventorySchema"`
	CaptureTime   string              `check:"required,min=1,max=40"`
	ContentHash   string              `json:",omitempty" check:"max=256"`
	Content       []map[string]string `json:",omitempty" check:"max=10000"`
	Context       map[string]string   `json:",omitempty" check:"max=50"`
}

// PutInventoryOutput is not read by agents.
type PutInventoryOutput struct{ Message string }

// PutComplianceItemsInput reports compliance of a resource.
type PutComplianceItemsInput struct {
	ResourceId       string           `check:"required,min=1,max=100"`
	ResourceType     string           `check:"required,min=1,max=50"`
	ComplianceType   string           `check:"required,min=1,max=100"`
	ExecutionSummary json.RawMessage  `check:"required"`
	Items            []ComplianceItem `check:"required,max=10000"`
	ItemContentHash  string           `json:",omitempty" check:"max=256"`
	UploadType       string           `json:",omitempty" check:"enum=COMPLETE|PARTIAL"`
}

// ComplianceItem is one finding.
type ComplianceItem struct {
	Id       string            `json:",omitempty"`
	Title    string            `json:",omitempty" check:"max=500"`
	Severity string            `check:"required,enum=CRITICAL|HIGH|MEDIUM|LOW|INFORMATIONAL|UNSPECIFIED"`
	Status   string            `check:"required,enum=COMPLIANT|NON_COMPLIANT"`
	Details  map[string]string `json:",omitempty"`
}

// GetManifestInput asks for a package's manifest; in no public model.
type GetManifestInput struct {
	PackageName    string `check:"required,min=1,max=2048"`
	PackageVersion string `check:"required,max=512"`
}

// GetManifestOutput is the manifest, as JSON text.
type GetManifestOutput struct{ Manifest string }

// PutConfigurePackageResultInput reports a package's installation; in no
// public model.
type PutConfigurePackageResultInput struct {
	PackageName            string            `check:"required,min=1,max=2048"`
	PackageVersion         string            `check:"required,max=512"`
	PreviousPackageVersion string            `json:",omitempty"`
	Operation              string            `check:"required"` // Install, Uninstall
	OverallTiming          int64             `check:"required"` // milliseconds
	Result                 int64             `check:"required"` // exit code
	Attributes             map[string]string `json:",omitempty"`
	Steps                  []PackageStep     `json:",omitempty"`
}

// PackageStep is a trace point of an installation.
type PackageStep struct {
	Action string
	Result int64
	Timing int64 // milliseconds
}
