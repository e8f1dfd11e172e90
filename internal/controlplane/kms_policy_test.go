package controlplane

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// TestKMSPolicies: what a key's policy denies is refused, by whatever way it is
// asked for; whoever is denied its use may still change the policy.
func TestKMSPolicies(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c, ctx := p.kms(), t.Context()
	denies := func(action string) *string {
		return aws.String(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"},
			{"Effect":"Deny","Principal":"*","Action":%q,"Resource":"*"}]}`, action))
	}
	id, _ := p.newKey(&kms.CreateKeyInput{Policy: denies("kms:Decrypt")})
	sealed, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}); code(err) != "AccessDeniedException" || !strings.Contains(err.Error(), "with an explicit deny") {
		t.Errorf("decrypt: %v", err)
	}
	name := "/sealed"
	if _, err := p.sdk().PutParameter(ctx, &ssm.PutParameterInput{Name: &name, Value: aws.String("v"), Type: ssmtypes.ParameterTypeSecureString, KeyId: &id}); err != nil {
		t.Error(err)
	}
	if _, err := p.sdk().GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)}); code(err) != "AccessDeniedException" || !strings.Contains(err.Error(), "kms:Decrypt") {
		t.Errorf("a parameter that the key seals: %v", err)
	}
	for action, call := range map[string]func() error{
		"kms:ReEncryptFrom": func() error {
			_, err := c.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: sealed.CiphertextBlob, DestinationKeyId: &id})
			return err
		},
		"kms:GenerateDataKeyWithoutPlaintext": func() error {
			_, err := c.GenerateDataKeyWithoutPlaintext(ctx, &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: &id})
			return err
		},
	} {
		policy := denies(action)
		if _, err := c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &id, Policy: policy}); err != nil {
			t.Error(err)
		}
		if got, err := c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &id, PolicyName: aws.String("default")}); err != nil || *got.Policy != *policy {
			t.Errorf("%+v %v", got, err)
		}
		if err := call(); code(err) != "AccessDeniedException" {
			t.Errorf("%s: %v", action, err)
		}
	}
	plain, _ := p.newKey(&kms.CreateKeyInput{})
	if got, err := c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &plain}); err != nil || !strings.Contains(*got.Policy, ":root") {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := c.ListKeyPolicies(ctx, &kms.ListKeyPoliciesInput{KeyId: &plain}); err != nil || !slices.Equal(got.PolicyNames, []string{"default"}) {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &plain, Policy: aws.String("{}")}); code(err) != "MalformedPolicyDocumentException" {
		t.Error(err)
	}
	if _, err := c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &plain, PolicyName: aws.String("other")}); code(err) != "NotFoundException" {
		t.Error(err)
	}
}
