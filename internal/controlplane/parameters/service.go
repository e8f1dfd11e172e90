package parameters

import (
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

// Codes of refusals that several operations have.
const (
	codeNotFound        = "ParameterNotFound"
	codeVersionNotFound = "ParameterVersionNotFound"
	codeKey             = "InvalidKeyId"
)

const (
	maxName     = 1011 // bytes of an ARN
	maxLevels   = 15
	defaultPage = 50
)

// DefaultKey seals SecureStrings that name no key.
const DefaultKey = "alias/aws/ssm"

// Keys seals and opens SecureStrings in the name of who asks; *kms.Service. Errors are
// api errors.
type Keys interface {
	// Provide makes the key of an alias that the service itself owns, if it
	// is not there yet.
	Provide(tx *store.Tx, alias, description string) error
	Seal(tx *store.Tx, c api.Caller, ref string, plain []byte, context map[string]string) (blob []byte, arn string, err error)
	Open(tx *store.Tx, c api.Caller, ref string, blob []byte, context map[string]string) (plain []byte, arn string, err error)
}

// Options are what a Service needs.
type Options struct {
	DB      *store.DB
	Keys    Keys
	Clock   clock.Clock
	Log     *slog.Logger
	Region  string
	Account string
}

// Service is the parameter store. Safe for concurrent use.
type Service struct{ opt Options }

// New returns the service.
func New(o Options) *Service { return &Service{o} }

// Ops are the operations of this package. Nodes may read by name, as AWS's
// policy for them has it.
func (s *Service) Ops() api.Ops {
	operator, node := []api.Kind{api.Operator}, []api.Kind{api.Operator, api.Node}
	return api.Ops{
		"AmazonSSM.PutParameter":            {Allow: operator, Handle: api.Strict(s.put)},
		"AmazonSSM.GetParameter":            {Allow: node, Handle: api.Shared(s.get)},
		"AmazonSSM.GetParameters":           {Allow: node, Handle: api.Shared(s.getSeveral)},
		"AmazonSSM.GetParametersByPath":     {Allow: operator, Handle: api.Strict(s.getByPath)},
		"AmazonSSM.GetParameterHistory":     {Allow: operator, Handle: api.Strict(s.history)},
		"AmazonSSM.DescribeParameters":      {Allow: operator, Handle: api.Strict(s.describe)},
		"AmazonSSM.LabelParameterVersion":   {Allow: operator, Handle: api.Strict(s.label)},
		"AmazonSSM.UnlabelParameterVersion": {Allow: operator, Handle: api.Strict(s.unlabel)},
		"AmazonSSM.DeleteParameter":         {Allow: operator, Handle: api.Strict(s.delete)},
		"AmazonSSM.DeleteParameters":        {Allow: operator, Handle: api.Strict(s.deleteSeveral)},
	}
}

// arn is the ARN of a parameter. It has one slash, also where the name has none.
func (s *Service) arn(name string) string {
	return fmt.Sprintf("arn:aws:ssm:%s:%s:parameter/%s", s.opt.Region, s.opt.Account, strings.TrimPrefix(name, "/"))
}

// sealed is what a parameter's ciphertext is bound to.
func (s *Service) sealed(name string) map[string]string {
	return map[string]string{"PARAMETER_ARN": s.arn(name)}
}

var nameForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9_.\-/]+$`) })

// checkName refuses names that no parameter can have.
func (s *Service) checkName(name string) error {
	bare := strings.TrimPrefix(name, "/")
	low := strings.ToLower(bare)
	switch {
	case !nameForm().MatchString(name):
		return api.Errorf(api.CodeValidation, "Name is %q, needs letters, digits and _.-, and / between the levels of a hierarchy", api.Clip(name, 128))
	case strings.Contains(bare, "/") && bare == name:
		return api.Errorf(api.CodeValidation, "Name is %s: a name with levels begins with /", api.Clip(name, 128))
	case bare == "" || strings.HasSuffix(name, "/") || strings.Contains(name, "//"):
		return api.Errorf(api.CodeValidation, "Name is %s: a level of it is empty", api.Clip(name, 128))
	case strings.HasPrefix(low, "aws") || strings.HasPrefix(low, "ssm"):
		return api.Errorf(api.CodeValidation, "Name is %s: names that begin with aws or ssm are reserved", api.Clip(name, 128))
	case strings.Count(name, "/") > maxLevels:
		return api.Errorf("HierarchyLevelLimitExceededException", "Name has %d levels, at most %d are allowed", strings.Count(name, "/"), maxLevels)
	case len(s.arn(name)) > maxName:
		return api.Errorf(api.CodeValidation, "Name makes an ARN of %d characters, at most %d are allowed", len(s.arn(name)), maxName)
	}
	return nil
}

// lookUp returns the parameter of a name or ARN.
func (s *Service) lookUp(tx *store.Tx, name string) (Parameter, error) {
	names := []string{name}
	if bare, ok := strings.CutPrefix(name, s.arn("")); ok {
		names = []string{"/" + bare, bare} // an ARN does not tell
	}
	for _, n := range names {
		if p, ok, err := table.Get(tx, n); err != nil || ok {
			return p, err
		}
	}
	return Parameter{}, noParameter(name)
}

// find returns the version that a reference means: a name or ARN, which :n or
// :label may follow.
func (s *Service) find(tx *store.Tx, ref string) (p Parameter, v Version, selector string, err error) {
	name, arn := ref, ""
	if bare, ok := strings.CutPrefix(ref, s.arn("")); ok {
		name, arn = bare, s.arn("")
	}
	if i := strings.IndexByte(name, ':'); i >= 0 {
		name, selector = name[:i], name[i:]
	}
	if p, err = s.lookUp(tx, arn+name); err != nil {
		return p, v, selector, err
	}
	if selector == "" {
		v, err = latest(tx, p)
		return p, v, selector, err
	}
	v, ok, err := pick(tx, p, selector[1:])
	if err == nil && !ok {
		err = api.Errorf(codeVersionNotFound, "the parameter %s has no version or label %s", p.Name, api.Clip(selector[1:], 128))
	}
	return p, v, selector, err
}

// pick finds a version by its number or label; labels never begin with a digit.
func pick(tx *store.Tx, p Parameter, selector string) (Version, bool, error) {
	if n, err := strconv.Atoi(selector); err == nil {
		return numbered(tx, p, int64(n))
	}
	list, err := all(tx, p)
	for _, v := range list {
		if v.has(selector) {
			return v, true, nil
		}
	}
	return Version{}, false, err
}

func numbered(tx *store.Tx, p Parameter, n int64) (Version, bool, error) {
	if n < int64(p.Oldest) || n > int64(p.Latest) {
		return Version{}, false, nil
	}
	return versions.Get(tx, versionKey(p.Name, int(n)))
}

// Tags returns a parameter's tags, and false when there is no such one.
func (s *Service) Tags(tx *store.Tx, name string) ([]ssm.Tag, bool, error) {
	p, ok, err := table.Get(tx, name)
	return p.Tags, ok, err
}

// SetTags replaces the tags of a parameter that is there.
func (s *Service) SetTags(tx *store.Tx, name string, tags []ssm.Tag) error {
	p, ok, err := table.Get(tx, name)
	if err != nil || !ok {
		return err
	}
	p.Tags = tags
	return table.Put(tx, name, p)
}
