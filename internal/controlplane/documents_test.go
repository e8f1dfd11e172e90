package controlplane

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"

	"ssmagent/internal/controlplane/documents"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/doc"
)

// script is a document whose one step runs a line.
func script(line string) *string {
	return aws.String(`{"schemaVersion":"2.2","description":"runs ` + line + `","mainSteps":[{"action":"aws:runShellScript","name":"one","inputs":{"runCommand":["` + line + `"],"timeoutSeconds":60}}]}`)
}

const yamlDocument = `schemaVersion: "2.2"
description: in YAML
parameters:
  n:
    type: String
    default: "yes"
mainSteps:
- action: aws:runShellScript
  name: one
  inputs:
    timeoutSeconds: 60
    runCommand:
    - echo {{ n }}
`

func TestDocumentVersions(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c, ctx := p.sdk(), t.Context()
	name := aws.String("Lab-Script")
	made, err := c.CreateDocument(ctx, &ssm.CreateDocumentInput{Name: name, Content: script("one"), VersionName: aws.String("first"), DisplayName: aws.String("Lab script"),
		TargetType: aws.String("/AWS::EC2::Instance"), Tags: []types.Tag{{Key: aws.String("site"), Value: aws.String("lab")}}})
	if err != nil {
		t.Fatal(err)
	}
	d := made.DocumentDescription
	got := []any{*d.Name, *d.Owner, d.DocumentType, d.DocumentFormat, *d.DocumentVersion, *d.DefaultVersion, *d.LatestVersion, *d.SchemaVersion, d.Status, *d.VersionName, d.PlatformTypes, *d.Description, len(*d.Hash), d.HashType, len(d.Tags)}
	want := []any{"Lab-Script", "111122223333", types.DocumentTypeCommand, types.DocumentFormatJson, "1", "1", "1", "2.2", types.DocumentStatusActive, "first", []types.PlatformType{"Linux", "MacOS"}, "runs one", 64, types.DocumentHashTypeSha256, 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	update := func(line, version, versionName string) (string, error) {
		in := &ssm.UpdateDocumentInput{Name: name, Content: script(line)}
		if version != "" {
			in.DocumentVersion = &version
		}
		if versionName != "" {
			in.VersionName = &versionName
		}
		out, err := c.UpdateDocument(ctx, in)
		if err != nil {
			return code(err), err
		}
		return *out.DocumentDescription.DocumentVersion + " " + *out.DocumentDescription.DefaultVersion, nil
	}
	for i, tc := range []struct{ line, version, versionName, want string }{
		{"one", "", "", "DuplicateDocumentContent"},
		{"two", "", "first", "DuplicateDocumentVersionName"},
		{"two", "7", "", "InvalidDocumentVersion"},
		{"two", "$DEFAULT", "", "InvalidDocumentVersion"},
		{"two", "$LATEST", "second", "2 1"},
		{"three", "1", "", "InvalidDocumentVersion"},
		{"three", "2", "", "3 1"},
		{"one", "", "", "4 1"}, // content of an older version is new again
	} {
		if got, err := update(tc.line, tc.version, tc.versionName); got != tc.want {
			t.Errorf("update %d: %s %v, want %s", i, got, err, tc.want)
		}
	}
	content := func(version, versionName string) string {
		in := &ssm.GetDocumentInput{Name: name}
		if version != "" {
			in.DocumentVersion = &version
		}
		if versionName != "" {
			in.VersionName = &versionName
		}
		out, err := c.GetDocument(ctx, in)
		if err != nil {
			return code(err)
		}
		d, err := doc.Decode([]byte(*out.Content))
		if err != nil {
			t.Fatal(err)
		}
		return *out.DocumentVersion + " " + d.Description
	}
	for _, tc := range []struct{ version, versionName, want string }{
		{"", "", "1 runs one"}, {"$DEFAULT", "", "1 runs one"}, {"$LATEST", "", "4 runs one"}, {"3", "", "3 runs three"}, {"", "second", "2 runs two"}, {"2", "second", "2 runs two"},
		{"3", "second", "InvalidDocumentVersion"}, {"9", "", "InvalidDocumentVersion"}, {"", "none", "InvalidDocumentVersion"}, {"0", "", "ValidationException"},
	} {
		if got := content(tc.version, tc.versionName); got != tc.want {
			t.Errorf("get %+v: %q", tc, got)
		}
	}
	setDefault := func(v string) string {
		out, err := c.UpdateDocumentDefaultVersion(ctx, &ssm.UpdateDocumentDefaultVersionInput{Name: name, DocumentVersion: &v})
		if err != nil {
			return code(err)
		}
		return *out.Description.DefaultVersion + aws.ToString(out.Description.DefaultVersionName)
	}
	for v, want := range map[string]string{"2": "2second", "9": "InvalidDocumentVersion", "$LATEST": "ValidationException"} {
		if got := setDefault(v); got != want {
			t.Errorf("default %s: %s, want %s", v, got, want)
		}
	}
	var seen []string
	pages := ssm.NewListDocumentVersionsPaginator(c, &ssm.ListDocumentVersionsInput{Name: name, MaxResults: aws.Int32(1)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil || len(seen) > 4 {
			t.Fatal(err)
		}
		for _, v := range page.DocumentVersions {
			seen = append(seen, fmt.Sprint(*v.DocumentVersion, v.IsDefaultVersion))
		}
	}
	if s := strings.Join(seen, " "); s != "4false 3false 2true 1false" {
		t.Errorf("versions %s", s)
	}
	remove := func(version, versionName string) string {
		in := &ssm.DeleteDocumentInput{Name: name, Force: true}
		if version != "" {
			in.DocumentVersion = &version
		}
		if versionName != "" {
			in.VersionName = &versionName
		}
		return code(second(c.DeleteDocument(ctx, in)))
	}
	for _, tc := range []struct{ version, versionName, want string }{
		{"2", "", "InvalidDocumentOperation"}, {"", "second", "InvalidDocumentOperation"}, {"9", "", "InvalidDocumentOperation"}, {"4", "", ""}, {"4", "", "InvalidDocumentOperation"},
	} {
		if got := remove(tc.version, tc.versionName); got != tc.want {
			t.Errorf("delete %+v: %s", tc, got)
		}
	}
	if got := content("$LATEST", ""); got != "3 runs three" {
		t.Errorf("the latest after 4 is gone: %s", got)
	}
	if got, err := update("five", "3", ""); got != "5 2" {
		t.Errorf("%s %v: a number is given twice", got, err)
	}
	if got := remove("", ""); got != "" {
		t.Error(got)
	}
	if got := content("", ""); got != "InvalidDocument" {
		t.Errorf("after the end: %s", got)
	}
	if got := remove("", ""); got != "InvalidDocument" {
		t.Error(got)
	}
}

func TestCreateDocumentRefused(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c := p.sdk()
	if _, err := c.CreateDocument(t.Context(), &ssm.CreateDocumentInput{Name: aws.String("There"), Content: script("x")}); err != nil {
		t.Fatal(err)
	}
	in := func(name, content string) ssm.CreateDocumentInput {
		return ssm.CreateDocumentInput{Name: &name, Content: &content}
	}
	with := func(i ssm.CreateDocumentInput, fn func(*ssm.CreateDocumentInput)) ssm.CreateDocumentInput {
		fn(&i)
		return i
	}
	good := *script("x")
	for name, tc := range map[string]struct {
		in   ssm.CreateDocumentInput
		code string
		says string
	}{
		"exists":            {in("There", good), "DocumentAlreadyExists", "There"},
		"short name":        {in("ab", good), "ValidationException", "Name"},
		"name with a slash": {in("a/../b", good), "ValidationException", "Name"},
		"reserved name":     {in("AWS-Mine", good), "ValidationException", "reserved"},
		"empty":             {in("Doc", ""), "ValidationException", "Content"},
		"no JSON":           {in("Doc", "{"), "InvalidDocumentContent", "document"},
		"YAML as JSON":      {in("Doc", yamlDocument), "InvalidDocumentContent", "document"},
		"schema":            {in("Doc", strings.Replace(good, "2.2", "2.1", 1)), "InvalidDocumentSchemaVersion", "2.1"},
		"no steps":          {in("Doc", `{"schemaVersion":"2.2","mainSteps":[]}`), "InvalidDocumentContent", "mainSteps"},
		"unknown action":    {in("Doc", strings.Replace(good, "aws:runShellScript", "aws:runAnything", 1)), "InvalidDocumentContent", "aws:runAnything"},
		"undeclared":        {in("Doc", strings.Replace(good, `["x"]`, `["{{ nope }}"]`, 1)), "InvalidDocumentContent", "nope"},
		"parameter type":    {in("Doc", strings.Replace(document22, "StringList", "Strings", 1)), "InvalidDocumentContent", "parameters.commands"},
		"text":              {with(in("Doc", good), func(i *ssm.CreateDocumentInput) { i.DocumentFormat = "TEXT" }), "InvalidDocumentContent", "TEXT"},
		"format":            {with(in("Doc", good), func(i *ssm.CreateDocumentInput) { i.DocumentFormat = "XML" }), "ValidationException", "DocumentFormat"},
		"type":              {with(in("Doc", good), func(i *ssm.CreateDocumentInput) { i.DocumentType = "Automation" }), "ValidationException", "DocumentType"},
		"attachments": {with(in("Doc", good), func(i *ssm.CreateDocumentInput) { i.Attachments = []types.AttachmentsSource{{Name: aws.String("x")}} }),
			"ValidationException", "Attachments[0].Key is required"},
		"version name": {with(in("Doc", good), func(i *ssm.CreateDocumentInput) { i.VersionName = aws.String("a b") }), "ValidationException", "VersionName"},
		"session as command": {with(in("Doc", good), func(i *ssm.CreateDocumentInput) { i.DocumentType = "Session" }),
			"InvalidDocumentSchemaVersion", "1.0"},
		"session type": {with(in("Doc", `{"schemaVersion":"1.0","sessionType":"Telnet"}`), func(i *ssm.CreateDocumentInput) { i.DocumentType = "Session" }),
			"InvalidDocumentContent", "Telnet"},
	} {
		_, err := c.CreateDocument(t.Context(), &tc.in)
		if code(err) != tc.code || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %s with %q", name, err, tc.code, tc.says)
		}
	}
	for op, err := range map[string]error{
		"update":  second(c.UpdateDocument(t.Context(), &ssm.UpdateDocumentInput{Name: aws.String("AWS-RunShellScript"), Content: script("x")})),
		"delete":  second(c.DeleteDocument(t.Context(), &ssm.DeleteDocumentInput{Name: aws.String("AWS-RunShellScript")})),
		"default": second(c.UpdateDocumentDefaultVersion(t.Context(), &ssm.UpdateDocumentDefaultVersionInput{Name: aws.String("AWS-RunShellScript"), DocumentVersion: aws.String("1")})),
	} {
		if code(err) != "InvalidDocumentOperation" && !(op == "default" && code(err) == "InvalidDocument") {
			t.Errorf("%s of a document of AWS: %v", op, err)
		}
	}
}

// TestFormats: agents take JSON only, whatever the document was written in.
func TestFormats(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c := p.sdk()
	session := "schemaVersion: '1.0'\nsessionType: Standard_Stream\ninputs:\n  idleSessionTimeout: '20'\n  1: dropped\n"
	for name, in := range map[string]*ssm.CreateDocumentInput{
		"Yaml-Doc":    {Content: aws.String(yamlDocument), DocumentFormat: "YAML"},
		"Json-Doc":    {Content: script("x")},
		"Session-Doc": {Content: &session, DocumentFormat: "YAML", DocumentType: "Session"},
	} {
		in.Name = &name
		if _, err := c.CreateDocument(t.Context(), in); err != nil {
			t.Fatal(name, err)
		}
		get := func(format types.DocumentFormat) *ssm.GetDocumentOutput {
			out, err := c.GetDocument(t.Context(), &ssm.GetDocumentInput{Name: &name, DocumentFormat: format})
			if err != nil {
				t.Fatal(name, format, err)
			}
			return out
		}
		if s := *get("TEXT").Content; s != *in.Content {
			t.Errorf("%s as text: %s", name, s)
		}
		asJSON := get("")
		if !json.Valid([]byte(*asJSON.Content)) || asJSON.DocumentFormat != "JSON" {
			t.Errorf("%s: %s", name, *asJSON.Content)
		}
		asYAML := *get("YAML").Content
		if in.DocumentFormat == "YAML" && asYAML != *in.Content {
			t.Errorf("%s as YAML: %s", name, asYAML)
		}
		if name == "Session-Doc" {
			if strings.Contains(*asJSON.Content, "dropped") || !strings.Contains(*asJSON.Content, `"idleSessionTimeout": "20"`) {
				t.Errorf("%s", *asJSON.Content)
			}
			continue
		}
		one, err := doc.Decode([]byte(*asJSON.Content))
		if err != nil {
			t.Fatal(err)
		}
		two, err := doc.DecodeYAML([]byte(asYAML))
		if err != nil {
			t.Fatal(err, asYAML)
		}
		if same(t, one) != same(t, two) {
			t.Errorf("%s: JSON says\n%s\nYAML says\n%s", name, same(t, one), same(t, two))
		}
	}
}

func same(t *testing.T, d doc.Document) string {
	t.Helper()
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestListDocuments(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c := p.sdk()
	for name, in := range map[string]*ssm.CreateDocumentInput{
		"Lab-One": {Content: script("one"), Tags: []types.Tag{{Key: aws.String("site"), Value: aws.String("lab")}}},
		"Lab-Two": {Content: aws.String(strings.ReplaceAll(*script("two"), "runShellScript", "runPowerShellScript")), TargetType: aws.String("/AWS::EC2::Instance")},
		"Shell":   {Content: aws.String(`{"schemaVersion":"1.0","sessionType":"Standard_Stream"}`), DocumentType: "Session"},
	} {
		in.Name = &name
		if _, err := c.CreateDocument(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	const ownCommands = "AWS-ConfigureAWSPackage AWS-ConfigureCloudWatch AWS-ConfigureDocker AWS-InstallApplication AWS-InstallPowerShellModule AWS-JoinDirectoryServiceDomain AWS-RunDockerAction AWS-RunDocument AWS-RunPowerShellScript AWS-RunRemoteScript AWS-RunShellScript"
	const ownSessions = "AWS-StartInteractiveCommand AWS-StartNonInteractiveCommand AWS-StartPortForwardingSession " +
		"AWS-StartPortForwardingSessionToRemoteHost AWS-StartPortForwardingSessionToSocket AWS-StartSSHSession"
	all := slices.Concat(strings.Fields(ownCommands), strings.Fields(ownSessions), []string{"Lab-One", "Lab-Two", "Shell"})
	var seen []string
	pages := ssm.NewListDocumentsPaginator(c, &ssm.ListDocumentsInput{MaxResults: aws.Int32(1)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil || len(page.DocumentIdentifiers) > 1 || len(seen) > len(all) {
			t.Fatal(err)
		}
		seen = append(seen, names(page)...)
	}
	if !slices.Equal(seen, all) {
		t.Errorf("pages hold %v", seen)
	}
	for _, tc := range []struct {
		key    string
		values []string
		want   string
	}{
		{"Name", []string{"Lab-"}, "Lab-One Lab-Two"}, {"Name", []string{"Shell", "AWS-RunP"}, "AWS-RunPowerShellScript Shell"}, {"Name", []string{"x"}, ""},
		{"Owner", []string{"Amazon"}, ownCommands + " " + ownSessions}, {"Owner", []string{"Self"}, "Lab-One Lab-Two Shell"}, {"Owner", []string{"ThirdParty"}, ""},
		{"Owner", []string{"me"}, "ValidationException"}, {"PlatformTypes", []string{"Windows"}, "AWS-ConfigureAWSPackage AWS-ConfigureCloudWatch AWS-ConfigureDocker AWS-InstallApplication AWS-InstallPowerShellModule AWS-JoinDirectoryServiceDomain AWS-RunDockerAction AWS-RunDocument AWS-RunPowerShellScript AWS-RunRemoteScript " + ownSessions + " Lab-Two Shell"},
		{"PlatformTypes", []string{"BeOS"}, "ValidationException"}, {"DocumentType", []string{"Session"}, ownSessions + " Shell"}, {"TargetType", []string{"/AWS::EC2::Instance"}, "Lab-Two"},
		{"SearchKeyword", []string{"POWER"}, "AWS-InstallPowerShellModule AWS-RunPowerShellScript"}, {"tag:site", []string{"lab"}, "Lab-One"}, {"tag:site", []string{"home"}, ""},
		{"Colour", []string{"red"}, "InvalidFilterKey"}, {"Name", nil, "ValidationException"},
	} {
		out, err := c.ListDocuments(t.Context(), &ssm.ListDocumentsInput{Filters: []types.DocumentKeyValuesFilter{{Key: &tc.key, Values: tc.values}}})
		got := code(err)
		if err == nil {
			got = strings.Join(names(out), " ")
		}
		if got != tc.want {
			t.Errorf("%s %v: %s, want %s", tc.key, tc.values, got, tc.want)
		}
	}
	old, err := c.ListDocuments(t.Context(), &ssm.ListDocumentsInput{DocumentFilterList: []types.DocumentFilter{{Key: "Owner", Value: aws.String("Self")}, {Key: "DocumentType", Value: aws.String("Command")}}})
	if err != nil || strings.Join(names(old), " ") != "Lab-One Lab-Two" {
		t.Errorf("%v %v", old, err)
	}
	_, err = c.ListDocuments(t.Context(), &ssm.ListDocumentsInput{DocumentFilterList: []types.DocumentFilter{{Key: "TargetType", Value: aws.String("x")}}})
	if code(err) != "InvalidFilterKey" {
		t.Error(err)
	}
}

func names(out *ssm.ListDocumentsOutput) (all []string) {
	for _, d := range out.DocumentIdentifiers {
		all = append(all, *d.Name)
	}
	return all
}

func TestResolve(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c := p.sdk()
	if _, err := c.CreateDocument(t.Context(), &ssm.CreateDocumentInput{Name: aws.String("Yaml-Doc"), Content: aws.String(yamlDocument), DocumentFormat: "YAML"}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, version, want string }{
		{"AWS-RunShellScript", "", "AWS-RunShellScript 1 Linux MacOS"},
		{"AWS-RunPowerShellScript", "$LATEST", "AWS-RunPowerShellScript 1 Windows Linux MacOS"},
		{"arn:aws:ssm:us-east-1::document/AWS-RunShellScript", "$DEFAULT", "AWS-RunShellScript 1 Linux MacOS"},
		{"arn:aws:ssm:us-east-1:111122223333:document/Yaml-Doc", "1", "Yaml-Doc 1 Linux MacOS"},
		{"arn:aws:ssm:us-east-1::document/Yaml-Doc", "1", "InvalidDocument"},
		{"arn:aws:ssm:us-east-1:999999999999:document/Yaml-Doc", "1", "InvalidDocument"},
		{"arn:aws:s3:us-east-1:111122223333:document/Yaml-Doc", "1", "InvalidDocument"},
		{"arn:aws:ssm:us-east-1:111122223333:parameter/Yaml-Doc", "1", "InvalidDocument"},
		{"Yaml-Doc/1", "", "InvalidDocument"}, {"Yaml", "", "InvalidDocument"}, {"", "", "InvalidDocument"},
		{"Yaml-Doc", "2", "InvalidDocumentVersion"}, {"AWS-RunShellScript", "2", "InvalidDocumentVersion"}, {"Yaml-Doc", "99999999999999999999", "InvalidDocumentVersion"},
	} {
		var r documents.Resolved
		err := p.db.View(func(tx *store.Tx) (err error) { r, err = p.documents.Resolve(tx, tc.name, tc.version); return err })
		got := strings.Join(append([]string{r.Name, fmt.Sprint(r.Version)}, r.Platforms...), " ")
		if err != nil {
			got, _, _ = strings.Cut(err.Error(), ":")
		} else if _, err := doc.Decode(r.Content); err != nil || len(r.Hash) != 64 || r.Type != "Command" {
			t.Errorf("%s: %v %+v", tc.name, err, r)
		}
		if got != tc.want {
			t.Errorf("%s %s: %s, want %s", tc.name, tc.version, got, tc.want)
		}
	}
}

// TestOwnedDocuments holds the documents of AWS by what operators know of them.
func TestOwnedDocuments(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	for _, kind := range []string{"Shell", "PowerShell"} {
		out, err := p.sdk().DescribeDocument(t.Context(), &ssm.DescribeDocumentInput{Name: aws.String("AWS-Run" + kind + "Script")})
		if err != nil {
			t.Fatal(err)
		}
		d := out.Document
		var params []string
		for _, q := range d.Parameters {
			params = append(params, fmt.Sprintf("%s %s %q", *q.Name, q.Type, aws.ToString(q.DefaultValue)))
		}
		if *d.Owner != "Amazon" || *d.SchemaVersion != "1.2" || *d.DocumentVersion != "1" ||
			strings.Join(params, ", ") != `commands StringList "", executionTimeout String "3600", workingDirectory String ""` {
			t.Errorf("%+v %v", d, params)
		}
		got, err := p.sdk().GetDocument(t.Context(), &ssm.GetDocumentInput{Name: d.Name})
		if err != nil {
			t.Fatal(err)
		}
		content, err := doc.Decode([]byte(*got.Content))
		if err != nil {
			t.Fatal(err)
		}
		props, _ := content.RuntimeConfig["aws:run"+kind+"Script"].Properties.([]any)
		if len(props) != 1 || props[0].(map[string]any)["id"] != "0.aws:run"+kind+"Script" {
			t.Errorf("%v", props)
		}
		for seconds, ok := range map[string]bool{"1": true, "3600": true, "172800": true, "172801": false, "0": false, "99999": true, "180000": false, "": false, "1h": false} {
			errs := content.CheckParameters(map[string][]string{"commands": {"true"}, "executionTimeout": {seconds}})
			if (len(errs) == 0) != ok {
				t.Errorf("executionTimeout %q: %v", seconds, errs)
			}
		}
	}
}
