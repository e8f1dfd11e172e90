package documents

import (
	"cmp"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

// Limits of documents.
const (
	maxContent   = 64 << 10
	maxDocuments = 500
	maxVersions  = 1000
	defaultPage  = 50
	statusActive = "Active"
	hashType     = "Sha256"
)

// Options are what a Service needs.
type Options struct {
	DB      *store.DB
	Clock   clock.Clock
	Log     *slog.Logger
	Account string
	Files   Files
}

// Service is the document store. Safe for concurrent use.
type Service struct {
	opt   Options
	owned map[string]owned
}

// New returns the service.
func New(o Options) (*Service, error) {
	all, err := ownedDocuments()
	if err != nil {
		return nil, err
	}
	return &Service{opt: o, owned: all}, nil
}

// Ops are the operations of this package.
func (s *Service) Ops() api.Ops {
	operator, node := []api.Kind{api.Operator}, []api.Kind{api.Operator, api.Node}
	return api.Ops{
		"AmazonSSM.CreateDocument":               {Allow: operator, Handle: api.Strict(s.create)},
		"AmazonSSM.UpdateDocument":               {Allow: operator, Handle: api.Strict(s.update)},
		"AmazonSSM.UpdateDocumentDefaultVersion": {Allow: operator, Handle: api.Strict(s.setDefault)},
		"AmazonSSM.DeleteDocument":               {Allow: operator, Handle: api.Strict(s.delete)},
		"AmazonSSM.GetDocument":                  {Allow: node, Handle: api.Shared(s.get)},
		"AmazonSSM.DescribeDocument":             {Allow: node, Handle: api.Shared(s.describe)},
		"AmazonSSM.ListDocuments":                {Allow: operator, Handle: api.Strict(s.list)},
		"AmazonSSM.GetManifest":                  {Allow: node, Handle: api.Lenient(s.getManifest)},
		"AmazonSSM.ListDocumentVersions":         {Allow: operator, Handle: api.Strict(s.listVersions)},
		"AmazonSSM.DescribeDocumentPermission":   {Allow: operator, Handle: api.Strict(s.permission)},
		"AmazonSSM.ModifyDocumentPermission":     {Allow: operator, Handle: api.Strict(s.share)},
	}
}

// Resolved is a version of a document, ready to be sent to a node.
type Resolved struct {
	Name      string // without the ARN around it
	Version   int
	Owner     string
	Type      string   // Command, Session, Package
	Content   []byte   // JSON
	Platforms []string // "Linux", "Windows", "MacOS"
	Hash      string   // hex SHA-256 of the content as it was given
}

// Resolve finds a version of a document by name or ARN. The version is a
// number, $LATEST, or $DEFAULT, which "" means too. Its errors are the api
// errors InvalidDocument and InvalidDocumentVersion.
func (s *Service) Resolve(tx *store.Tx, name, version string) (Resolved, error) {
	d, v, err := s.find(tx, name, version, "")
	if err != nil {
		return Resolved{}, err
	}
	content, err := convert(d.Type, v.Format, "JSON", v.Content)
	if err != nil {
		return Resolved{}, err
	}
	return Resolved{Name: d.Name, Version: v.Number, Owner: d.Owner, Type: d.Type, Content: []byte(content), Platforms: v.PlatformTypes, Hash: v.Hash}, nil
}

// find returns the document of a name or ARN and one of its versions.
func (s *Service) find(tx *store.Tx, name, version, versionName string) (Document, Version, error) {
	d, err := s.document(tx, name)
	if err != nil {
		return Document{}, Version{}, err
	}
	v, err := s.version(tx, d, version, versionName)
	return d, v, err
}

func (s *Service) document(tx *store.Tx, name string) (Document, error) {
	plain, anybodys, ok := s.plainName(name)
	if !ok {
		return Document{}, noDocument(name)
	}
	if o, ok := s.owned[plain]; ok {
		return o.Document, nil
	}
	d, ok, err := Table.Get(tx, plain)
	if err == nil && (!ok || anybodys) {
		err = noDocument(name)
	}
	return d, err
}

// plainName is the name inside an ARN of ours or of AWS, and whether the ARN
// is of AWS, which has no account. Other names are plain.
func (s *Service) plainName(name string) (plain string, anybodys, ok bool) {
	if !strings.HasPrefix(name, "arn:") {
		return name, false, !strings.ContainsAny(name, ":/")
	}
	p := strings.SplitN(name, ":", 6)
	if len(p) != 6 || p[2] != "ssm" || p[4] != "" && p[4] != s.opt.Account {
		return "", false, false
	}
	plain, ok = strings.CutPrefix(p[5], "document/")
	return plain, p[4] == "", ok
}

// version finds a version by number or word and by name; both must agree.
func (s *Service) version(tx *store.Tx, d Document, version, versionName string) (Version, error) {
	if version == "" && versionName != "" {
		all, err := s.versions(tx, d)
		if err != nil {
			return Version{}, err
		}
		for _, v := range all {
			if v.VersionName == versionName {
				return v, nil
			}
		}
		return Version{}, api.Errorf("InvalidDocumentVersion", "the document %s has no version named %s", d.Name, versionName)
	}
	number := d.Default
	switch version {
	case "", "$DEFAULT":
	case "$LATEST":
		number = d.Latest
	default:
		var err error
		if number, err = strconv.Atoi(version); err != nil {
			return Version{}, noVersion(d, version)
		}
	}
	v, ok, err := s.numbered(tx, d, number)
	if err == nil && (!ok || versionName != "" && v.VersionName != versionName) {
		err = noVersion(d, cmp.Or(version, "$DEFAULT"))
	}
	return v, err
}

func (s *Service) numbered(tx *store.Tx, d Document, number int) (Version, bool, error) {
	if o, ok := s.owned[d.Name]; ok {
		return o.version, number == o.version.Number, nil
	}
	return Versions.Get(tx, versionKey(d.Name, number))
}

// versions are all of a document, the oldest first.
func (s *Service) versions(tx *store.Tx, d Document) ([]Version, error) {
	if o, ok := s.owned[d.Name]; ok {
		return []Version{o.version}, nil
	}
	var all []Version
	err := Versions.Scan(tx, d.Name+"/", "", func(_ string, v Version) (bool, error) {
		all = append(all, v)
		return true, nil
	})
	return all, err
}

// documents are AWS's and the operators', by name.
func (s *Service) documents(tx *store.Tx) ([]Document, error) {
	var all []Document
	for _, o := range s.owned {
		all = append(all, o.Document)
	}
	err := Table.Scan(tx, "", "", func(_ string, d Document) (bool, error) {
		all = append(all, d)
		return true, nil
	})
	slices.SortFunc(all, func(a, b Document) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

// Tags returns a document's tags, and false when there is no such document.
func (s *Service) Tags(tx *store.Tx, name string) ([]ssm.Tag, bool, error) {
	if o, ok := s.owned[name]; ok {
		return o.Tags, true, nil
	}
	d, ok, err := Table.Get(tx, name)
	return d.Tags, ok, err
}

// SetTags replaces an operator's document's tags; AWS-owned ones have none.
func (s *Service) SetTags(tx *store.Tx, name string, tags []ssm.Tag) error {
	if _, ok := s.owned[name]; ok {
		return api.Errorf("InvalidResourceId", "%s is owned by Amazon and cannot be tagged", name)
	}
	d, ok, err := Table.Get(tx, name)
	if err != nil || !ok {
		return err
	}
	d.Tags = tags
	return Table.Put(tx, name, d)
}

func noDocument(name string) error {
	return api.Errorf("InvalidDocument", "there is no document %q here", api.Clip(name, 128))
}

func noVersion(d Document, version string) error {
	return api.Errorf("InvalidDocumentVersion", "the document %s has no version %s", d.Name, api.Clip(version, 128))
}
