package kms

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/kms"
)

// maxContext bounds an encryption context in bytes, as AWS does.
const maxContext = 8192

// user is who uses a key, and for what.
type user struct {
	api.Caller
	action string // without kms: in front
}

// Seal seals plain in the caller's name with a key for the given context, for a
// service that keeps what it seals, and names the key's ARN. Its errors are api
// errors, as those of Open.
func (s *Service) Seal(tx *store.Tx, c api.Caller, ref string, plain []byte, context map[string]string) (blob []byte, arn string, err error) {
	return s.seal(tx, user{c, "Encrypt"}, ref, plain, context)
}

// Open opens in the caller's name what was sealed for the same context. A ref
// other than "" must mean the blob's own key.
func (s *Service) Open(tx *store.Tx, c api.Caller, ref string, blob []byte, context map[string]string) (plain []byte, arn string, err error) {
	return s.unseal(tx, user{c, kms.OpDecrypt}, ref, blob, context)
}

func (s *Service) seal(tx *store.Tx, u user, ref string, plain []byte, context map[string]string) (blob []byte, arn string, err error) {
	k, secret, err := s.use(tx, u, ref, context)
	if err != nil {
		return nil, "", err
	}
	blob, err = sealBlob(k.ID, secret, plain, context)
	return blob, s.keyARN(k.ID), err
}

func (s *Service) unseal(tx *store.Tx, u user, ref string, blob []byte, context map[string]string) (plain []byte, arn string, err error) {
	if ref != "" {
		want, err := s.find(tx, ref)
		if err != nil {
			return nil, "", err
		}
		if id, err := blobKey(blob); err == nil && id != want.ID {
			return nil, "", api.Errorf(kms.CodeIncorrectKey, "KeyId is %s, but the ciphertext was sealed with another key", api.Clip(ref, 128))
		}
	}
	id, err := blobKey(blob)
	if err != nil {
		return nil, "", api.Errorf(kms.CodeInvalidCiphertext, "%s", err)
	}
	k, secret, err := s.use(tx, u, id, context)
	if api.ErrorOf(err).Code == kms.CodeNotFound {
		return nil, "", api.Errorf(api.CodeAccessDenied, "The ciphertext refers to a key that does not exist here: it was deleted, or is another control plane's")
	}
	if err != nil {
		return nil, "", err
	}
	plain, err = openBlob(secret, blob, context)
	if errors.Is(err, errBlob) {
		return nil, "", api.Errorf(kms.CodeInvalidCiphertext, "%s", err)
	}
	return plain, s.keyARN(k.ID), err
}

// use returns a key that u may use and its material.
func (s *Service) use(tx *store.Tx, u user, ref string, context map[string]string) (Key, []byte, error) {
	n := 0
	for name, value := range context {
		n += len(name) + len(value)
	}
	if n > maxContext {
		return Key{}, nil, api.Errorf(api.CodeValidation, "EncryptionContext has %d bytes, needs at most %d", n, maxContext)
	}
	k, err := s.find(tx, ref)
	if err == nil {
		err = s.lets(u.Caller, k, u.action)
	}
	if err == nil {
		err = s.usable(k)
	}
	if err != nil {
		return Key{}, nil, err
	}
	secret, ok, err := material.Get(tx, k.ID)
	if err == nil && !ok {
		err = fmt.Errorf("the material of key %s is missing from the store", k.ID)
	}
	return k, secret, err
}

// permitted refuses a node all but what is sealed for itself, and what there is
// none of here.
func permitted(c api.Caller, context map[string]string, algorithm string, grants []string) error {
	switch target := context[kms.ContextTargetID]; {
	case c.MayActFor(target) != nil:
		return api.Errorf(api.CodeAccessDenied, "%s is not authorized to use keys for %q: its credentials are good for what has its own id as %s in the EncryptionContext",
			c, api.Clip(target, 128), kms.ContextTargetID)
	case len(grants) > 0:
		return api.Errorf("InvalidGrantTokenException", "GrantTokens are not known here: there are no grants")
	case algorithm != "" && algorithm != spec:
		return api.Errorf("InvalidKeyUsageException", "EncryptionAlgorithm is %s: the keys here are for %s", algorithm, spec)
	}
	return nil
}

// dry is the answer to a rehearsal that would have gone well.
func dry(on bool) error {
	if !on {
		return nil
	}
	return &api.Error{Code: "DryRunOperationException", Status: http.StatusPreconditionFailed, Message: "The request would have succeeded, but the DryRun option is set."}
}

func (s *Service) generate(_ context.Context, c api.Caller, in kms.GenerateDataKeyInput) (kms.GenerateDataKeyOutput, error) {
	return s.dataKey(c, kms.OpGenerateDataKey, in)
}

func (s *Service) dataKey(c api.Caller, action string, in kms.GenerateDataKeyInput) (kms.GenerateDataKeyOutput, error) {
	var out kms.GenerateDataKeyOutput
	var size int
	switch {
	case (in.KeySpec == "") == (in.NumberOfBytes == nil):
		return out, api.Errorf(api.CodeValidation, "Please specify either number of bytes or key spec.")
	case in.NumberOfBytes != nil:
		size = *in.NumberOfBytes
	case in.KeySpec == "AES_128":
		size = 16
	default:
		size = 32
	}
	if err := permitted(c, in.EncryptionContext, "", in.GrantTokens); err != nil {
		return out, err
	}
	out.Plaintext = make([]byte, size)
	_, _ = rand.Read(out.Plaintext) // never fails
	err := s.opt.DB.View(func(tx *store.Tx) (err error) {
		out.CiphertextBlob, out.KeyId, err = s.seal(tx, user{c, action}, in.KeyId, out.Plaintext, in.EncryptionContext)
		return err
	})
	if err == nil {
		err = dry(in.DryRun)
	}
	return out, err
}

func (s *Service) generateSealed(_ context.Context, c api.Caller, in kms.GenerateDataKeyInput) (kms.GenerateDataKeyOutput, error) {
	if in.KeySpec == "" && in.NumberOfBytes == nil {
		in.KeySpec = "AES_256"
	}
	out, err := s.dataKey(c, "GenerateDataKeyWithoutPlaintext", in)
	out.Plaintext = nil
	return out, err
}

func (s *Service) encrypt(_ context.Context, c api.Caller, in kms.EncryptInput) (kms.EncryptOutput, error) {
	out := kms.EncryptOutput{EncryptionAlgorithm: spec}
	if err := permitted(c, in.EncryptionContext, in.EncryptionAlgorithm, in.GrantTokens); err != nil {
		return out, err
	}
	err := s.opt.DB.View(func(tx *store.Tx) (err error) {
		out.CiphertextBlob, out.KeyId, err = s.seal(tx, user{c, "Encrypt"}, in.KeyId, in.Plaintext, in.EncryptionContext)
		return err
	})
	if err == nil {
		err = dry(in.DryRun)
	}
	return out, err
}

func (s *Service) decrypt(_ context.Context, c api.Caller, in kms.DecryptInput) (kms.DecryptOutput, error) {
	out := kms.DecryptOutput{EncryptionAlgorithm: spec}
	if err := permitted(c, in.EncryptionContext, in.EncryptionAlgorithm, in.GrantTokens); err != nil {
		return out, err
	}
	err := s.opt.DB.View(func(tx *store.Tx) (err error) {
		out.Plaintext, out.KeyId, err = s.unseal(tx, user{c, kms.OpDecrypt}, in.KeyId, in.CiphertextBlob, in.EncryptionContext)
		return err
	})
	if err == nil {
		err = dry(in.DryRun)
	}
	return out, err
}

func (s *Service) reEncrypt(_ context.Context, c api.Caller, in kms.ReEncryptInput) (kms.ReEncryptOutput, error) {
	out := kms.ReEncryptOutput{SourceEncryptionAlgorithm: spec, DestinationEncryptionAlgorithm: spec}
	for _, algorithm := range []string{in.SourceEncryptionAlgorithm, in.DestinationEncryptionAlgorithm} {
		if err := permitted(c, nil, algorithm, in.GrantTokens); err != nil {
			return out, err
		}
	}
	err := s.opt.DB.View(func(tx *store.Tx) error {
		plain, from, err := s.unseal(tx, user{c, "ReEncryptFrom"}, in.SourceKeyId, in.CiphertextBlob, in.SourceEncryptionContext)
		if err != nil {
			return err
		}
		out.SourceKeyId = from
		out.CiphertextBlob, out.KeyId, err = s.seal(tx, user{c, "ReEncryptTo"}, in.DestinationKeyId, plain, in.DestinationEncryptionContext)
		return err
	})
	if err == nil {
		err = dry(in.DryRun)
	}
	return out, err
}
