// Package kms holds the JSON 1.1 shapes of the Key Management Service
// (TrentService, 2014-11-01) that agent, clients and our control plane speak.
// Field names are the wire's. Plain data for both ends.
package kms

import "ssmagent/internal/wire/ssm"

// TargetPrefix precedes the operation in X-Amz-Target.
const TargetPrefix = "TrentService"

// Service is the name in signatures.
const Service = "kms"

// The operations that sessions need.
const (
	OpGenerateDataKey = "GenerateDataKey"
	OpDecrypt         = "Decrypt"
)

// Codes of refusals that callers explain.
const (
	CodeNotFound          = "NotFoundException"
	CodeDisabled          = "DisabledException"
	CodeInvalidState      = "KMSInvalidStateException"
	CodeInvalidCiphertext = "InvalidCiphertextException"
	CodeIncorrectKey      = "IncorrectKeyException"
)

// Names of a session's encryption context.
const (
	ContextSessionID = "aws:ssm:SessionId"
	ContextTargetID  = "aws:ssm:TargetId"
	ContextChallenge = "aws:ssm:RandomChallenge"
)

// GenerateDataKeyInput asks for a data key: KeySpec or NumberOfBytes. KeyId is
// here and everywhere an id, an ARN, an alias with its prefix "alias/", or an
// alias's ARN.
type GenerateDataKeyInput struct {
	KeyId             string            `check:"required,min=1,max=2048"`
	EncryptionContext map[string]string `json:",omitempty"`
	KeySpec           string            `json:",omitempty" check:"enum=AES_128|AES_256"`
	NumberOfBytes     *int              `json:",omitempty" check:"min=1,max=1024"`
	GrantTokens       []string          `json:",omitempty" check:"max=10"`
	DryRun            bool              `json:",omitempty"`
}

// GenerateDataKeyOutput has the key twice; Plaintext is absent without
// plaintext. Stock agents and clients take KeyId for an ARN.
type GenerateDataKeyOutput struct {
	CiphertextBlob []byte
	Plaintext      []byte `json:",omitempty"`
	KeyId          string
}

// EncryptInput seals at most 4096 bytes.
type EncryptInput struct {
	KeyId               string            `check:"required,min=1,max=2048"`
	Plaintext           []byte            `check:"required,min=1,max=4096"`
	EncryptionContext   map[string]string `json:",omitempty"`
	EncryptionAlgorithm string            `json:",omitempty" check:"enum=SYMMETRIC_DEFAULT|RSAES_OAEP_SHA_1|RSAES_OAEP_SHA_256|SM2PKE"`
	GrantTokens         []string          `json:",omitempty" check:"max=10"`
	DryRun              bool              `json:",omitempty"`
}

// EncryptOutput is what was sealed.
type EncryptOutput struct {
	CiphertextBlob      []byte
	KeyId               string
	EncryptionAlgorithm string
}

// DecryptInput opens what was sealed with the same context. The blob tells its
// key; a KeyId must be that of it.
type DecryptInput struct {
	CiphertextBlob      []byte            `check:"required,min=1,max=6144"`
	EncryptionContext   map[string]string `json:",omitempty"`
	KeyId               string            `json:",omitempty" check:"min=1,max=2048"`
	EncryptionAlgorithm string            `json:",omitempty" check:"enum=SYMMETRIC_DEFAULT|RSAES_OAEP_SHA_1|RSAES_OAEP_SHA_256|SM2PKE"`
	GrantTokens         []string          `json:",omitempty" check:"max=10"`
	DryRun              bool              `json:",omitempty"`
}

// DecryptOutput is what was opened.
type DecryptOutput struct {
	KeyId               string
	Plaintext           []byte
	EncryptionAlgorithm string
}

// ReEncryptInput seals anew, with another key or context, what is sealed.
type ReEncryptInput struct {
	CiphertextBlob                 []byte            `check:"required,min=1,max=6144"`
	SourceEncryptionContext        map[string]string `json:",omitempty"`
	SourceKeyId                    string            `json:",omitempty" check:"min=1,max=2048"`
	DestinationKeyId               string            `check:"required,min=1,max=2048"`
	DestinationEncryptionContext   map[string]string `json:",omitempty"`
	SourceEncryptionAlgorithm      string            `json:",omitempty" check:"enum=SYMMETRIC_DEFAULT|RSAES_OAEP_SHA_1|RSAES_OAEP_SHA_256|SM2PKE"`
	DestinationEncryptionAlgorithm string            `json:",omitempty" check:"enum=SYMMETRIC_DEFAULT|RSAES_OAEP_SHA_1|RSAES_OAEP_SHA_256|SM2PKE"`
	GrantTokens                    []string          `json:",omitempty" check:"max=10"`
	DryRun                         bool              `json:",omitempty"`
}

// ReEncryptOutput is what was sealed anew.
type ReEncryptOutput struct {
	CiphertextBlob                 []byte
	SourceKeyId                    string
	KeyId                          string
	SourceEncryptionAlgorithm      string
	DestinationEncryptionAlgorithm string
}

// KeyMetadata describes a key.
type KeyMetadata struct {
	AWSAccountId          string
	KeyId                 string
	Arn                   string
	CreationDate          ssm.Time
	Enabled               bool
	Description           string
	KeyUsage              string
	KeyState              string    // Enabled, Disabled, PendingDeletion
	DeletionDate          *ssm.Time `json:",omitempty"`
	Origin                string
	KeyManager            string // CUSTOMER, AWS
	CustomerMasterKeySpec string
	KeySpec               string
	EncryptionAlgorithms  []string
	MultiRegion           bool
}
