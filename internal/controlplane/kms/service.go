// Package kms is the control plane's key service: keys, their aliases, and
// sealing with them. It really seals, with AES-256-GCM and the encryption
// context as associated data; the keys lie in the store and never leave it.
package kms

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/kms"
)

// Limits of keys and aliases.
const (
	maxKeys    = 10000
	maxAliases = 50 // of one key
)

// Options are what a Service needs.
type Options struct {
	DB      *store.DB
	Clock   clock.Clock
	Log     *slog.Logger
	Region  string
	Account string
}

// Service is the key service. Safe for concurrent use.
type Service struct{ opt Options }

// New returns the service.
func New(o Options) *Service { return &Service{o} }

// Ops are the operations of this package. Nodes may do what a session needs.
func (s *Service) Ops() api.Ops {
	operator, node := []api.Kind{api.Operator}, []api.Kind{api.Operator, api.Node}
	ops := api.Ops{
		"CreateKey":                       {Allow: operator, Handle: api.Strict(s.createKey)},
		"DescribeKey":                     {Allow: operator, Handle: api.Strict(s.describeKey)},
		"ListKeys":                        {Allow: operator, Handle: api.Strict(s.listKeys)},
		"ListResourceTags":                {Allow: operator, Handle: api.Strict(s.listTags)},
		"EnableKey":                       {Allow: operator, Handle: api.Strict(s.enable)},
		"DisableKey":                      {Allow: operator, Handle: api.Strict(s.disable)},
		"ScheduleKeyDeletion":             {Allow: operator, Handle: api.Strict(s.schedule)},
		"CancelKeyDeletion":               {Allow: operator, Handle: api.Strict(s.cancel)},
		"PutKeyPolicy":                    {Allow: operator, Handle: api.Strict(s.putPolicy)},
		"GetKeyPolicy":                    {Allow: operator, Handle: api.Strict(s.getPolicy)},
		"ListKeyPolicies":                 {Allow: operator, Handle: api.Strict(s.listPolicies)},
		"CreateAlias":                     {Allow: operator, Handle: api.Strict(s.createAlias)},
		"UpdateAlias":                     {Allow: operator, Handle: api.Strict(s.updateAlias)},
		"DeleteAlias":                     {Allow: operator, Handle: api.Strict(s.deleteAlias)},
		"ListAliases":                     {Allow: operator, Handle: api.Strict(s.listAliases)},
		"GenerateDataKeyWithoutPlaintext": {Allow: operator, Handle: api.Strict(s.generateSealed)},
		"ReEncrypt":                       {Allow: operator, Handle: api.Strict(s.reEncrypt)},
		kms.OpGenerateDataKey:             {Allow: node, Handle: api.Shared(s.generate)},
		"Encrypt":                         {Allow: node, Handle: api.Shared(s.encrypt)},
		kms.OpDecrypt:                     {Allow: node, Handle: api.Shared(s.decrypt)},
	}
	full := api.Ops{}
	for name, op := range ops {
		full[kms.TargetPrefix+"."+name] = op
	}
	return full
}

func (s *Service) arn(resource string) string {
	return fmt.Sprintf("arn:aws:kms:%s:%s:%s", s.opt.Region, s.opt.Account, resource)
}

func (s *Service) keyARN(id string) string { return s.arn("key/" + id) }

// find returns the key that a text means: its id or ARN, an alias or an
// alias's ARN.
func (s *Service) find(tx *store.Tx, ref string) (Key, error) {
	if strings.HasPrefix(ref, "arn:") {
		resource, ok := strings.CutPrefix(ref, s.arn(""))
		if !ok {
			return Key{}, api.Errorf(kms.CodeNotFound, "%s is not the ARN of a key of region %s and account %s", api.Clip(ref, 128), s.opt.Region, s.opt.Account)
		}
		id, isKey := strings.CutPrefix(resource, "key/")
		if !isKey && !strings.HasPrefix(resource, aliasPrefix) {
			return Key{}, api.Errorf(kms.CodeNotFound, "%s is the ARN of neither a key nor an alias", api.Clip(ref, 128))
		}
		if ref = resource; isKey {
			ref = id
		}
	}
	id := ref
	if strings.HasPrefix(ref, aliasPrefix) {
		a, ok, err := aliases.Get(tx, ref)
		if err == nil && !ok {
			err = api.Errorf(kms.CodeNotFound, "Alias %s is not found.", api.Clip(s.arn(ref), 128))
		}
		if err != nil {
			return Key{}, err
		}
		id = a.KeyID
	}
	return s.get(tx, id)
}

// findKey is find for operations on the key itself, which take no aliases.
func (s *Service) findKey(tx *store.Tx, ref string) (Key, error) {
	if strings.HasPrefix(strings.TrimPrefix(ref, s.arn("")), aliasPrefix) {
		return Key{}, api.Errorf("InvalidArnException", "%s is an alias: this operation needs the key's id or ARN", api.Clip(ref, 128))
	}
	return s.find(tx, ref)
}

// get returns a key by its id. One whose time has come is gone.
func (s *Service) get(tx *store.Tx, id string) (Key, error) {
	if uuid.Validate(id) != nil || len(id) != 36 {
		return Key{}, api.Errorf(kms.CodeNotFound, "Invalid keyId '%s'", api.Clip(id, 128))
	}
	k, ok, err := keys.Get(tx, id)
	if err == nil && (!ok || k.over(s.opt.Clock.Now())) {
		err = api.Errorf(kms.CodeNotFound, "Key '%s' does not exist", s.keyARN(id))
	}
	return k, err
}

// usable refuses keys that are not to be used now.
func (s *Service) usable(k Key) error {
	switch k.State {
	case disabled:
		return api.Errorf(kms.CodeDisabled, "%s is disabled.", s.keyARN(k.ID))
	case pendingDeletion:
		return s.pending(k)
	}
	return nil
}

func (s *Service) pending(k Key) error {
	return api.Errorf(kms.CodeInvalidState, "%s is pending deletion.", s.keyARN(k.ID))
}

// marked gives a refusal of a page token the code that this service has for it.
func marked(err error) error {
	var e *api.Error
	if errors.As(err, &e) && e.Code == api.CodeNextToken {
		return api.Errorf("InvalidMarkerException", "Marker is not one that this operation gave: ask for the first page without it")
	}
	return err
}
