package controlplane

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"ssmagent/internal/sigv4"
)

func (p *plane) kms() *kms.Client { return kms.NewFromConfig(p.config()) }

// newKey makes a key and returns its id and ARN.
func (p *plane) newKey(in *kms.CreateKeyInput) (id, arn string) {
	p.t.Helper()
	out, err := p.kms().CreateKey(p.t.Context(), in)
	if err != nil {
		p.t.Fatal(err)
	}
	return *out.KeyMetadata.KeyId, *out.KeyMetadata.Arn
}

func (p *plane) name(alias, key string) {
	p.t.Helper()
	if _, err := p.kms().CreateAlias(p.t.Context(), &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: &key}); err != nil {
		p.t.Fatal(err)
	}
}

var sessionContext = map[string]string{"aws:ssm:SessionId": "ada-1", "aws:ssm:TargetId": "mi-0123456789abcdef0"}

// TestKMSDataKeys: a data key comes back by every name of its key, after a
// restart as well, and for nothing but its own context.
func TestKMSDataKeys(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	id, arn := p.newKey(&kms.CreateKeyInput{})
	p.name("alias/shells", id)
	aliasARN := strings.Replace(arn, "key/"+id, "alias/shells", 1)
	if !strings.HasPrefix(arn, "arn:aws:kms:us-east-1:111122223333:key/") {
		t.Errorf("ARN %s", arn)
	}
	for _, ref := range []string{id, arn, "alias/shells", aliasARN} {
		made, err := p.kms().GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: &ref, NumberOfBytes: aws.Int32(64), EncryptionContext: sessionContext})
		if err != nil || len(made.Plaintext) != 64 || *made.KeyId != arn || bytes.Contains(made.CiphertextBlob, made.Plaintext[:16]) {
			t.Fatalf("%s: %+v %v", ref, made, err)
		}
		p.restart()
		for _, by := range []*string{nil, &id, &arn, aws.String("alias/shells"), &aliasARN} {
			out, err := p.kms().Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: made.CiphertextBlob, KeyId: by, EncryptionContext: sessionContext})
			if err != nil || !bytes.Equal(out.Plaintext, made.Plaintext) || *out.KeyId != arn || out.EncryptionAlgorithm != types.EncryptionAlgorithmSpecSymmetricDefault {
				t.Errorf("%s by %s: %+v %v", ref, aws.ToString(by), out, err)
			}
		}
	}
	for spec, size := range map[types.DataKeySpec]int{types.DataKeySpecAes128: 16, types.DataKeySpecAes256: 32} {
		out, err := p.kms().GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: &id, KeySpec: spec})
		if err != nil || len(out.Plaintext) != size {
			t.Errorf("%s: %v", spec, err)
		}
	}
	sealed, err := p.kms().GenerateDataKeyWithoutPlaintext(t.Context(), &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: &id, NumberOfBytes: aws.Int32(24)})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := p.kms().Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}); err != nil || len(out.Plaintext) != 24 {
		t.Errorf("%+v %v", out, err)
	}
	store, err := os.Stat(filepath.Join(p.opt.Dir, storeFile))
	if err != nil || store.Mode().Perm() != 0o600 {
		t.Errorf("the keys' file: %v %v", store.Mode(), err)
	}
}

// TestKMSRefusals: the codes that AWS has.
func TestKMSRefusals(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c, ctx := p.kms(), t.Context()
	id, _ := p.newKey(&kms.CreateKeyInput{})
	other, _ := p.newKey(&kms.CreateKeyInput{})
	p.name("alias/shells", id)
	made, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("secret"), EncryptionContext: sessionContext})
	if err != nil {
		t.Fatal(err)
	}
	decrypt := func(change func(*kms.DecryptInput)) error {
		in := &kms.DecryptInput{CiphertextBlob: bytes.Clone(made.CiphertextBlob), EncryptionContext: sessionContext}
		change(in)
		_, err := c.Decrypt(ctx, in)
		return err
	}
	encrypt := func(ref string) error {
		_, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &ref, Plaintext: []byte("x")})
		return err
	}
	missing := "00000000-1111-4222-8333-444444444444"
	gone := bytes.Clone(made.CiphertextBlob)
	copy(gone[1:], "no such key here")
	for _, tc := range []struct {
		name string
		err  error
		code string
	}{
		{"good", decrypt(func(*kms.DecryptInput) {}), ""},
		{"another context", decrypt(func(in *kms.DecryptInput) {
			in.EncryptionContext = map[string]string{"aws:ssm:SessionId": "ada-2", "aws:ssm:TargetId": "mi-0123456789abcdef0"}
		}), "InvalidCiphertextException"},
		{"no context", decrypt(func(in *kms.DecryptInput) { in.EncryptionContext = nil }), "InvalidCiphertextException"},
		{"changed", decrypt(func(in *kms.DecryptInput) { in.CiphertextBlob[40] ^= 1 }), "InvalidCiphertextException"},
		{"cut", decrypt(func(in *kms.DecryptInput) { in.CiphertextBlob = in.CiphertextBlob[:20] }), "InvalidCiphertextException"},
		{"long", decrypt(func(in *kms.DecryptInput) { in.CiphertextBlob = make([]byte, 6145) }), "ValidationException"},
		{"another key's", decrypt(func(in *kms.DecryptInput) { in.KeyId = &other }), "IncorrectKeyException"},
		{"a key that is not there", decrypt(func(in *kms.DecryptInput) { in.KeyId = &missing }), "NotFoundException"},
		{"sealed with a key that is not there", decrypt(func(in *kms.DecryptInput) { in.CiphertextBlob = gone }), "AccessDeniedException"},
		{"another algorithm", decrypt(func(in *kms.DecryptInput) { in.EncryptionAlgorithm = types.EncryptionAlgorithmSpecRsaesOaepSha1 }), "InvalidKeyUsageException"},
		{"grants", decrypt(func(in *kms.DecryptInput) { in.GrantTokens = []string{"t"} }), "InvalidGrantTokenException"},
		{"dry run", decrypt(func(in *kms.DecryptInput) { in.DryRun = aws.Bool(true) }), "DryRunOperationException"},
		{"no such key", encrypt(missing), "NotFoundException"},
		{"no key id", encrypt("../x"), "NotFoundException"},
		{"no such alias", encrypt("alias/nobody"), "NotFoundException"},
		{"another region", encrypt("arn:aws:kms:eu-west-1:111122223333:key/" + id), "NotFoundException"},
		{"neither key nor alias", encrypt("arn:aws:kms:us-east-1:111122223333:grant/" + id), "NotFoundException"},
	} {
		if code(tc.err) != tc.code {
			t.Errorf("%s: %v, want %s", tc.name, tc.err, tc.code)
		}
	}
	_, err = c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: make([]byte, 4097)})
	if code(err) != "ValidationException" {
		t.Errorf("long plain text: %v", err)
	}
	_, err = c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x"), EncryptionContext: map[string]string{"k": strings.Repeat("v", 8192)}})
	if code(err) != "ValidationException" {
		t.Errorf("long context: %v", err)
	}
	for _, in := range []*kms.GenerateDataKeyInput{{KeyId: &id}, {KeyId: &id, KeySpec: types.DataKeySpecAes128, NumberOfBytes: aws.Int32(7)}, {KeyId: &id, NumberOfBytes: aws.Int32(1025)}} {
		if _, err := c.GenerateDataKey(ctx, in); code(err) != "ValidationException" {
			t.Errorf("%+v: %v", in, err)
		}
	}
	for _, in := range []*kms.CreateKeyInput{{KeyUsage: types.KeyUsageTypeSignVerify}, {KeySpec: types.KeySpecRsa2048}, {Origin: types.OriginTypeExternal},
		{MultiRegion: aws.Bool(true)}} {
		if _, err := c.CreateKey(ctx, in); code(err) != "UnsupportedOperationException" {
			t.Errorf("%+v: %v", in, err)
		}
	}
}

// TestKMSStates: a disabled key seals and opens nothing, one to be deleted
// neither, and one that is deleted is gone with its names.
func TestKMSStates(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c, ctx := p.kms(), t.Context()
	id, arn := p.newKey(&kms.CreateKeyInput{Description: aws.String("for shells"), Tags: []types.Tag{{TagKey: aws.String("site"), TagValue: aws.String("lab")}}})
	p.name("alias/shells", arn)
	made, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	uses := func(want string) {
		t.Helper()
		_, eerr := c.Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String("alias/shells"), Plaintext: []byte("x")})
		_, derr := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: made.CiphertextBlob})
		_, gerr := c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &arn, KeySpec: types.DataKeySpecAes256})
		for _, err := range []error{eerr, derr, gerr} {
			if code(err) != want {
				t.Errorf("%v, want %q", err, want)
			}
		}
	}
	state := func(want types.KeyState) {
		t.Helper()
		out, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("alias/shells")})
		if err != nil {
			t.Fatal(err)
		}
		if m := out.KeyMetadata; m.KeyState != want || m.Enabled != (want == types.KeyStateEnabled) || *m.Description != "for shells" || *m.KeyId != id ||
			m.KeyManager != types.KeyManagerTypeCustomer || (m.DeletionDate != nil) != (want == types.KeyStatePendingDeletion) {
			t.Errorf("%+v, want %s", m, want)
		}
	}
	uses("")
	state(types.KeyStateEnabled)
	for range 2 {
		if _, err := c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &id}); err != nil {
			t.Fatal(err)
		}
	}
	uses("DisabledException")
	state(types.KeyStateDisabled)
	if _, err := c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &arn}); err != nil {
		t.Fatal(err)
	}
	uses("")
	_, err = c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: aws.String("alias/shells")})
	if code(err) != "InvalidArnException" {
		t.Errorf("enabled by an alias: %v", err)
	}
	if _, err = c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: &id}); code(err) != "KMSInvalidStateException" {
		t.Errorf("cancelled what was not scheduled: %v", err)
	}
	out, err := c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: aws.Int32(7)})
	if err != nil || *out.KeyId != arn || time.Until(*out.DeletionDate).Round(time.Hour) != 7*24*time.Hour || out.KeyState != types.KeyStatePendingDeletion {
		t.Fatalf("%+v %v", out, err)
	}
	uses("KMSInvalidStateException")
	state(types.KeyStatePendingDeletion)
	for _, err := range []error{
		errOf(c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &id})), errOf(c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &id})),
		errOf(c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/late"), TargetKeyId: &id})),
	} {
		if code(err) != "KMSInvalidStateException" {
			t.Errorf("%v", err)
		}
	}
	if out, err := c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: &id}); err != nil || *out.KeyId != arn {
		t.Fatal(err)
	}
	uses("DisabledException")
	tags, err := c.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: &id})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].TagKey != "site" || *tags.Tags[0].TagValue != "lab" {
		t.Errorf("%+v %v", tags, err)
	}
	if _, err := c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: aws.Int32(7)}); err != nil {
		t.Fatal(err)
	}
	p.clock.advance(7*24*time.Hour + time.Minute)
	for _, target := range []string{"DescribeKey", "EnableKey", "CancelKeyDeletion"} {
		if a := p.keyed(p.operator(), target, `{"KeyId":"`+id+`"}`); a.Type != "NotFoundException" {
			t.Errorf("%s of a deleted key: %s", target, a.body)
		}
	}
	if a := p.keyed(p.operator(), "ListKeys", "{}"); strings.Contains(a.body, id) {
		t.Errorf("listed: %s", a.body)
	}
	if a := p.keyed(p.operator(), "CreateKey", "{}"); a.status != 200 {
		t.Fatal(a.body)
	}
	if a := p.keyed(p.operator(), "ListAliases", "{}"); strings.Contains(a.body, "alias/shells") {
		t.Errorf("its alias is still there: %s", a.body)
	}
}

func errOf[T any](_ T, err error) error { return err }

// keyed calls KMS signed for it at the plane's time.
func (p *plane) keyed(c aws.Credentials, op, body string) answer {
	p.t.Helper()
	return p.keyedAs("kms", c, op, body)
}

func (p *plane) keyedAs(service string, c aws.Credentials, op, body string) answer {
	p.t.Helper()
	r := p.request("TrentService."+op, body)
	if err := sigv4.Sign(p.t.Context(), r, []byte(body), c, service, "eu-west-1", p.clock.Now()); err != nil {
		p.t.Fatal(err)
	}
	return p.send(r)
}

func TestKMSAliasesAndPages(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c, ctx := p.kms(), t.Context()
	var ids []string
	for range 5 {
		id, _ := p.newKey(&kms.CreateKeyInput{})
		ids = append(ids, id)
	}
	for i, name := range []string{"alias/a", "alias/b", "alias/site/c"} {
		p.name(name, ids[i%2])
	}
	var seen []string
	pages := kms.NewListKeysPaginator(c, &kms.ListKeysInput{Limit: aws.Int32(2)})
	for n := 0; pages.HasMorePages(); n++ {
		page, err := pages.NextPage(ctx)
		if err != nil || n > 3 || len(page.Keys) > 2 {
			t.Fatal(n, err)
		}
		for _, k := range page.Keys {
			seen = append(seen, *k.KeyId)
		}
	}
	if slices.Sort(ids); !slices.Equal(seen, ids) {
		t.Errorf("%v, want %v", seen, ids)
	}
	if _, err := c.ListKeys(ctx, &kms.ListKeysInput{Marker: aws.String("bad")}); code(err) != "InvalidMarkerException" {
		t.Errorf("%v", err)
	}
	first, err := c.ListAliases(ctx, &kms.ListAliasesInput{Limit: aws.Int32(2)})
	if err != nil || !first.Truncated || len(first.Aliases) != 2 || *first.Aliases[0].AliasName != "alias/a" {
		t.Fatalf("%+v %v", first, err)
	}
	rest, err := c.ListAliases(ctx, &kms.ListAliasesInput{Limit: aws.Int32(2), Marker: first.NextMarker})
	if err != nil || rest.Truncated || len(rest.Aliases) != 1 || *rest.Aliases[0].AliasName != "alias/site/c" {
		t.Errorf("%+v %v", rest, err)
	}
	target := *rest.Aliases[0].TargetKeyId
	if of, err := c.ListAliases(ctx, &kms.ListAliasesInput{KeyId: &target}); err != nil || len(of.Aliases) != 2 {
		t.Errorf("%+v %v", of, err)
	}
	for name, want := range map[string]string{"alias/a": "AlreadyExistsException", "a": "InvalidAliasNameException", "alias/": "InvalidAliasNameException",
		"alias/aws/ssm": "InvalidAliasNameException", "alias/ä": "InvalidAliasNameException"} {
		if _, err := c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &ids[0]}); code(err) != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if _, err := c.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String("alias/a"), TargetKeyId: &ids[4]}); err != nil {
		t.Fatal(err)
	}
	if out, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("alias/a")}); err != nil || *out.KeyMetadata.KeyId != ids[4] {
		t.Errorf("%+v %v", out, err)
	}
	if _, err := c.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String("alias/none"), TargetKeyId: &ids[4]}); code(err) != "NotFoundException" {
		t.Errorf("%v", err)
	}
	for _, want := range []string{"", "NotFoundException"} {
		if _, err := c.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String("alias/a")}); code(err) != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestKMSReEncrypt(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c, ctx := p.kms(), t.Context()
	from, fromARN := p.newKey(&kms.CreateKeyInput{})
	to, toARN := p.newKey(&kms.CreateKeyInput{})
	made, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &from, Plaintext: []byte("secret"), EncryptionContext: map[string]string{"a": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: made.CiphertextBlob, SourceEncryptionContext: map[string]string{"a": "1"},
		DestinationKeyId: &to, DestinationEncryptionContext: map[string]string{"b": "2"}})
	if err != nil || *out.SourceKeyId != fromARN || *out.KeyId != toARN {
		t.Fatalf("%+v %v", out, err)
	}
	plain, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: out.CiphertextBlob, KeyId: &to, EncryptionContext: map[string]string{"b": "2"}})
	if err != nil || string(plain.Plaintext) != "secret" {
		t.Errorf("%+v %v", plain, err)
	}
	_, err = c.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: made.CiphertextBlob, DestinationKeyId: &to})
	if code(err) != "InvalidCiphertextException" {
		t.Errorf("%v", err)
	}
}

// TestKMSCallers: nodes use keys for themselves only; signatures are for kms.
func TestKMSCallers(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	id, _ := p.newKey(&kms.CreateKeyInput{})
	n := p.register(&ssm.CreateActivationInput{})
	body := func(more map[string]any, target string) string {
		m := map[string]any{"KeyId": id}
		if target != "" {
			m["EncryptionContext"] = map[string]string{"aws:ssm:TargetId": target, "aws:ssm:SessionId": "ada-1"}
		}
		for k, v := range more {
			m[k] = v
		}
		b, _ := json.Marshal(m)
		return string(b)
	}
	plain := map[string]any{"Plaintext": base64.StdEncoding.EncodeToString([]byte("x"))}
	sealed := func(target string) map[string]any {
		var out struct{ CiphertextBlob string }
		if a := p.keyed(p.operator(), "Encrypt", body(plain, target)); json.Unmarshal([]byte(a.body), &out) != nil || out.CiphertextBlob == "" {
			t.Fatal(a.body)
		}
		return map[string]any{"CiphertextBlob": out.CiphertextBlob}
	}
	for _, tc := range []struct{ op, body, want string }{
		{"Decrypt", body(sealed(n.id), n.id), ""},
		{"Encrypt", body(plain, n.id), ""},
		{"GenerateDataKey", body(map[string]any{"NumberOfBytes": 64}, n.id), ""},
		{"Decrypt", body(sealed("mi-0123456789abcdef0"), "mi-0123456789abcdef0"), "AccessDeniedException"},
		{"Decrypt", body(sealed(""), ""), "AccessDeniedException"},
		{"Decrypt", body(sealed("mi-0123456789abcdef0"), n.id), "InvalidCiphertextException"},
		{"GenerateDataKey", body(map[string]any{"NumberOfBytes": 64}, ""), "AccessDeniedException"},
		{"ReEncrypt", body(nil, ""), "AccessDeniedException"},
		{"GenerateDataKeyWithoutPlaintext", body(nil, n.id), "AccessDeniedException"},
		{"CreateKey", "{}", "AccessDeniedException"}, {"ListKeys", "{}", "AccessDeniedException"},
		{"DescribeKey", body(nil, ""), "AccessDeniedException"}, {"DisableKey", body(nil, ""), "AccessDeniedException"},
		{"ScheduleKeyDeletion", body(nil, ""), "AccessDeniedException"}, {"DeleteAlias", `{"AliasName":"alias/a"}`, "AccessDeniedException"},
	} {
		if a := p.keyed(n.Credentials, tc.op, tc.body); a.Type != tc.want || (a.status == 200) != (tc.want == "") {
			t.Errorf("%s %s: %d %s, want %q", tc.op, tc.body, a.status, a.body, tc.want)
		}
	}
	if a := p.keyedAs("ssm", p.operator(), "ListKeys", "{}"); a.Type != "InvalidSignatureException" || !strings.Contains(a.Message, "kms") {
		t.Errorf("signed for another service: %s", a.body)
	}
	if a := p.send(p.request("TrentService.ListKeys", "{}")); a.Type != "MissingAuthenticationTokenException" {
		t.Errorf("unsigned: %s", a.body)
	}
}
