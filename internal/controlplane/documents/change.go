package documents

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

func (s *Service) create(_ context.Context, _ api.Caller, in ssm.CreateDocumentInput) (ssm.DocumentDescriptionOutput, error) {
	var out ssm.DocumentDescriptionOutput
	kind := cmp.Or(in.DocumentType, "Command")
	if kind != "Command" && kind != "Session" && kind != typePackage {
		return out, api.Errorf(api.CodeValidation, "DocumentType is %q: only Command, Session and Package documents are supported here", api.Clip(kind, 128))
	}
	if reserved(in.Name) {
		return out, api.Errorf(api.CodeValidation, "Name is %q: names that begin with aws, amazon or amzn are reserved", in.Name)
	}
	if err := api.CheckTags("Tags", in.Tags); err != nil {
		return out, err
	}
	v, err := newVersion(kind, cmp.Or(in.DocumentFormat, "JSON"), in.Content)
	if err != nil {
		return out, err
	}
	more, err := s.attach(kind, v, in.Attachments)
	if err != nil {
		return out, err
	}
	v.Number, v.VersionName, v.Created, v.Attachments = 1, in.VersionName, s.opt.Clock.Now(), more.list
	d := Document{Name: in.Name, Owner: s.opt.Account, Type: kind, TargetType: in.TargetType, Created: v.Created,
		Default: 1, Latest: 1, Last: 1, Tags: in.Tags, DisplayName: in.DisplayName}
	err = s.opt.DB.Update(func(tx *store.Tx) error {
		if _, ok, err := Table.Get(tx, d.Name); err != nil || ok {
			if ok {
				err = api.Errorf("DocumentAlreadyExists", "there is a document %s already: update it, or choose another name", d.Name)
			}
			return err
		}
		n := 0
		err := Table.Scan(tx, "", "", func(string, Document) (bool, error) { n++; return true, nil })
		if err != nil {
			return err
		}
		if n >= maxDocuments {
			return api.Errorf("DocumentLimitExceeded", "there are %d documents, the limit: delete some first", n)
		}
		if err := s.keep(tx, more); err != nil {
			return err
		}
		return put(tx, d, v)
	})
	if err != nil {
		s.discard(more)
	}
	return ssm.DocumentDescriptionOutput{DocumentDescription: describe(d, v)}, err
}

func reserved(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "aws") || strings.HasPrefix(name, "amazon") || strings.HasPrefix(name, "amzn")
}

func put(tx *store.Tx, d Document, v Version) error {
	if err := Versions.Put(tx, versionKey(d.Name, v.Number), v); err != nil {
		return err
	}
	return Table.Put(tx, d.Name, d)
}

// own returns an operator's document; those of AWS cannot be changed.
func (s *Service) own(tx *store.Tx, name string) (Document, error) {
	if _, ok := s.owned[name]; ok {
		return Document{}, api.Errorf("InvalidDocumentOperation", "%s is owned by Amazon and cannot be changed", name)
	}
	return s.document(tx, name)
}

func (s *Service) update(_ context.Context, _ api.Caller, in ssm.UpdateDocumentInput) (ssm.DocumentDescriptionOutput, error) {
	var d Document
	var v Version
	var more attached
	now := s.opt.Clock.Now()
	err := s.opt.DB.View(func(tx *store.Tx) (err error) {
		if d, err = s.own(tx, in.Name); err != nil {
			return err
		}
		v, err = newVersion(d.Type, cmp.Or(in.DocumentFormat, "JSON"), in.Content)
		return err
	})
	if err == nil { // copies may be large: they are made before the transaction
		more, err = s.attach(d.Type, v, in.Attachments)
	}
	if err != nil {
		return ssm.DocumentDescriptionOutput{}, err
	}
	v.VersionName, v.Created, v.Attachments = in.VersionName, now, more.list
	err = s.opt.DB.Update(func(tx *store.Tx) (err error) {
		kind := d.Type
		if d, err = s.own(tx, in.Name); err != nil {
			return err
		}
		if d.Type != kind {
			return api.Errorf("InvalidDocumentOperation", "%s has just become a document of another type: try again", d.Name)
		}
		if in.DocumentVersion != "" && in.DocumentVersion != "$LATEST" && in.DocumentVersion != strconv.Itoa(d.Latest) {
			return api.Errorf("InvalidDocumentVersion", "DocumentVersion is %s, only the latest can be updated, which is %d", in.DocumentVersion, d.Latest)
		}
		if err := s.distinct(tx, d, v, in.VersionName); err != nil {
			return err
		}
		d.Last++
		d.Latest = d.Last
		v.Number = d.Last
		d.DisplayName = cmp.Or(in.DisplayName, d.DisplayName)
		d.TargetType = cmp.Or(in.TargetType, d.TargetType)
		if err := s.keep(tx, more); err != nil {
			return err
		}
		return put(tx, d, v)
	})
	if err != nil {
		s.discard(more)
		return ssm.DocumentDescriptionOutput{}, err
	}
	return ssm.DocumentDescriptionOutput{DocumentDescription: describe(d, v)}, nil
}

// distinct refuses a version that says nothing new, or takes a taken name.
func (s *Service) distinct(tx *store.Tx, d Document, v Version, versionName string) error {
	all, err := s.versions(tx, d)
	if err != nil {
		return err
	}
	if len(all) >= maxVersions {
		return api.Errorf("DocumentVersionLimitExceeded", "%s has %d versions, the limit: delete some first", d.Name, len(all))
	}
	for _, old := range all {
		if old.Number == d.Latest && old.Hash == v.Hash && old.Format == v.Format && sameFiles(old, v) {
			return api.Errorf("DuplicateDocumentContent", "Content is that of version %d, the latest", old.Number)
		}
		if versionName != "" && old.VersionName == versionName {
			return api.Errorf("DuplicateDocumentVersionName", "VersionName %s is that of version %d", versionName, old.Number)
		}
	}
	return nil
}

// sameFiles says whether two versions have the same attached.
func sameFiles(a, b Version) bool {
	return slices.EqualFunc(a.Attachments, b.Attachments, func(a, b Attachment) bool { return a.Name == b.Name && a.Hash == b.Hash })
}

func (s *Service) setDefault(_ context.Context, _ api.Caller, in ssm.UpdateDocumentDefaultVersionInput) (ssm.UpdateDocumentDefaultVersionOutput, error) {
	var out ssm.UpdateDocumentDefaultVersionOutput
	err := s.opt.DB.Update(func(tx *store.Tx) error {
		if _, ok := s.owned[in.Name]; ok {
			// This operation has no InvalidDocumentOperation.
			return api.Errorf("InvalidDocument", "%s is owned by Amazon and cannot be changed", in.Name)
		}
		d, v, err := s.find(tx, in.Name, in.DocumentVersion, "")
		if err != nil {
			return err
		}
		d.Default = v.Number
		out.Description = ssm.DefaultVersionDescription{Name: d.Name, DefaultVersion: strconv.Itoa(v.Number), DefaultVersionName: v.VersionName}
		return Table.Put(tx, d.Name, d)
	})
	return out, err
}

// delete removes a document, or one version that is not its default. Force
// is for types of documents that are not kept here: it changes nothing.
func (s *Service) delete(_ context.Context, _ api.Caller, in ssm.DeleteDocumentInput) (ssm.Empty, error) {
	var stray []string
	err := s.opt.DB.Update(func(tx *store.Tx) error {
		stray = nil
		d, err := s.own(tx, in.Name)
		if err != nil {
			return err
		}
		all, err := s.versions(tx, d)
		if err != nil {
			return err
		}
		if in.DocumentVersion != "" || in.VersionName != "" {
			stray, err = s.deleteVersion(tx, d, all, in)
			return err
		}
		for _, v := range all {
			blobs, err := s.drop(tx, d, v)
			if err != nil {
				return err
			}
			stray = append(stray, blobs...)
		}
		return Table.Delete(tx, d.Name)
	})
	if err == nil && len(stray) > 0 {
		s.opt.Files.Discard(stray...)
	}
	return ssm.Empty{}, err
}

// drop deletes a version and what is attached to it; stray is for Files.Discard.
func (s *Service) drop(tx *store.Tx, d Document, v Version) (stray []string, err error) {
	if stray, err = s.unkeep(tx, v); err != nil {
		return nil, err
	}
	return stray, Versions.Delete(tx, versionKey(d.Name, v.Number))
}

func (s *Service) deleteVersion(tx *store.Tx, d Document, all []Version, in ssm.DeleteDocumentInput) (stray []string, err error) {
	v, err := s.version(tx, d, in.DocumentVersion, in.VersionName)
	if err != nil {
		// This operation has no InvalidDocumentVersion.
		return nil, api.Errorf("InvalidDocumentOperation", "%s", api.ErrorOf(err).Message)
	}
	if v.Number == d.Default {
		return nil, api.Errorf("InvalidDocumentOperation", "version %d is the default of %s: make another the default first, or delete the document", v.Number, d.Name)
	}
	if v.Number == d.Latest {
		d.Latest = all[len(all)-2].Number // there are two: v and the default
	}
	if stray, err = s.drop(tx, d, v); err != nil {
		return nil, err
	}
	return stray, Table.Put(tx, d.Name, d)
}
