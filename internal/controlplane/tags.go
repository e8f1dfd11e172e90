package controlplane

import (
	"context"
	"slices"
	"strings"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

const maxTags = 50

// tagged are resources of one type that have tags.
type tagged interface {
	// Tags returns a resource's tags, and false when there is no such one.
	Tags(tx *store.Tx, id string) ([]ssm.Tag, bool, error)
	// SetTags replaces the tags of a resource that is there.
	SetTags(tx *store.Tx, id string, tags []ssm.Tag) error
}

// tags are the tag operations over all types of resources.
type tags struct {
	db    *store.DB
	types map[string]tagged
}

func (t tags) Ops() api.Ops {
	allow := []api.Kind{api.Operator}
	return api.Ops{
		"AmazonSSM.AddTagsToResource":      {Allow: allow, Handle: api.Strict(t.add)},
		"AmazonSSM.RemoveTagsFromResource": {Allow: allow, Handle: api.Strict(t.remove)},
		"AmazonSSM.ListTagsForResource":    {Allow: allow, Handle: api.Strict(t.list)},
	}
}

func (t tags) add(_ context.Context, _ api.Caller, in ssm.AddTagsToResourceInput) (ssm.Empty, error) {
	if err := api.CheckTags("Tags", in.Tags); err != nil {
		return ssm.Empty{}, err
	}
	return ssm.Empty{}, t.change(in.ResourceType, in.ResourceId, func(have []ssm.Tag) ([]ssm.Tag, error) {
		for _, tag := range in.Tags {
			have = append(without(have, tag.Key), tag)
		}
		if len(have) > maxTags {
			return nil, api.Errorf("TooManyTagsError", "%s would have %d tags, at most %d are allowed", in.ResourceId, len(have), maxTags)
		}
		return have, nil
	})
}

func (t tags) remove(_ context.Context, _ api.Caller, in ssm.RemoveTagsFromResourceInput) (ssm.Empty, error) {
	return ssm.Empty{}, t.change(in.ResourceType, in.ResourceId, func(have []ssm.Tag) ([]ssm.Tag, error) {
		return without(have, in.TagKeys...), nil
	})
}

func (t tags) list(_ context.Context, _ api.Caller, in ssm.ListTagsForResourceInput) (ssm.ListTagsForResourceOutput, error) {
	out := ssm.ListTagsForResourceOutput{TagList: []ssm.Tag{}}
	of, err := t.of(in.ResourceType)
	if err != nil {
		return out, err
	}
	err = t.db.View(func(tx *store.Tx) error {
		have, ok, err := of.Tags(tx, in.ResourceId)
		if err == nil && !ok {
			err = noResource(in.ResourceType, in.ResourceId)
		}
		out.TagList = append(out.TagList, have...)
		return err
	})
	slices.SortFunc(out.TagList, func(a, b ssm.Tag) int { return strings.Compare(a.Key, b.Key) })
	return out, err
}

func (t tags) change(kind, id string, fn func([]ssm.Tag) ([]ssm.Tag, error)) error {
	of, err := t.of(kind)
	if err != nil {
		return err
	}
	return t.db.Update(func(tx *store.Tx) error {
		have, ok, err := of.Tags(tx, id)
		if err != nil {
			return err
		}
		if !ok {
			return noResource(kind, id)
		}
		if have, err = fn(have); err != nil {
			return err
		}
		return of.SetTags(tx, id, have)
	})
}

func (t tags) of(kind string) (tagged, error) {
	if of, ok := t.types[kind]; ok {
		return of, nil
	}
	return nil, api.Errorf("InvalidResourceType", "ResourceType is %q: only ManagedInstance, Document and Parameter are supported here", api.Clip(kind, 64))
}

func noResource(kind, id string) error {
	return api.Errorf("InvalidResourceId", "there is no %s %q here", kind, api.Clip(id, 64))
}

func without(have []ssm.Tag, keys ...string) []ssm.Tag {
	return slices.DeleteFunc(slices.Clone(have), func(t ssm.Tag) bool { return slices.Contains(keys, t.Key) })
}
