package e2e

import (
	"bytes"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// TestParameterStore: the stock CLI writes, reads, labels, lists and deletes
// parameters.
func TestParameterStore(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	var put struct {
		Version int
		Tier    string
	}
	p.awsJSON(&put, "ssm", "put-parameter", "--name", "/lab/motd", "--type", "String", "--value", "one", "--allowed-pattern", "^[a-z]+$", "--tags", "Key=site,Value=lab")
	p.awsJSON(&put, "ssm", "put-parameter", "--name", "/lab/motd", "--value", "two", "--overwrite")
	if put.Version != 2 || put.Tier != "Standard" {
		t.Errorf("%+v", put)
	}
	p.awsJSON(nil, "ssm", "put-parameter", "--name", "/lab/secret", "--type", "SecureString", "--value", "hush")
	p.awsJSON(nil, "ssm", "label-parameter-version", "--name", "/lab/motd", "--parameter-version", "1", "--labels", "prod")
	type parameter struct {
		Name, Type, Value, Selector string
		Version                     int
		Labels                      []string
	}
	var one struct{ Parameter parameter }
	p.awsJSON(&one, "ssm", "get-parameter", "--name", "/lab/motd:prod")
	if one.Parameter.Value != "one" || one.Parameter.Version != 1 || one.Parameter.Selector != ":prod" {
		t.Errorf("%+v", one)
	}
	var several struct {
		Parameters        []parameter
		InvalidParameters []string
	}
	p.awsJSON(&several, "ssm", "get-parameters", "--names", "/lab/motd:2", "/lab/secret", "none", "--with-decryption")
	if len(several.Parameters) != 2 || several.Parameters[0].Value != "two" || several.Parameters[1].Value != "hush" || !slices.Equal(several.InvalidParameters, []string{"none"}) {
		t.Errorf("%+v", several)
	}
	p.awsJSON(&several, "ssm", "get-parameters-by-path", "--path", "/lab", "--page-size", "1")
	if len(several.Parameters) != 2 || several.Parameters[1].Value == "hush" || several.Parameters[1].Type != "SecureString" {
		t.Errorf("%+v", several)
	}
	p.awsJSON(&several, "ssm", "describe-parameters", "--page-size", "1", "--parameter-filters", "Key=tag:site,Values=lab")
	if len(several.Parameters) != 1 || several.Parameters[0].Name != "/lab/motd" {
		t.Errorf("%+v", several)
	}
	p.awsJSON(&several, "ssm", "get-parameter-history", "--name", "/lab/motd", "--page-size", "1")
	if len(several.Parameters) != 2 || !slices.Equal(several.Parameters[0].Labels, []string{"prod"}) {
		t.Errorf("%+v", several)
	}
	p.awsJSON(nil, "ssm", "unlabel-parameter-version", "--name", "/lab/motd", "--parameter-version", "1", "--labels", "prod")
	p.awsJSON(nil, "ssm", "delete-parameter", "--name", "/lab/secret")
	var deleted struct{ DeletedParameters, InvalidParameters []string }
	p.awsJSON(&deleted, "ssm", "delete-parameters", "--names", "/lab/motd", "/lab/secret")
	if !slices.Equal(deleted.DeletedParameters, []string{"/lab/motd"}) || !slices.Equal(deleted.InvalidParameters, []string{"/lab/secret"}) {
		t.Errorf("%+v", deleted)
	}
	for want, args := range map[string][]string{
		"ParameterNotFound":                {"get-parameter", "--name", "/lab/motd"},
		"ParameterPatternMismatch":         {"put-parameter", "--name", "x", "--type", "String", "--value", "7", "--allowed-pattern", "^[a-z]$"},
		"DocumentPermissionLimit":          {"modify-document-permission", "--name", "Mine", "--permission-type", "Share", "--account-ids-to-add", "all"},
		"\"AccountSharingInfoList\": []\n": {"describe-document-permission", "--name", "Mine", "--permission-type", "Share"},
	} {
		if strings.Contains(args[0], "document") {
			_, _ = p.sdk().CreateDocument(t.Context(), &ssm.CreateDocumentInput{Name: aws.String("Mine"), Content: aws.String(`{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"one","inputs":{"runCommand":["true"]}}]}`)})
		}
		if o, e, _ := p.aws(append([]string{"ssm"}, args...)...); !strings.Contains(o+e, want) {
			t.Errorf("%v: %s%s, want %s", args, o, e, want)
		}
	}
}

// put writes a parameter; one that is there gets a new version.
func (p *plane) put(name string, kind types.ParameterType, value string) {
	p.t.Helper()
	in := &ssm.PutParameterInput{Name: &name, Type: kind, Value: &value, Overwrite: aws.Bool(true)}
	if _, err := p.sdk().PutParameter(p.t.Context(), in); err != nil {
		p.t.Fatal(err)
	}
}

// say is a step that runs a script.
func say(name string, lines ...any) map[string]any {
	return object("action", "aws:runShellScript", "name", name, "inputs", object("runCommand", lines))
}

// TestParameterReferences: documents refer to plain parameters by name, version
// and label, in their steps, their parameters and documents inside them; what
// cannot be is a command that Failed with a sentence, and nothing runs.
func TestParameterReferences(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	p.put("/lab/motd", types.ParameterTypeString, "first")
	p.put("/lab/motd", types.ParameterTypeString, "second")
	p.put("lines", types.ParameterTypeStringList, "echo 'a,b',echo c")
	p.put("secret", types.ParameterTypeSecureString, hiddenSecret)
	if _, err := p.sdk().LabelParameterVersion(t.Context(), &ssm.LabelParameterVersionInput{Name: aws.String("/lab/motd"), ParameterVersion: aws.Int64(1), Labels: []string{"prod"}}); err != nil {
		t.Fatal(err)
	}
	declared := object("word", object("type", "String", "default", "{{ssm:/lab/motd:prod}}", "allowedPattern", "^(first|second)$"),
		"env", object("type", "String", "interpolationType", "ENV_VAR", "default", "{{ ssm:/lab/motd:1 }}"))
	p.document("Refer", object("schemaVersion", "2.2", "parameters", declared, "mainSteps", []any{
		say("one", "echo {{ word }} {{ssm:/lab/motd:1}} {{ ssm:/lab/motd }} $SSM_env", "echo '{{ssm-secure:secret}}'"), say("two", "{{ssm:lines}}")}))
	for given, want := range map[string]string{"": "first first second first\n{{ssm-secure:secret}}\n", "{{ssm:/lab/motd:2}}": "second first second first\n{{ssm-secure:secret}}\n"} {
		parameters := map[string]any{}
		if given != "" {
			parameters["word"] = []string{given}
		}
		steps := p.command(n, "Refer", parameters)
		// A list is split at its commas, whatever quotes say.
		if len(steps) != 2 || steps[0].Output != want || steps[1].Status != "Success" || steps[1].Output != "a\nb\nc\n" {
			t.Errorf("%q: %+v", given, steps)
		}
	}
	p.document("Inner", object("schemaVersion", "2.2", "parameters", object("p", object("type", "String", "allowedPattern", "^second$")), "mainSteps", []any{say("in", "echo inside {{ p }}")}))
	p.document("Outer", object("schemaVersion", "2.2", "mainSteps", []any{object("action", "aws:runDocument", "name", "out",
		"inputs", object("documentType", "SSMDocument", "documentPath", "Inner", "documentParameters", object("p", "{{ssm:/lab/motd:2}}")))}))
	if steps := p.command(n, "Outer", nil); len(steps) != 1 || steps[0].Status != "Success" || !strings.Contains(steps[0].Output, "inside second") {
		t.Errorf("%+v", steps)
	}
	// A document of the local folder has the same values.
	ran := filepath.Join(t.TempDir(), "ran")
	local := text(object("schemaVersion", "2.2", "mainSteps", []any{say("one", "echo {{ssm:/lab/motd:prod}} >"+ran)}))
	if err := os.WriteFile(filepath.Join(n.root, "var", "lib", "amazon", "ssm", "localcommands", "local.json"), []byte(local), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := p.file(ran, 1); got[0] != "first" {
		t.Errorf("%q", got)
	}
	ran = filepath.Join(t.TempDir(), "never")
	for name, tc := range map[string]struct{ line, want string }{
		"Missing": {"echo {{ssm:none}}", "none: no such parameter"}, "Version": {"echo {{ssm:/lab/motd:9}}", "/lab/motd:9: no such parameter"},
		"Label": {"echo {{ssm:/lab/motd:test}}", "/lab/motd:test: no such parameter"}, "Secret": {"echo {{ssm:secret}}", "SecureString"}, "List": {"echo x {{ssm:lines}}", "StringList"},
	} {
		p.refused(n, name+"-Reference", text(object("schemaVersion", "2.2", "mainSteps", []any{say("before", "touch "+ran), say("one", tc.line)})), tc.want)
		if _, err := os.Stat(ran); err == nil {
			t.Fatalf("%s: a step ran", name)
		}
	}
	n.nowhere(hiddenSecret)
}

// refused sends a document and waits until it has Failed and operators are told
// why.
func (p *plane) refused(n *node, document, content, why string) {
	p.t.Helper()
	c, ctx := p.sdk(), p.t.Context()
	if _, err := c.CreateDocument(ctx, &ssm.CreateDocumentInput{Name: &document, Content: &content, DocumentType: types.DocumentTypeCommand}); err != nil {
		p.t.Fatal(err)
	}
	sent, err := c.SendCommand(ctx, &ssm.SendCommandInput{DocumentName: &document, InstanceIds: []string{n.id}})
	if err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, document+" to be refused: "+why, func() bool {
		out, err := c.ListCommandInvocations(ctx, &ssm.ListCommandInvocationsInput{CommandId: sent.Command.CommandId, Details: true})
		return err == nil && len(out.CommandInvocations) == 1 && out.CommandInvocations[0].Status == types.CommandInvocationStatusFailed &&
			strings.Contains(aws.ToString(out.CommandInvocations[0].TraceOutput), why)
	})
}

// nowhere fails when a secret lies in a file of the node, or was printed.
func (n *node) nowhere(secret string) {
	n.t.Helper()
	if strings.Contains(n.output(), secret) {
		n.t.Error("the secret is in the agent's log")
	}
	files := 0
	err := filepath.WalkDir(n.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if err == nil && bytes.Contains(b, []byte(secret)) {
			n.t.Errorf("the secret is in %s", path)
		}
		return err
	})
	if err != nil || files == 0 {
		n.t.Errorf("%d files, %v", files, err)
	}
}

// TestSecretsOfSteps: a step that takes a secret fetches it when it runs, with
// the key that seals it; it is in no file, log or result.
func TestSecretsOfSteps(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	p.key("alias/secrets")
	in := &ssm.PutParameterInput{Name: aws.String("/web/password"), Type: types.ParameterTypeSecureString, Value: aws.String("older"), KeyId: aws.String("alias/secrets")}
	if _, err := p.sdk().PutParameter(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	p.put("/web/password", types.ParameterTypeSecureString, hiddenSecret)
	p.put("user", types.ParameterTypeString, "ada")
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, _ := r.BasicAuth()
		if name != "ada" || password != hiddenSecret && (r.URL.Path != "/older" || password != "older") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte("content"))
	}))
	t.Cleanup(web.Close)
	fetch := func(path, user, password string) outcome {
		info := text(object("url", web.URL+path, "allowInsecureDownload", true, "authMethod", "Basic", "username", user, "password", password))
		steps := p.command(n, "Fetch", map[string]any{"info": []string{info}})
		if len(steps) != 1 {
			t.Fatalf("%+v", steps)
		}
		return steps[0]
	}
	p.document("Fetch", object("schemaVersion", "2.2", "parameters", object("info", object("type", "String")), "mainSteps", []any{object("action", "aws:downloadContent", "name", "get",
		"inputs", object("sourceType", "HTTP", "sourceInfo", "{{ info }}", "destinationPath", "page"))}))
	for _, tc := range []struct{ path, user, password, want string }{
		{"/", "{{ssm:user}}", "{{ssm-secure:/web/password}}", ""},
		{"/older", "{{ssm:user}}", "{{ ssm-secure:/web/password:1 }}", ""},
		{"/", "{{ssm:user}}", "{{ssm-secure:user}}", "needs a SecureString"},
		{"/", "{{ssm:user}}", "{{ssm-secure:none}}", "no parameter"},
	} {
		got := fetch(tc.path, tc.user, tc.password)
		if (got.Status == "Success") != (tc.want == "") || !strings.Contains(got.Output, tc.want) || strings.Contains(got.Output, hiddenSecret) {
			t.Errorf("%+v: %+v", tc, got)
		}
	}
	n.nowhere(hiddenSecret)
}

// TestSessionParameterReferences: values of a session document's parameters are
// looked up by the node before the session begins.
func TestSessionParameterReferences(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	p.put("/lab/motd", types.ParameterTypeString, "first")
	p.put("/lab/motd", types.ParameterTypeString, "second")
	p.put("secret", types.ParameterTypeSecureString, hiddenSecret)
	for command, want := range map[string]string{
		"echo said {{ssm:/lab/motd:1}} {{ ssm:/lab/motd }}": `said first second\r?\n`,
		"echo {{ssm:secret}}":                               `SecureString parameter is not allowed`,
		"echo {{ssm:none}}":                                 `none: no such parameter`,
	} {
		pe := script(t, p.stock(n.id, with(t, "AWS-StartNonInteractiveCommand", map[string]string{"command": command})...))
		pe.sees(want)
		pe.ends()
	}
	n.nowhere(hiddenSecret)
}
