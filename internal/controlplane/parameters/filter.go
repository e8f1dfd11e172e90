package parameters

import (
	"slices"
	"strings"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/wire/ssm"
)

// Keys of filters, beside tag:KEY.
const (
	keyName     = "Name"
	keyType     = "Type"
	keyKey      = "KeyId"
	keyPath     = "Path"
	keyTier     = "Tier"
	keyDataType = "DataType"
	keyLabel    = "Label"
	tagPrefix   = "tag:"
)

// Options of filters.
const (
	equals     = "Equals"
	beginsWith = "BeginsWith"
	contains   = "Contains"
	recursive  = "Recursive"
	oneLevel   = "OneLevel"
)

// condition is a filter, checked. Its values are alternatives; a tag without
// values is one that is there.
type condition struct {
	key, option string
	values      []string
}

// options are those of a key, the default first; nil when it is not known.
func options(key string) []string {
	switch key {
	case keyName:
		return []string{equals, beginsWith, contains}
	case keyType, keyKey, keyTier, keyDataType:
		return []string{equals, beginsWith}
	case keyPath:
		return []string{oneLevel, recursive}
	case keyLabel:
		return []string{equals}
	}
	if strings.HasPrefix(key, tagPrefix) && len(key) > len(tagPrefix) {
		return []string{equals, beginsWith}
	}
	return nil
}

// pathConditions are the filters of GetParametersByPath.
func pathConditions(filters []ssm.ParameterFilter) ([]condition, error) {
	return conditions(filters, func(key string) bool { return key == keyType || key == keyKey || key == keyLabel })
}

// describeConditions are the filters of DescribeParameters in either form.
// Names of the older one are beginnings.
func describeConditions(in ssm.DescribeParametersInput) ([]condition, error) {
	if len(in.Filters) > 0 && len(in.ParameterFilters) > 0 {
		return nil, api.Errorf(api.CodeValidation, "Filters and ParameterFilters exclude each other: use ParameterFilters")
	}
	filters := in.ParameterFilters
	for _, old := range in.Filters {
		f := ssm.ParameterFilter{Key: old.Key, Option: equals, Values: old.Values}
		if old.Key == keyName {
			f.Option = beginsWith
		}
		filters = append(filters, f)
	}
	return conditions(filters, func(key string) bool { return key != keyLabel })
}

func conditions(filters []ssm.ParameterFilter, may func(key string) bool) ([]condition, error) {
	var list []condition
	for _, f := range filters {
		known := options(f.Key)
		if known == nil || !may(f.Key) {
			return nil, api.Errorf("InvalidFilterKey", "the filter key %q is not one of this operation", api.Clip(f.Key, 128))
		}
		c := condition{key: f.Key, option: f.Option, values: f.Values}
		if c.option == "" {
			c.option = known[0]
		}
		if !slices.Contains(known, c.option) {
			return nil, api.Errorf("InvalidFilterOption", "the filter %s has the option %q, needs one of %s", api.Clip(f.Key, 128), api.Clip(f.Option, 128), strings.Join(known, ", "))
		}
		if len(c.values) == 0 && !strings.HasPrefix(f.Key, tagPrefix) {
			return nil, api.Errorf("InvalidFilterValue", "the filter %s has no Values", api.Clip(f.Key, 128))
		}
		for _, v := range c.values {
			if err := c.checkValue(v); err != nil {
				return nil, err
			}
		}
		if slices.ContainsFunc(list, func(other condition) bool { return other.key == c.key }) {
			return nil, api.Errorf("InvalidFilterKey", "the filter key %s is there twice: give one filter more values", api.Clip(f.Key, 128))
		}
		list = append(list, c)
	}
	return list, nil
}

func (c condition) checkValue(v string) error {
	var only []string
	switch {
	case v == "" || len(v) > 1024:
		return api.Errorf("InvalidFilterValue", "the filter %s has a value of %d characters, needs 1 to 1024", api.Clip(c.key, 128), len(v))
	case c.key == keyPath && checkPath(keyPath, v) != nil:
		return api.Errorf("InvalidFilterValue", "the filter Path has the value %s, needs / and the levels of a hierarchy", api.Clip(v, 128))
	case c.key == keyType && c.option == equals:
		only = []string{ssm.TypeString, ssm.TypeStringList, ssm.TypeSecureString}
	case c.key == keyTier && c.option == equals:
		only = []string{standard, advanced, intelligent}
	}
	if only != nil && !slices.Contains(only, v) {
		return api.Errorf("InvalidFilterValue", "the filter %s has the value %s, needs one of %s", c.key, api.Clip(v, 128), strings.Join(only, ", "))
	}
	return nil
}

// takesName decides by what versions do not change; other conditions take all.
func (c condition) takesName(p Parameter) bool {
	if key, ok := strings.CutPrefix(c.key, tagPrefix); ok {
		return slices.ContainsFunc(p.Tags, func(t ssm.Tag) bool { return t.Key == key && (len(c.values) == 0 || c.takes(t.Value)) })
	}
	return c.key != keyName && c.key != keyPath || c.takes(p.Name)
}

// takesVersion decides by what is a version's own; other conditions take all.
func (c condition) takesVersion(v Version) bool {
	switch c.key {
	case keyType:
		return c.takes(v.Type)
	case keyKey:
		return c.takes(v.KeyID)
	case keyTier:
		return c.takes(v.Tier)
	case keyDataType:
		return c.takes(v.DataType)
	}
	return true
}

// takes says whether one of the values fits.
func (c condition) takes(have string) bool {
	return slices.ContainsFunc(c.values, func(want string) bool {
		switch c.option {
		case beginsWith:
			return strings.HasPrefix(have, want)
		case contains:
			return strings.Contains(have, want)
		case recursive, oneLevel:
			return below(have, want, c.option == recursive)
		}
		return have == want
	})
}

// below says whether a name lies in a path. All names lie in /, also those
// that have no levels.
func below(name, path string, deep bool) bool {
	rest := strings.TrimPrefix(name, "/")
	if path = strings.TrimSuffix(path, "/"); path != "" {
		var ok bool
		if rest, ok = strings.CutPrefix(name, path+"/"); !ok {
			return false
		}
	}
	return deep || !strings.Contains(rest, "/")
}

// labelOf are the labels that are asked for, nil for none.
func labelOf(filters []condition) []string {
	for _, f := range filters {
		if f.key == keyLabel {
			return f.values
		}
	}
	return nil
}
