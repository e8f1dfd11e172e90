// Package datakey gets the key of an encrypted session from KMS: a client has
// one made, the agent has it opened.
package datakey

import (
	"context"
	"fmt"

	"ssmagent/internal/seal"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/kms"
)

// Caller makes signed calls to KMS; *ssmclient.Client is one.
type Caller interface {
	Call(ctx context.Context, op string, in, out any) error
}

// maxSealed is what KMS itself takes as a sealed key, in bytes.
const maxSealed = 6144

// Session says what a key is for. It is sealed for this and opens for nothing
// else.
type Session struct {
	KeyID     string // as the session document names it
	SessionID string
	TargetID  string // the node's id, the same at both ends to the letter
	// Challenge is the agent's, when the client takes it up; else "".
	Challenge string
}

func (s Session) context() map[string]string {
	c := map[string]string{kms.ContextSessionID: s.SessionID, kms.ContextTargetID: s.TargetID}
	if s.Challenge != "" {
		c[kms.ContextChallenge] = s.Challenge
	}
	return c
}

// Make has a data key made: the key, and the same sealed by KMS.
func Make(ctx context.Context, c Caller, s Session) (key, sealed []byte, err error) {
	size := seal.KeySize
	var out kms.GenerateDataKeyOutput
	err = c.Call(ctx, kms.OpGenerateDataKey, kms.GenerateDataKeyInput{KeyId: s.KeyID, NumberOfBytes: &size, EncryptionContext: s.context()}, &out)
	if err != nil {
		return nil, nil, explained(s, err)
	}
	if len(out.Plaintext) != seal.KeySize || len(out.CiphertextBlob) == 0 {
		return nil, nil, fmt.Errorf("KMS gave a data key of %d bytes, it must have %d; is its endpoint right?", len(out.Plaintext), seal.KeySize)
	}
	return out.Plaintext, out.CiphertextBlob, nil
}

// Open has a data key opened that a client had made.
func Open(ctx context.Context, c Caller, s Session, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || len(sealed) > maxSealed {
		return nil, fmt.Errorf("the client's data key has %d bytes when sealed, it must have 1 to %d", len(sealed), maxSealed)
	}
	var out kms.DecryptOutput
	err := c.Call(ctx, kms.OpDecrypt, kms.DecryptInput{KeyId: s.KeyID, CiphertextBlob: sealed, EncryptionContext: s.context()}, &out)
	if err != nil {
		return nil, explained(s, err)
	}
	if len(out.Plaintext) != seal.KeySize {
		return nil, fmt.Errorf("the client's data key has %d bytes, it must have %d", len(out.Plaintext), seal.KeySize)
	}
	return out.Plaintext, nil
}

// explained adds the remedy to a refusal.
func explained(s Session, err error) error {
	remedy := ""
	switch ssmclient.Code(err) {
	case kms.CodeInvalidCiphertext, kms.CodeIncorrectKey:
		remedy = fmt.Sprintf("the data key is not for session %s on %s with this key; start the session with the node's id as its target, not with a name", s.SessionID, s.TargetID)
	case kms.CodeNotFound:
		remedy = "correct kmsKeyId in the session document"
	case kms.CodeDisabled, kms.CodeInvalidState:
		remedy = "enable the key, or name another as kmsKeyId in the session document"
	case ssmclient.AccessDenied:
		remedy = "allow these credentials kms:GenerateDataKey (client) or kms:Decrypt (node) with the key"
	}
	if remedy == "" {
		return fmt.Errorf("KMS key %s: %w", clip(s.KeyID), err)
	}
	return fmt.Errorf("KMS key %s: %w (%s)", clip(s.KeyID), err, remedy)
}

func clip(s string) string { return fmt.Sprintf("%.128q", s) }
