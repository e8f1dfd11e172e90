package documents

import (
	"context"
	"regexp"
	"strings"
	"sync"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

// sharing is the only type of permission that there is.
const sharing = "Share"

var accountForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([aA][lL][lL]|[0-9]{12})$`) })

// permission tells with whom a document is shared: there is one account here,
// so it is nobody.
func (s *Service) permission(_ context.Context, _ api.Caller, in ssm.DescribeDocumentPermissionInput) (ssm.DescribeDocumentPermissionOutput, error) {
	out := ssm.DescribeDocumentPermissionOutput{AccountIds: []string{}, AccountSharingInfoList: []ssm.AccountSharingInfo{}}
	err := s.sharable(in.Name, in.PermissionType, "InvalidDocumentOperation")
	if err == nil && in.NextToken != "" {
		err = api.Errorf(api.CodeNextToken, "NextToken is not one that DescribeDocumentPermission gave: ask for the first page without it")
	}
	return out, err
}

// share refuses to share with accounts that there are none of here. The owner
// has the document already, and everybody else can be removed.
func (s *Service) share(_ context.Context, _ api.Caller, in ssm.ModifyDocumentPermissionInput) (ssm.Empty, error) {
	for member, ids := range map[string][]string{"AccountIdsToAdd": in.AccountIdsToAdd, "AccountIdsToRemove": in.AccountIdsToRemove} {
		for _, id := range ids {
			if !accountForm().MatchString(id) {
				return ssm.Empty{}, api.Errorf(api.CodeValidation, "%s has %q, needs the 12 digits of an account, or all", member, api.Clip(id, 128))
			}
		}
	}
	if len(in.AccountIdsToAdd)+len(in.AccountIdsToRemove) == 0 {
		return ssm.Empty{}, api.Errorf(api.CodeValidation, "AccountIdsToAdd or AccountIdsToRemove is required")
	}
	// This operation has no InvalidDocumentOperation.
	if err := s.sharable(in.Name, in.PermissionType, "InvalidDocument"); err != nil {
		return ssm.Empty{}, err
	}
	for _, id := range in.AccountIdsToAdd {
		if id != s.opt.Account {
			return ssm.Empty{}, api.Errorf("DocumentPermissionLimit", "%s cannot be shared with %s: this control plane has one account, %s", in.Name, strings.ToLower(id), s.opt.Account)
		}
	}
	return ssm.Empty{}, nil
}

// sharable refuses documents that are not an operator's, with the code that
// the operation has for those of AWS.
func (s *Service) sharable(name, permission, owned string) error {
	if permission != sharing {
		return api.Errorf("InvalidPermissionType", "PermissionType is %q: %s is the only one", api.Clip(permission, 128), sharing)
	}
	return s.opt.DB.View(func(tx *store.Tx) error {
		d, err := s.document(tx, name)
		if err == nil && d.Owner == Amazon {
			err = api.Errorf(owned, "%s is owned by Amazon: its permissions are not yours", d.Name)
		}
		return err
	})
}
