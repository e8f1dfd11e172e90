package datakey

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"ssmagent/internal/seal"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/kms"
)

// fake is a KMS that answers what it is told, and keeps what it was asked.
type fake struct {
	op     string
	asked  map[string]any
	answer any
	err    error
}

func (f *fake) Call(_ context.Context, op string, in, out any) error {
	b, err := json.Marshal(in)
	if err == nil {
		f.op, err = op, json.Unmarshal(b, &f.asked)
	}
	if err != nil || f.err != nil {
		return errors.Join(err, f.err)
	}
	if b, err = json.Marshal(f.answer); err != nil {
		return err
	}
	return json.Unmarshal(b, out)
}

var session = Session{KeyID: "alias/shells", SessionID: "ada-1", TargetID: "mi-0123456789abcdef0"}

// context is what was asked, as text.
func (f *fake) context() map[string]string {
	c := map[string]string{}
	for k, v := range f.asked["EncryptionContext"].(map[string]any) {
		c[k] = v.(string)
	}
	return c
}

func TestMake(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{7}, seal.KeySize)
	f := &fake{answer: kms.GenerateDataKeyOutput{Plaintext: key, CiphertextBlob: []byte("sealed")}}
	got, sealed, err := Make(t.Context(), f, session)
	if err != nil || !bytes.Equal(got, key) || string(sealed) != "sealed" {
		t.Fatal(got, sealed, err)
	}
	if f.op != "GenerateDataKey" || f.asked["KeyId"] != "alias/shells" || f.asked["NumberOfBytes"] != 64.0 ||
		!maps.Equal(f.context(), map[string]string{"aws:ssm:SessionId": "ada-1", "aws:ssm:TargetId": "mi-0123456789abcdef0"}) {
		t.Errorf("asked %s %v", f.op, f.asked)
	}
	f.answer = kms.GenerateDataKeyOutput{Plaintext: key[:32], CiphertextBlob: []byte("sealed")}
	if _, _, err := Make(t.Context(), f, session); err == nil || !strings.Contains(err.Error(), "32 bytes") {
		t.Error(err)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{7}, seal.KeySize)
	f := &fake{answer: kms.DecryptOutput{Plaintext: key}}
	s := session
	s.Challenge = "MTIz"
	got, err := Open(t.Context(), f, s, []byte("sealed"))
	if err != nil || !bytes.Equal(got, key) {
		t.Fatal(got, err)
	}
	if f.op != "Decrypt" || f.asked["CiphertextBlob"] != "c2VhbGVk" || f.asked["KeyId"] != "alias/shells" ||
		f.context()["aws:ssm:RandomChallenge"] != "MTIz" || len(f.context()) != 3 {
		t.Errorf("asked %s %v", f.op, f.asked)
	}
	f.op, f.answer = "", kms.DecryptOutput{Plaintext: key[1:]}
	if _, err := Open(t.Context(), f, s, []byte("sealed")); err == nil || f.op == "" {
		t.Error("a short key was taken")
	}
	f.op = ""
	for _, n := range []int{0, maxSealed + 1} {
		if _, err := Open(t.Context(), f, s, make([]byte, n)); err == nil || f.op != "" {
			t.Errorf("a sealed key of %d bytes was sent to KMS", n)
		}
	}
}

// TestRefusals: each has the cause and the remedy in one sentence.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for code, remedy := range map[string]string{
		"InvalidCiphertextException": "with the node's id as its target", "IncorrectKeyException": "with the node's id",
		"NotFoundException": "correct kmsKeyId", "DisabledException": "enable the key", "KMSInvalidStateException": "enable the key",
		"AccessDeniedException": "kms:Decrypt", "ThrottlingException": "",
	} {
		_, _, err := Make(t.Context(), &fake{err: &ssmclient.Error{Code: code, Message: "no."}}, session)
		if err == nil || !strings.Contains(err.Error(), code+": no.") || !strings.Contains(err.Error(), `"alias/shells"`) ||
			!strings.Contains(err.Error(), remedy) || strings.Contains(err.Error(), "\n") || ssmclient.Code(err) != code {
			t.Errorf("%s: %v", code, err)
		}
		if _, oerr := Open(t.Context(), &fake{err: &ssmclient.Error{Code: code, Message: "no."}}, session, []byte("x")); oerr == nil || oerr.Error() != err.Error() {
			t.Errorf("%s: %v", code, oerr)
		}
	}
}
