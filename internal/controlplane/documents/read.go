package documents

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

func (s *Service) get(ctx context.Context, _ api.Caller, in ssm.GetDocumentInput) (ssm.GetDocumentOutput, error) {
	var out ssm.GetDocumentOutput
	var v Version
	err := s.opt.DB.View(func(tx *store.Tx) error {
		var d Document
		var err error
		if d, v, err = s.find(tx, in.Name, in.DocumentVersion, in.VersionName); err != nil {
			return err
		}
		format := cmp.Or(in.DocumentFormat, "JSON")
		content, err := convert(d.Type, v.Format, format, v.Content)
		if err != nil {
			return err
		}
		out = ssm.GetDocumentOutput{
			Name: d.Name, CreatedDate: &ssm.Time{Time: v.Created}, DisplayName: d.DisplayName, VersionName: v.VersionName,
			DocumentVersion: strconv.Itoa(v.Number), Status: statusActive, Content: content, DocumentType: d.Type, DocumentFormat: format,
		}
		return nil
	})
	if err == nil {
		out.AttachmentsContent, err = s.contents(ctx, v)
	}
	return out, err
}

func (s *Service) describe(_ context.Context, _ api.Caller, in ssm.DescribeDocumentInput) (ssm.DescribeDocumentOutput, error) {
	var out ssm.DescribeDocumentOutput
	err := s.opt.DB.View(func(tx *store.Tx) error {
		d, v, err := s.find(tx, in.Name, in.DocumentVersion, in.VersionName)
		out.Document = describe(d, v)
		return err
	})
	return out, err
}

func describe(d Document, v Version) ssm.DocumentDescription {
	var files []ssm.AttachmentInformation
	for _, f := range v.Attachments {
		files = append(files, ssm.AttachmentInformation{Name: f.Name})
	}
	return ssm.DocumentDescription{
		Name: d.Name, DisplayName: d.DisplayName, VersionName: v.VersionName, Owner: d.Owner, CreatedDate: ssm.Time{Time: v.Created},
		Status: statusActive, DocumentVersion: strconv.Itoa(v.Number), Description: v.Description, Parameters: v.Parameters,
		PlatformTypes: append([]string{}, v.PlatformTypes...), DocumentType: d.Type, SchemaVersion: v.SchemaVersion,
		LatestVersion: strconv.Itoa(d.Latest), DefaultVersion: strconv.Itoa(d.Default), DocumentFormat: v.Format,
		TargetType: d.TargetType, Hash: v.Hash, HashType: hashType, Tags: append([]ssm.Tag{}, d.Tags...),
		AttachmentsInformation: files,
	}
}

func (s *Service) list(_ context.Context, _ api.Caller, in ssm.ListDocumentsInput) (ssm.ListDocumentsOutput, error) {
	var out ssm.ListDocumentsOutput
	filters, err := documentFilters(in)
	if err != nil {
		return out, err
	}
	err = s.opt.DB.View(func(tx *store.Tx) error {
		all, err := s.documents(tx)
		if err != nil {
			return err
		}
		var found []ssm.DocumentIdentifier
		for _, d := range all {
			v, ok, err := s.numbered(tx, d, d.Default)
			if err != nil {
				return err
			}
			if ok && fits(d, v, filters) {
				found = append(found, identify(d, v))
			}
		}
		out.DocumentIdentifiers, out.NextToken, err = api.Page(api.PageRequest{Op: "ListDocuments", Filters: filters, Token: in.NextToken, Max: in.MaxResults, Default: defaultPage},
			found, func(i ssm.DocumentIdentifier) string { return i.Name })
		return err
	})
	return out, err
}

func identify(d Document, v Version) ssm.DocumentIdentifier {
	return ssm.DocumentIdentifier{
		Name: d.Name, CreatedDate: ssm.Time{Time: d.Created}, DisplayName: d.DisplayName, Owner: d.Owner, VersionName: v.VersionName,
		PlatformTypes: append([]string{}, v.PlatformTypes...), DocumentVersion: strconv.Itoa(v.Number), DocumentType: d.Type,
		SchemaVersion: v.SchemaVersion, DocumentFormat: v.Format, TargetType: d.TargetType, Tags: append([]ssm.Tag{}, d.Tags...),
	}
}

// documentFilters returns the filters of either form, checked.
func documentFilters(in ssm.ListDocumentsInput) ([]ssm.DocumentFilter, error) {
	if len(in.Filters) > 0 && len(in.DocumentFilterList) > 0 {
		return nil, api.Errorf(api.CodeValidation, "Filters and DocumentFilterList exclude each other: use Filters")
	}
	filters := in.Filters
	known := []string{"Name", "Owner", "PlatformTypes", "DocumentType"}
	if len(in.DocumentFilterList) == 0 {
		known = append(known, "TargetType", "SearchKeyword")
	}
	for _, f := range in.DocumentFilterList {
		filters = append(filters, ssm.DocumentFilter{Key: f.Key, Values: []string{f.Value}})
	}
	for _, f := range filters {
		tag := len(in.Filters) > 0 && strings.HasPrefix(f.Key, "tag:") && len(f.Key) > 4
		if !tag && !slices.Contains(known, f.Key) {
			return nil, api.Errorf("InvalidFilterKey", "the filter key %q is not known: use %s", api.Clip(f.Key, 128), strings.Join(known, ", "))
		}
		if len(f.Values) == 0 {
			return nil, api.Errorf(api.CodeValidation, "the filter %s has no Values", api.Clip(f.Key, 128))
		}
		for _, v := range f.Values {
			if err := checkFilterValue(f.Key, v); err != nil {
				return nil, err
			}
		}
	}
	return filters, nil
}

func checkFilterValue(key, value string) error {
	values := map[string][]string{
		"Owner":         {"Amazon", "Self", "Private", "Public", "All", "ThirdParty"},
		"PlatformTypes": {"Windows", "Linux", "MacOS"},
	}[key]
	if value == "" || len(value) > 256 || values != nil && !slices.Contains(values, value) {
		return api.Errorf(api.CodeValidation, "the filter %s has the value %q, needs %s", api.Clip(key, 128), api.Clip(value, 128), cmp.Or(strings.Join(values, ", "), "1 to 256 characters"))
	}
	return nil
}

// fits says whether every filter has a value that the document has. Names are
// given by their beginning.
func fits(d Document, v Version, filters []ssm.DocumentFilter) bool {
	for _, f := range filters {
		if !slices.ContainsFunc(f.Values, func(want string) bool { return has(d, v, f.Key, want) }) {
			return false
		}
	}
	return true
}

func has(d Document, v Version, key, want string) bool {
	switch key {
	case "Name":
		return strings.HasPrefix(d.Name, want)
	case "Owner":
		amazon := d.Owner == Amazon
		return want == "All" || amazon && (want == "Amazon" || want == "Public") || !amazon && (want == "Self" || want == "Private")
	case "PlatformTypes":
		return slices.Contains(v.PlatformTypes, want)
	case "DocumentType":
		return d.Type == want
	case "TargetType":
		return d.TargetType == want
	case "SearchKeyword":
		return strings.Contains(strings.ToLower(d.Name+" "+d.DisplayName+" "+v.Description), strings.ToLower(want))
	}
	return slices.ContainsFunc(d.Tags, func(t ssm.Tag) bool { return "tag:"+t.Key == key && t.Value == want })
}

func (s *Service) listVersions(_ context.Context, _ api.Caller, in ssm.ListDocumentVersionsInput) (ssm.ListDocumentVersionsOutput, error) {
	var out ssm.ListDocumentVersionsOutput
	err := s.opt.DB.View(func(tx *store.Tx) error {
		d, err := s.document(tx, in.Name)
		if err != nil {
			return err
		}
		all, err := s.versions(tx, d)
		if err != nil {
			return err
		}
		slices.Reverse(all)
		page, next, err := api.Page(api.PageRequest{Op: "ListDocumentVersions", Filters: d.Name, Token: in.NextToken, Max: in.MaxResults, Default: defaultPage},
			all, func(v Version) string { return fmt.Sprintf("%010d", 1_000_000_000-v.Number) }) // the newest first
		if err != nil {
			return err
		}
		out = ssm.ListDocumentVersionsOutput{DocumentVersions: []ssm.DocumentVersion{}, NextToken: next}
		for _, v := range page {
			out.DocumentVersions = append(out.DocumentVersions, ssm.DocumentVersion{
				Name: d.Name, DisplayName: d.DisplayName, DocumentVersion: strconv.Itoa(v.Number), VersionName: v.VersionName,
				CreatedDate: ssm.Time{Time: v.Created}, IsDefaultVersion: v.Number == d.Default, DocumentFormat: v.Format, Status: statusActive,
			})
		}
		return nil
	})
	return out, err
}
