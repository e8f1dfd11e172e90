package controlplane

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"

	wire "ssmagent/internal/wire/ssm"
)

// parameter writes a parameter and returns its version.
func (p *plane) parameter(in *ssm.PutParameterInput) int64 {
	p.t.Helper()
	out, err := p.sdk().PutParameter(p.t.Context(), in)
	if err != nil {
		p.t.Fatalf("%s: %v", *in.Name, err)
	}
	return out.Version
}

func text(name, value string) *ssm.PutParameterInput {
	return &ssm.PutParameterInput{Name: &name, Value: &value, Type: types.ParameterTypeString}
}

func overwrite(name, value string) *ssm.PutParameterInput {
	return &ssm.PutParameterInput{Name: &name, Value: &value, Overwrite: aws.Bool(true)}
}

// TestParameterVersions: each version is found by its number and label, after a
// restart as well, and the labels move.
func TestParameterVersions(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c, ctx := p.sdk(), t.Context()
	in := text("/lab/motd", "one")
	in.Description, in.AllowedPattern, in.Tags = aws.String("what is shown"), aws.String("^[a-z]+$"), []types.Tag{{Key: aws.String("site"), Value: aws.String("lab")}}
	versions := []int64{p.parameter(in), p.parameter(overwrite("/lab/motd", "two")), p.parameter(overwrite("/lab/motd", "three"))}
	if !slices.Equal(versions, []int64{1, 2, 3}) {
		t.Errorf("versions %v", versions)
	}
	labelled, err := c.LabelParameterVersion(ctx, &ssm.LabelParameterVersionInput{Name: aws.String("/lab/motd"), ParameterVersion: aws.Int64(1), Labels: []string{"prod", "test", "7up", "aws-x", "SSMy", "a b"}})
	if err != nil || !slices.Equal(labelled.InvalidLabels, []string{"7up", "aws-x", "SSMy", "a b"}) || labelled.ParameterVersion != 1 {
		t.Errorf("%+v %v", labelled, err)
	}
	if moved, err := c.LabelParameterVersion(ctx, &ssm.LabelParameterVersionInput{Name: aws.String("/lab/motd"), Labels: []string{"test"}}); err != nil || moved.ParameterVersion != 3 {
		t.Errorf("%+v %v", moved, err)
	}
	p.restart()
	c = p.sdk()
	arn := "arn:aws:ssm:us-east-1:111122223333:parameter/lab/motd"
	for ref, want := range map[string]string{"/lab/motd": "three 3 ", "/lab/motd:1": "one 1 :1", "/lab/motd:2": "two 2 :2", "/lab/motd:prod": "one 1 :prod", "/lab/motd:test": "three 3 :test", arn: "three 3 ", arn + ":2": "two 2 :2"} {
		out, err := c.GetParameter(ctx, &ssm.GetParameterInput{Name: &ref})
		if err != nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		v := out.Parameter
		if got := fmt.Sprintf("%s %d %s", *v.Value, v.Version, aws.ToString(v.Selector)); got != want || *v.Name != "/lab/motd" || *v.ARN != arn || *v.DataType != "text" || v.Type != types.ParameterTypeString {
			t.Errorf("%s: %q, want %q; %+v", ref, got, want, v)
		}
	}
	several, err := c.GetParameters(ctx, &ssm.GetParametersInput{Names: []string{"/lab/motd:prod", "/lab/motd", "none", "/lab/motd:9", "/lab/motd:no", "/lab/motd"}})
	if err != nil || len(several.Parameters) != 2 || !slices.Equal(several.InvalidParameters, []string{"none", "/lab/motd:9", "/lab/motd:no"}) {
		t.Errorf("%+v %v", several, err)
	}
	off, err := c.UnlabelParameterVersion(ctx, &ssm.UnlabelParameterVersionInput{Name: aws.String("/lab/motd"), ParameterVersion: aws.Int64(1), Labels: []string{"prod", "test"}})
	if err != nil || !slices.Equal(off.RemovedLabels, []string{"prod"}) || !slices.Equal(off.InvalidLabels, []string{"test"}) {
		t.Errorf("%+v %v", off, err)
	}
	var history []string
	pages := ssm.NewGetParameterHistoryPaginator(c, &ssm.GetParameterHistoryInput{Name: aws.String("/lab/motd"), MaxResults: aws.Int32(1)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil || len(page.Parameters) != 1 {
			t.Fatalf("%+v %v", page, err)
		}
		v := page.Parameters[0]
		history = append(history, fmt.Sprint(v.Version, *v.Value, v.Labels, *v.Description, *v.AllowedPattern, v.Tier, strings.HasPrefix(*v.LastModifiedUser, "arn:aws:iam::111122223333:")))
	}
	if want := []string{"1one[]what is shown^[a-z]+$Standardtrue", "2two[]what is shown^[a-z]+$Standardtrue", "3three[test]what is shown^[a-z]+$Standardtrue"}; !slices.Equal(history, want) {
		t.Errorf("%q", history)
	}
	tags, err := c.ListTagsForResource(ctx, &ssm.ListTagsForResourceInput{ResourceType: types.ResourceTypeForTaggingParameter, ResourceId: aws.String("/lab/motd")})
	if err != nil || len(tags.TagList) != 1 || *tags.TagList[0].Value != "lab" {
		t.Errorf("%+v %v", tags, err)
	}
}

// TestParameterRefusals: the codes that AWS has.
func TestParameterRefusals(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c, ctx := p.sdk(), t.Context()
	p.parameter(text("plain", "v"))
	big := text("big", strings.Repeat("x", 4097))
	big.Tier = types.ParameterTierAdvanced
	p.parameter(big)
	put := func(change func(*ssm.PutParameterInput)) error {
		in := text("/a/b", "v")
		change(in)
		_, err := c.PutParameter(ctx, in)
		return err
	}
	named := func(name string) error { return put(func(in *ssm.PutParameterInput) { in.Name = &name }) }
	get := func(name string) error {
		_, err := c.GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
		return err
	}
	for what, tc := range map[string]struct {
		err  error
		code string
	}{
		"there already":  {named("plain"), "ParameterAlreadyExists"},
		"a blank":        {named("a b"), "ValidationException"},
		"no first slash": {named("a/b"), "ValidationException"},
		"an empty level": {named("/a//b"), "ValidationException"},
		"a last slash":   {named("/a/"), "ValidationException"},
		"a selector":     {named("a:1"), "ValidationException"},
		"of AWS":         {named("/AWS/x"), "ValidationException"},
		"of SSM":         {named("ssmx"), "ValidationException"},
		"15 levels":      {named(strings.Repeat("/l", 15)), ""},
		"16 levels":      {named(strings.Repeat("/l", 16)), "HierarchyLevelLimitExceededException"},
		"a long name":    {named(strings.Repeat("l", 980)), "ValidationException"},
		"no type":        {put(func(in *ssm.PutParameterInput) { in.Type = "" }), "ValidationException"},
		"another type": {put(func(in *ssm.PutParameterInput) {
			in.Name, in.Type, in.Overwrite = aws.String("plain"), "StringList", aws.Bool(true)
		}), "HierarchyTypeMismatchException"},
		"4 KB": {put(func(in *ssm.PutParameterInput) {
			in.Name, in.Value = aws.String("4k"), aws.String(strings.Repeat("x", 4096))
		}), ""},
		"over 4 KB": {put(func(in *ssm.PutParameterInput) { in.Value = aws.String(strings.Repeat("x", 4097)) }), "ValidationException"},
		"over 8 KB": {put(func(in *ssm.PutParameterInput) { in.Value, in.Tier = aws.String(strings.Repeat("x", 8193)), "Advanced" }), "ValidationException"},
		"back to Standard": {put(func(in *ssm.PutParameterInput) {
			in.Name, in.Tier, in.Overwrite = aws.String("big"), "Standard", aws.Bool(true)
		}), "ValidationException"},
		"nested":              {put(func(in *ssm.PutParameterInput) { in.Value = aws.String("x {{ssm:plain}}") }), "ValidationException"},
		"no pattern":          {put(func(in *ssm.PutParameterInput) { in.AllowedPattern = aws.String("(") }), "InvalidAllowedPatternException"},
		"against the pattern": {put(func(in *ssm.PutParameterInput) { in.AllowedPattern = aws.String("^[0-9]$") }), "ParameterPatternMismatchException"},
		"policies":            {put(func(in *ssm.PutParameterInput) { in.Policies = aws.String("[]") }), "InvalidPolicyTypeException"},
		"an image":            {put(func(in *ssm.PutParameterInput) { in.DataType = aws.String("aws:ec2:image") }), "ValidationException"},
		"tags and overwrite": {put(func(in *ssm.PutParameterInput) {
			in.Overwrite, in.Tags = aws.Bool(true), []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}
		}), "ValidationException"},
		"a key without secret": {put(func(in *ssm.PutParameterInput) { in.KeyId = aws.String("alias/x") }), "InvalidKeyId"},
		"no such key":          {put(func(in *ssm.PutParameterInput) { in.Type, in.KeyId = "SecureString", aws.String("alias/x") }), "InvalidKeyId"},
		"nothing":              {get("nothing"), "ParameterNotFound"},
		"nothing of a version": {get("nothing:1"), "ParameterNotFound"},
		"no version":           {get("plain:2"), "ParameterVersionNotFound"},
		"a huge version":       {get("plain:99999999999999999999"), "ParameterVersionNotFound"},
		"no label":             {get("plain:prod"), "ParameterVersionNotFound"},
		"of another account":   {get("arn:aws:ssm:us-east-1:999999999999:parameter/plain"), "ParameterNotFound"},
	} {
		if got := code(tc.err); got != tc.code {
			t.Errorf("%s: %v, want %q", what, tc.err, tc.code)
		}
	}
	for target, want := range map[string]string{
		`PutParameter {"Name":"x","Value":"v","Type":"String","Colour":"red"}`:                                              "ValidationException",
		`PutParameter {"Name":"x","Value":"","Type":"String"}`:                                                              "ValidationException",
		`PutParameter {"Name":"x","Value":"v","Type":"Number"}`:                                                             "ValidationException",
		`GetParameters {"Names":["1","2","3","4","5","6","7","8","9","10","11"]}`:                                           "ValidationException",
		`DeleteParameter {"Name":"nothing"}`:                                                                                "ParameterNotFound",
		`LabelParameterVersion {"Name":"nothing","Labels":["a"]}`:                                                           "ParameterNotFound",
		`LabelParameterVersion {"Name":"plain","Labels":["a"],"ParameterVersion":2}`:                                        "ParameterVersionNotFound",
		`UnlabelParameterVersion {"Name":"plain","Labels":["a"],"ParameterVersion":0}`:                                      "ValidationException",
		`GetParameterHistory {"Name":"nothing"}`:                                                                            "ParameterNotFound",
		`GetParameterHistory {"Name":"plain","NextToken":"x"}`:                                                              "InvalidNextToken",
		`GetParametersByPath {"Path":"lab"}`:                                                                                "ValidationException",
		`GetParametersByPath {"Path":"/","MaxResults":11}`:                                                                  "ValidationException",
		`GetParametersByPath {"Path":"/","ParameterFilters":[{"Key":"Name","Values":["x"]}]}`:                               "InvalidFilterKey",
		`DescribeParameters {"ParameterFilters":[{"Key":"Label","Values":["x"]}]}`:                                          "InvalidFilterKey",
		`DescribeParameters {"ParameterFilters":[{"Key":"Colour","Values":["x"]}]}`:                                         "InvalidFilterKey",
		`DescribeParameters {"ParameterFilters":[{"Key":"tag:","Values":["x"]}]}`:                                           "InvalidFilterKey",
		`DescribeParameters {"ParameterFilters":[{"Key":"Type","Option":"Contains","Values":["S"]}]}`:                       "InvalidFilterOption",
		`DescribeParameters {"ParameterFilters":[{"Key":"Path","Option":"Equals","Values":["/a"]}]}`:                        "InvalidFilterOption",
		`DescribeParameters {"ParameterFilters":[{"Key":"Type","Values":["Number"]}]}`:                                      "InvalidFilterValue",
		`DescribeParameters {"ParameterFilters":[{"Key":"Path","Values":["a"]}]}`:                                           "InvalidFilterValue",
		`DescribeParameters {"ParameterFilters":[{"Key":"Name"}]}`:                                                          "InvalidFilterValue",
		`DescribeParameters {"Filters":[{"Key":"Tier","Values":["x"]}]}`:                                                    "ValidationException",
		`DescribeParameters {"Filters":[{"Key":"Name","Values":["x"]}],"ParameterFilters":[{"Key":"Name","Values":["x"]}]}`: "ValidationException",
	} {
		op, body, _ := strings.Cut(target, " ")
		if a := p.call(p.operator(), "AmazonSSM."+op, body); a.status != 400 || a.Type != want {
			t.Errorf("%s: %d %s", target, a.status, a.body)
		}
	}
}

// TestParameterLimits: the oldest version goes, unless it has a label.
func TestParameterLimits(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c, ctx := p.sdk(), t.Context()
	p.parameter(text("n", "1"))
	for i := 2; i <= 101; i++ {
		p.parameter(overwrite("n", fmt.Sprint(i)))
	}
	if _, err := c.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String("n:1")}); code(err) != "ParameterVersionNotFound" {
		t.Error(err)
	}
	if out, err := c.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String("n:2")}); err != nil || *out.Parameter.Value != "2" {
		t.Error(err)
	}
	var labels []string
	for i := range 10 {
		labels = append(labels, fmt.Sprintf("label%d", i))
	}
	if _, err := c.LabelParameterVersion(ctx, &ssm.LabelParameterVersionInput{Name: aws.String("n"), ParameterVersion: aws.Int64(2), Labels: labels}); err != nil {
		t.Error(err)
	}
	if _, err := c.LabelParameterVersion(ctx, &ssm.LabelParameterVersionInput{Name: aws.String("n"), ParameterVersion: aws.Int64(2), Labels: []string{"more"}}); code(err) != "ParameterVersionLabelLimitExceeded" {
		t.Error(err)
	}
	if _, err := c.PutParameter(ctx, overwrite("n", "102")); code(err) != "ParameterMaxVersionLimitExceeded" {
		t.Error(err)
	}
	deleted, err := c.DeleteParameters(ctx, &ssm.DeleteParametersInput{Names: []string{"n", "none"}})
	if err != nil || !slices.Equal(deleted.DeletedParameters, []string{"n"}) || !slices.Equal(deleted.InvalidParameters, []string{"none"}) {
		t.Errorf("%+v %v", deleted, err)
	}
	if n := p.parameter(text("n", "anew")); n != 1 {
		t.Errorf("version %d after it was deleted", n)
	}
}

// TestSecureStrings: they are sealed in the store, each for its own name only,
// and opened for who asks for it; nodes may read, and only that.
func TestSecureStrings(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c, ctx := p.sdk(), t.Context()
	id, _ := p.newKey(&kms.CreateKeyInput{})
	p.name("alias/secrets", id)
	long := strings.Repeat("long secret ", 600)
	for name, in := range map[string]*ssm.PutParameterInput{
		"/s/default": {Value: aws.String("hush")}, "/s/own": {Value: aws.String("quiet"), KeyId: aws.String("alias/secrets")},
		"/s/long": {Value: &long, Tier: types.ParameterTierIntelligentTiering},
	} {
		in.Name, in.Type = &name, types.ParameterTypeSecureString
		p.parameter(in)
	}
	node := p.register(&ssm.CreateActivationInput{})
	token := p.token(node)
	for name, want := range map[string]string{"/s/default": "hush", "/s/own": "quiet", "/s/long": long} {
		sealed, err := c.GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
		if err != nil {
			t.Fatal(err)
		}
		blob, err := base64.StdEncoding.DecodeString(*sealed.Parameter.Value)
		if err != nil || strings.Contains(string(blob), want) {
			t.Errorf("%s without decryption: %q", name, *sealed.Parameter.Value)
		}
		if len(want) < 4096 { // what KMS takes
			open, err := p.kms().Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: map[string]string{"PARAMETER_ARN": *sealed.Parameter.ARN}})
			if err != nil || string(open.Plaintext) != want {
				t.Errorf("%s by the key service: %v", name, err)
			}
		}
		if _, err := p.kms().Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob[:min(len(blob), 6000)], EncryptionContext: map[string]string{"PARAMETER_ARN": "x"}}); code(err) != "InvalidCiphertextException" {
			t.Errorf("%s for another name: %v", name, err)
		}
		open, err := c.GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)})
		if err != nil || *open.Parameter.Value != want {
			t.Errorf("%s: %v", name, err)
		}
		a := p.call(token, "AmazonSSM.GetParameters", `{"Names":["`+name+`"],"WithDecryption":true,"Later":1}`)
		var out wire.GetParametersOutput
		if err := json.Unmarshal([]byte(a.body), &out); err != nil || len(out.Parameters) != 1 || string(out.Parameters[0].Value) != want || out.Parameters[0].Type != "SecureString" {
			t.Errorf("%s for a node: %d %v", name, a.status, err)
		}
	}
	for op, body := range map[string]string{
		"PutParameter": `{"Name":"x","Value":"v","Type":"String"}`, "DeleteParameter": `{"Name":"/s/own"}`, "DescribeParameters": `{}`,
		"GetParametersByPath": `{"Path":"/"}`, "GetParameterHistory": `{"Name":"/s/own"}`, "LabelParameterVersion": `{"Name":"/s/own","Labels":["l"]}`,
	} {
		if a := p.call(token, "AmazonSSM."+op, body); a.Type != "AccessDeniedException" {
			t.Errorf("%s by a node: %s", op, a.body)
		}
		if a := p.call(aws.Credentials{}, "AmazonSSM."+op, body); a.Type != "MissingAuthenticationTokenException" {
			t.Errorf("%s by nobody: %s", op, a.body)
		}
	}
	history, err := c.GetParameterHistory(ctx, &ssm.GetParameterHistoryInput{Name: aws.String("/s/own"), WithDecryption: aws.Bool(true)})
	if err != nil || *history.Parameters[0].Value != "quiet" || *history.Parameters[0].KeyId != "alias/secrets" {
		t.Errorf("%+v %v", history, err)
	}
	if _, err := p.kms().DisableKey(ctx, &kms.DisableKeyInput{KeyId: &id}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String("/s/own"), WithDecryption: aws.Bool(true)}); code(err) != "InvalidKeyId" {
		t.Error(err)
	}
}

// TestManagedKey: the key of parameters without one is there once it is needed,
// and nobody can change it.
func TestManagedKey(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	ctx, name := t.Context(), aws.String("alias/aws/ssm")
	if _, err := p.kms().DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: name}); code(err) != "NotFoundException" {
		t.Error(err)
	}
	var ids []string
	for _, parameter := range []string{"a", "b"} {
		p.parameter(&ssm.PutParameterInput{Name: &parameter, Value: aws.String("v"), Type: types.ParameterTypeSecureString})
		out, err := p.kms().DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: name})
		if err != nil || out.KeyMetadata.KeyManager != "AWS" {
			t.Fatalf("%+v %v", out, err)
		}
		ids = append(ids, *out.KeyMetadata.KeyId)
	}
	if ids[0] != ids[1] {
		t.Error("each parameter has its own key")
	}
	own, _ := p.newKey(&kms.CreateKeyInput{})
	_, disabled := p.kms().DisableKey(ctx, &kms.DisableKeyInput{KeyId: &ids[0]})
	_, ended := p.kms().ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &ids[0]})
	_, unnamed := p.kms().DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: name})
	_, named := p.kms().CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/mine"), TargetKeyId: &ids[0]})
	for what, err := range map[string]error{"disabled": disabled, "deleted": ended, "without its alias": unnamed, "with another alias": named} {
		if code(err) != "AccessDeniedException" {
			t.Errorf("the key is %s: %v", what, err)
		}
	}
	if _, err := p.kms().UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: name, TargetKeyId: &own}); code(err) != "InvalidAliasNameException" {
		t.Error(err)
	}
}

// hierarchy fills the store for lists.
func (p *plane) hierarchy() {
	p.t.Helper()
	for _, name := range []string{"top", "/top2", "/lab/a", "/lab/b", "/lab/deep/c", "/lab/deep/er/d", "/laboratory/x"} {
		in := text(name, "of "+name)
		in.Tags = []types.Tag{{Key: aws.String("levels"), Value: aws.String(fmt.Sprint(strings.Count(name, "/")))}}
		p.parameter(in)
	}
	p.parameter(&ssm.PutParameterInput{Name: aws.String("/lab/list"), Value: aws.String("x,y"), Type: types.ParameterTypeStringList})
	p.parameter(&ssm.PutParameterInput{Name: aws.String("/lab/secret"), Value: aws.String("hush"), Type: types.ParameterTypeSecureString, Tier: types.ParameterTierAdvanced})
	p.parameter(overwrite("/lab/a", "newer"))
	if _, err := p.sdk().LabelParameterVersion(p.t.Context(), &ssm.LabelParameterVersionInput{Name: aws.String("/lab/a"), ParameterVersion: aws.Int64(1), Labels: []string{"prod"}}); err != nil {
		p.t.Fatal(err)
	}
}

func filter(key, option string, values ...string) []types.ParameterStringFilter {
	f := types.ParameterStringFilter{Key: &key, Values: values}
	if option != "" {
		f.Option = &option
	}
	return []types.ParameterStringFilter{f}
}

// TestParametersByPath walks hierarchies, one parameter a page.
func TestParametersByPath(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.hierarchy()
	for _, tc := range []struct {
		path      string
		recursive bool
		filters   []types.ParameterStringFilter
		want      string
	}{
		{"/", false, nil, "/top2=of /top2 top=of top"},
		{"/lab", false, nil, "/lab/a=newer /lab/b=of /lab/b /lab/list=x,y /lab/secret=hush"},
		{"/lab/", true, nil, "/lab/a=newer /lab/b=of /lab/b /lab/deep/c=of /lab/deep/c /lab/deep/er/d=of /lab/deep/er/d /lab/list=x,y /lab/secret=hush"},
		{"/lab/deep", true, nil, "/lab/deep/c=of /lab/deep/c /lab/deep/er/d=of /lab/deep/er/d"},
		{"/none", true, nil, ""},
		{"/lab", false, filter("Type", "", "StringList", "SecureString"), "/lab/list=x,y /lab/secret=hush"},
		{"/lab", false, filter("Type", "BeginsWith", "Secure"), "/lab/secret=hush"},
		{"/lab", true, filter("KeyId", "", "alias/aws/ssm"), "/lab/secret=hush"},
		{"/lab", true, filter("Label", "Equals", "prod", "none"), "/lab/a=of /lab/a"},
	} {
		in := &ssm.GetParametersByPathInput{Path: &tc.path, Recursive: &tc.recursive, ParameterFilters: tc.filters, WithDecryption: aws.Bool(true), MaxResults: aws.Int32(1)}
		var got []string
		pages := ssm.NewGetParametersByPathPaginator(p.sdk(), in)
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			if err != nil || len(page.Parameters) > 1 {
				t.Fatalf("%s: %d %v", tc.path, len(page.Parameters), err)
			}
			for _, v := range page.Parameters {
				got = append(got, *v.Name+"="+*v.Value)
			}
		}
		if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s %v: %s", tc.path, tc.filters, diff)
		}
	}
}

// TestDescribeParameters filters by everything there is, one parameter a page.
func TestDescribeParameters(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.hierarchy()
	for _, tc := range []struct {
		name string
		in   ssm.DescribeParametersInput
		want string
	}{
		{"all", ssm.DescribeParametersInput{}, "/lab/a /lab/b /lab/deep/c /lab/deep/er/d /lab/list /lab/secret /laboratory/x /top2 top"},
		{"shared", ssm.DescribeParametersInput{Shared: aws.Bool(true)}, ""},
		{"name", ssm.DescribeParametersInput{ParameterFilters: filter("Name", "", "top", "/lab/b", "no")}, "/lab/b top"},
		{"beginning", ssm.DescribeParametersInput{ParameterFilters: filter("Name", "BeginsWith", "/lab")}, "/lab/a /lab/b /lab/deep/c /lab/deep/er/d /lab/list /lab/secret /laboratory/x"},
		{"part", ssm.DescribeParametersInput{ParameterFilters: filter("Name", "Contains", "top", "/er/")}, "/lab/deep/er/d /top2 top"},
		{"level", ssm.DescribeParametersInput{ParameterFilters: filter("Path", "", "/lab")}, "/lab/a /lab/b /lab/list /lab/secret"},
		{"levels", ssm.DescribeParametersInput{ParameterFilters: filter("Path", "Recursive", "/lab/deep", "/laboratory")}, "/lab/deep/c /lab/deep/er/d /laboratory/x"},
		{"tier", ssm.DescribeParametersInput{ParameterFilters: filter("Tier", "", "Advanced")}, "/lab/secret"},
		{"data type", ssm.DescribeParametersInput{ParameterFilters: filter("DataType", "", "text")}, "/lab/a /lab/b /lab/deep/c /lab/deep/er/d /lab/list /lab/secret /laboratory/x /top2 top"},
		{"tag", ssm.DescribeParametersInput{ParameterFilters: filter("tag:levels", "", "3", "4")}, "/lab/deep/c /lab/deep/er/d"},
		{"tag that is there", ssm.DescribeParametersInput{ParameterFilters: filter("tag:levels", "")}, "/lab/a /lab/b /lab/deep/c /lab/deep/er/d /laboratory/x /top2 top"},
		{"two filters", ssm.DescribeParametersInput{ParameterFilters: append(filter("Path", "Recursive", "/lab"), filter("Type", "", "StringList")...)}, "/lab/list"},
		{"older form", ssm.DescribeParametersInput{Filters: []types.ParametersFilter{{Key: "Name", Values: []string{"/lab/d", "to"}}}}, "/lab/deep/c /lab/deep/er/d top"},
	} {
		tc.in.MaxResults = aws.Int32(1)
		var got []string
		pages := ssm.NewDescribeParametersPaginator(p.sdk(), &tc.in)
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			if err != nil || len(page.Parameters) > 1 {
				t.Fatalf("%s: %d %v", tc.name, len(page.Parameters), err)
			}
			for _, v := range page.Parameters {
				got = append(got, *v.Name)
			}
		}
		if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
}

// TestDocumentSharing: nobody else has an account here, and that is said.
func TestDocumentSharing(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c, ctx := p.sdk(), t.Context()
	if _, err := c.CreateDocument(ctx, &ssm.CreateDocumentInput{Name: aws.String("Mine"), Content: script("one")}); err != nil {
		t.Fatal(err)
	}
	share := func(name string, add, remove []string) string {
		_, err := c.ModifyDocumentPermission(ctx, &ssm.ModifyDocumentPermissionInput{Name: &name, PermissionType: types.DocumentPermissionTypeShare, AccountIdsToAdd: add, AccountIdsToRemove: remove})
		return code(err)
	}
	for what, tc := range map[string][2]string{
		"with oneself":       {share("Mine", []string{"111122223333"}, nil), ""},
		"no more":            {share("Mine", nil, []string{"222233334444", "all"}), ""},
		"with another":       {share("Mine", []string{"222233334444"}, nil), "DocumentPermissionLimit"},
		"with all":           {share("Mine", []string{"All"}, nil), "DocumentPermissionLimit"},
		"with nobody":        {share("Mine", nil, nil), "ValidationException"},
		"with a name":        {share("Mine", []string{"bob"}, nil), "ValidationException"},
		"what is not there":  {share("Other", []string{"111122223333"}, nil), "InvalidDocument"},
		"what is of Amazon":  {share("AWS-RunShellScript", []string{"111122223333"}, nil), "InvalidDocument"},
		"by another type":    {p.call(p.operator(), "AmazonSSM.ModifyDocumentPermission", `{"Name":"Mine","PermissionType":"Give","AccountIdsToAdd":["111122223333"]}`).Type, "InvalidPermissionType"},
		"asked, by a token":  {p.call(p.operator(), "AmazonSSM.DescribeDocumentPermission", `{"Name":"Mine","PermissionType":"Share","NextToken":"x"}`).Type, "InvalidNextToken"},
		"asked, of Amazon's": {p.call(p.operator(), "AmazonSSM.DescribeDocumentPermission", `{"Name":"AWS-RunShellScript","PermissionType":"Share"}`).Type, "InvalidDocumentOperation"},
	} {
		if tc[0] != tc[1] {
			t.Errorf("%s: %q, want %q", what, tc[0], tc[1])
		}
	}
	out, err := c.DescribeDocumentPermission(ctx, &ssm.DescribeDocumentPermissionInput{Name: aws.String("Mine"), PermissionType: types.DocumentPermissionTypeShare, MaxResults: aws.Int32(1)})
	if err != nil || out.AccountIds == nil || len(out.AccountIds)+len(out.AccountSharingInfoList) != 0 || out.NextToken != nil {
		t.Errorf("%+v %v", out, err)
	}
}
