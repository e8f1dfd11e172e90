package nodes

import (
	"context"
	"encoding/json"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

// InventoryRecord is a node's last inventory of one type.
type InventoryRecord struct {
	Item     ssm.InventoryItem
	Received time.Time
}

// ComplianceRecord is a node's last compliance report of one type.
type ComplianceRecord struct {
	Report   ssm.PutComplianceItemsInput
	Received time.Time
}

// AssociationRecord is what a node last reported of an association.
type AssociationRecord struct {
	Result   json.RawMessage
	Received time.Time
}

// PackageRecord is what a node last reported of a package's installation.
type PackageRecord struct {
	Result   ssm.PutConfigurePackageResultInput
	Received time.Time
}

// Tables of what nodes report, by node id, a slash, and the type or name.
var (
	Inventory           = store.Table[InventoryRecord]{Name: "inventory"}
	Compliance          = store.Table[ComplianceRecord]{Name: "compliance"}
	AssociationStatuses = store.Table[AssociationRecord]{Name: "association-statuses"}
	Packages            = store.Table[PackageRecord]{Name: "package-results"}
)

// forget drops what a node reported.
func forget(tx *store.Tx, id string) error {
	if err := forgetIn(tx, Inventory, id); err != nil {
		return err
	}
	if err := forgetIn(tx, Compliance, id); err != nil {
		return err
	}
	if err := forgetIn(tx, Packages, id); err != nil {
		return err
	}
	return forgetIn(tx, AssociationStatuses, id)
}

func forgetIn[T any](tx *store.Tx, table store.Table[T], id string) error {
	var keys []string
	err := table.Scan(tx, id+"/", "", func(key string, _ T) (bool, error) {
		keys = append(keys, key)
		return true, nil
	})
	for _, k := range keys {
		if err == nil {
			err = table.Delete(tx, k)
		}
	}
	return err
}

// report keeps what a node that must be registered says of itself.
func (s *Service) report(c api.Caller, id string, fn func(*store.Tx) error) error {
	if err := c.MayActFor(id); err != nil {
		return err
	}
	return s.opt.DB.Update(func(tx *store.Tx) error {
		if _, ok, err := Nodes.Get(tx, id); err != nil || !ok {
			if err == nil {
				err = noNode(id)
			}
			return err
		}
		return fn(tx)
	})
}

func (s *Service) putInventory(_ context.Context, c api.Caller, in ssm.PutInventoryInput) (ssm.PutInventoryOutput, error) {
	now := s.opt.Clock.Now()
	return ssm.PutInventoryOutput{}, s.report(c, in.InstanceId, func(tx *store.Tx) error {
		for _, item := range in.Items {
			key := in.InstanceId + "/" + item.TypeName
			if item.Content == nil {
				old, ok, err := Inventory.Get(tx, key)
				if err != nil {
					return err
				}
				if !ok || old.Item.ContentHash != item.ContentHash || item.ContentHash == "" {
					return api.Errorf("ItemContentMismatchException", "%s comes without content, but its hash is not that of the content kept here: send the content", api.Clip(item.TypeName, 64))
				}
				item.Content = old.Item.Content
			}
			if err := Inventory.Put(tx, key, InventoryRecord{Item: item, Received: now}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) putCompliance(_ context.Context, c api.Caller, in ssm.PutComplianceItemsInput) (ssm.Empty, error) {
	if in.ResourceType != "ManagedInstance" {
		return ssm.Empty{}, api.Errorf("InvalidResourceType", "ResourceType is %q, needs ManagedInstance", api.Clip(in.ResourceType, 64))
	}
	now := s.opt.Clock.Now()
	return ssm.Empty{}, s.report(c, in.ResourceId, func(tx *store.Tx) error {
		return Compliance.Put(tx, in.ResourceId+"/"+in.ComplianceType, ComplianceRecord{Report: in, Received: now})
	})
}

func (s *Service) associationStatus(_ context.Context, c api.Caller, in ssm.UpdateInstanceAssociationStatusInput) (ssm.Empty, error) {
	now := s.opt.Clock.Now()
	return ssm.Empty{}, s.report(c, in.InstanceId, func(tx *store.Tx) error {
		return AssociationStatuses.Put(tx, in.InstanceId+"/"+in.AssociationId, AssociationRecord{Result: in.ExecutionResult, Received: now})
	})
}

// legacyAssociationStatus: associations named by document and node were never
// made here.
func (s *Service) legacyAssociationStatus(_ context.Context, c api.Caller, in ssm.UpdateAssociationStatusInput) (ssm.Empty, error) {
	if err := c.MayActFor(in.InstanceId); err != nil {
		return ssm.Empty{}, err
	}
	return ssm.Empty{}, noAssociation()
}

func (s *Service) listInstanceAssociations(_ context.Context, c api.Caller, in ssm.ListInstanceAssociationsInput) (ssm.ListInstanceAssociationsOutput, error) {
	out := ssm.ListInstanceAssociationsOutput{Associations: []json.RawMessage{}}
	if err := c.MayActFor(in.InstanceId); err != nil {
		return out, err
	}
	if in.MaxResults < 0 || in.MaxResults > 50 {
		return out, api.Errorf(api.CodeValidation, "MaxResults is %d, needs 1 to 50", in.MaxResults)
	}
	return out, noToken("ListInstanceAssociations", in.NextToken)
}

func (s *Service) listAssociations(_ context.Context, c api.Caller, in ssm.ListAssociationsInput) (ssm.ListInstanceAssociationsOutput, error) {
	out := ssm.ListInstanceAssociationsOutput{Associations: []json.RawMessage{}}
	own := c.Kind == api.Operator
	for _, f := range in.AssociationFilterList {
		own = own || f.Key == "InstanceId" && c.MayActFor(f.Value) == nil
	}
	if !own {
		return out, api.Errorf(api.CodeAccessDenied, "%s may list its own associations only: filter by its InstanceId", c)
	}
	return out, noToken("ListAssociations", in.NextToken)
}

func (s *Service) describeAssociation(_ context.Context, c api.Caller, in ssm.DescribeAssociationInput) (ssm.Empty, error) {
	switch {
	case in.AssociationId == "" && (in.Name == "" || in.InstanceId == ""):
		return ssm.Empty{}, api.Errorf(api.CodeValidation, "AssociationId, or Name and InstanceId, are required")
	case in.InstanceId != "":
		if err := c.MayActFor(in.InstanceId); err != nil {
			return ssm.Empty{}, err
		}
	}
	return ssm.Empty{}, noAssociation()
}

func noAssociation() error {
	return api.Errorf("AssociationDoesNotExist", "there is no such association here")
}

// noToken refuses any token of a list that has no second page.
func noToken(op, token string) error {
	if token == "" {
		return nil
	}
	return api.Errorf(api.CodeNextToken, "NextToken is not one that %s gave: ask for the first page without it", op)
}

func (s *Service) packageResult(_ context.Context, c api.Caller, in ssm.PutConfigurePackageResultInput) (ssm.Empty, error) {
	id := c.InstanceID
	if c.Kind == api.Operator {
		id = in.Attributes["instanceID"]
	}
	now := s.opt.Clock.Now()
	return ssm.Empty{}, s.report(c, id, func(tx *store.Tx) error {
		return Packages.Put(tx, id+"/"+in.PackageName, PackageRecord{Result: in, Received: now})
	})
}
