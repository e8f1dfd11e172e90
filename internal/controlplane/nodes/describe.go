package nodes

import (
	"context"
	"slices"
	"strings"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

// What nodes come from.
const (
	sourceHybrid = "AWS::SSM::ManagedInstance"
	sourceEC2    = "AWS::EC2::Instance"
)

func sourceType(n Node) string {
	if resourceType(n) == "EC2Instance" {
		return sourceEC2
	}
	return sourceHybrid
}

func (s *Service) describe(_ context.Context, _ api.Caller, in ssm.DescribeInstanceInformationInput) (ssm.DescribeInstanceInformationOutput, error) {
	var out ssm.DescribeInstanceInformationOutput
	filters, err := nodeFilters(in)
	if err != nil {
		return out, err
	}
	var all []Node
	err = s.opt.DB.View(func(tx *store.Tx) error {
		return Nodes.Scan(tx, "", "", func(_ string, n Node) (bool, error) {
			if s.fits(n, filters) {
				all = append(all, n)
			}
			return true, nil
		})
	})
	if err != nil {
		return out, err
	}
	page, next, err := api.Page(api.PageRequest{Op: "DescribeInstanceInformation", Filters: filters, Token: in.NextToken, Max: in.MaxResults, Default: defaultPage},
		all, func(n Node) string { return n.ID })
	if err != nil {
		return out, err
	}
	out = ssm.DescribeInstanceInformationOutput{InstanceInformationList: []ssm.InstanceInformation{}, NextToken: next}
	for _, n := range page {
		out.InstanceInformationList = append(out.InstanceInformationList, s.describeNode(n))
	}
	return out, nil
}

func (s *Service) describeNode(n Node) ssm.InstanceInformation {
	i := ssm.InstanceInformation{
		InstanceId: n.ID, PingStatus: s.pingStatus(n), AgentVersion: n.Info.AgentVersion, PlatformType: n.Info.PlatformType,
		PlatformName: n.Info.PlatformName, PlatformVersion: n.Info.PlatformVersion, ActivationId: n.ActivationID, IamRole: n.IAMRole,
		RegistrationDate: &ssm.Time{Time: n.Registered}, ResourceType: resourceType(n), Name: n.Name, IPAddress: n.Info.IPAddress,
		ComputerName: n.Info.ComputerName, SourceId: n.ID, SourceType: sourceType(n),
		CloneWarning: s.cloneWarning(n),
	}
	if !n.LastPing.IsZero() {
		i.LastPingDateTime = &ssm.Time{Time: n.LastPing}
	}
	return i
}

func (s *Service) pingStatus(n Node) string {
	if s.Online(n) {
		return "Online"
	}
	return "ConnectionLost"
}

func resourceType(n Node) string {
	if strings.HasPrefix(n.ID, "i-") {
		return "EC2Instance"
	}
	return "ManagedInstance"
}

// nodeFilters returns the filters of either form, checked.
func nodeFilters(in ssm.DescribeInstanceInformationInput) ([]ssm.InstanceFilter, error) {
	if len(in.Filters) > 0 && len(in.InstanceInformationFilterList) > 0 {
		return nil, api.Errorf(api.CodeValidation, "Filters and InstanceInformationFilterList exclude each other: use Filters")
	}
	for _, f := range in.Filters {
		if err := checkNodeFilter(f, true); err != nil {
			return nil, err
		}
	}
	filters := in.Filters
	for _, old := range in.InstanceInformationFilterList {
		f := ssm.InstanceFilter{Key: old.Key, Values: old.ValueSet}
		if err := checkNodeFilter(f, false); err != nil {
			return nil, err
		}
		filters = append(filters, f)
	}
	return filters, nil
}

// checkNodeFilter refuses unknown keys, and values that no node can have.
// The older form knows fewer keys.
func checkNodeFilter(f ssm.InstanceFilter, newer bool) error {
	var values []string // the only ones there are, if so
	switch {
	case slices.Contains([]string{"InstanceIds", "AgentVersion", "ActivationIds", "IamRole", "AssociationStatus"}, f.Key):
	case f.Key == "PingStatus":
		values = []string{"Online", "ConnectionLost", "Inactive"}
	case f.Key == "PlatformTypes":
		values = []string{"Windows", "Linux", "MacOS"}
	case f.Key == "ResourceType":
		values = []string{"ManagedInstance", "EC2Instance"}
	case newer && f.Key == "SourceTypes":
		values = []string{sourceEC2, "AWS::IoT::Thing", sourceHybrid}
	case newer && (f.Key == "SourceIds" || f.Key == "tag-key" || strings.HasPrefix(f.Key, "tag:") && len(f.Key) > 4):
	default:
		return api.Errorf("InvalidFilterKey", "the filter key %q is not known", api.Clip(f.Key, 64))
	}
	for _, v := range f.Values {
		switch {
		case v == "":
			return api.Errorf("InvalidInstanceInformationFilterValue", "the filter %s has an empty value", api.Clip(f.Key, 64))
		case values != nil && !slices.Contains(values, v):
			return api.Errorf("InvalidInstanceInformationFilterValue", "the filter %s has the value %q, needs one of %s", f.Key, api.Clip(v, 64), strings.Join(values, ", "))
		case f.Key == "InstanceIds" && !api.Matches("instanceId", v):
			return api.Errorf("InvalidInstanceId", "%q is no node id: i- and 8 or 17, or mi- and 17 word characters", api.Clip(v, 64))
		}
	}
	return nil
}

// fits says whether every filter has a value that the node has.
func (s *Service) fits(n Node, filters []ssm.InstanceFilter) bool {
	for _, f := range filters {
		if !slices.ContainsFunc(s.values(n, f.Key), func(v string) bool { return slices.Contains(f.Values, v) }) {
			return false
		}
	}
	return true
}

// values are those that a node has for a filter's key.
func (s *Service) values(n Node, key string) []string {
	switch key {
	case "InstanceIds", "SourceIds":
		return []string{n.ID}
	case "AgentVersion":
		return []string{n.Info.AgentVersion}
	case "ActivationIds":
		return []string{n.ActivationID}
	case "IamRole":
		return []string{n.IAMRole}
	case "PingStatus":
		return []string{s.pingStatus(n)}
	case "PlatformTypes":
		return []string{n.Info.PlatformType}
	case "ResourceType":
		return []string{resourceType(n)}
	case "SourceTypes":
		return []string{sourceType(n)}
	case "tag-key":
		keys := make([]string, 0, len(n.Tags))
		for _, t := range n.Tags {
			keys = append(keys, t.Key)
		}
		return keys
	}
	if name, ok := strings.CutPrefix(key, "tag:"); ok {
		if v, ok := n.Tag(name); ok {
			return []string{v}
		}
	}
	return nil // AssociationStatus: no node has associations yet
}

// Tags returns a node's tags, and false when it is not registered.
func (s *Service) Tags(tx *store.Tx, id string) ([]ssm.Tag, bool, error) {
	n, ok, err := Nodes.Get(tx, id)
	return n.Tags, ok, err
}

// SetTags replaces the tags of a registered node.
func (s *Service) SetTags(tx *store.Tx, id string, tags []ssm.Tag) error {
	n, ok, err := Nodes.Get(tx, id)
	if err != nil || !ok {
		return err
	}
	n.Tags = tags
	return Nodes.Put(tx, id, n)
}
