package controlplane

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"
)

func TestActivations(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c := p.sdk()
	var ids []string
	for i := range 3 {
		out, err := c.CreateActivation(t.Context(), &ssm.CreateActivationInput{
			IamRole: aws.String(fmt.Sprintf("role-%d", i%2)), DefaultInstanceName: aws.String(fmt.Sprintf("n%d", i)), Description: aws.String("d"),
			RegistrationLimit: aws.Int32(int32(i + 1)), Tags: []types.Tag{{Key: aws.String("site"), Value: aws.String("lab")}}})
		if err != nil {
			t.Fatal(err)
		}
		if len(*out.ActivationCode) < 20 || len(*out.ActivationId) != 36 {
			t.Errorf("%v", out)
		}
		ids = append(ids, *out.ActivationId)
	}
	var seen []string
	pages := ssm.NewDescribeActivationsPaginator(c, &ssm.DescribeActivationsInput{MaxResults: aws.Int32(1)})
	for n := 0; pages.HasMorePages(); n++ {
		page, err := pages.NextPage(t.Context())
		if err != nil || n > 3 || len(page.ActivationList) > 1 {
			t.Fatal(n, err)
		}
		for _, a := range page.ActivationList {
			seen = append(seen, *a.ActivationId)
			if a.Expired || aws.ToInt32(a.RegistrationsCount) != 0 || time.Until(*a.ExpirationDate) < 23*time.Hour || len(a.Tags) != 1 || *a.Description != "d" {
				t.Errorf("%+v", a)
			}
		}
	}
	slices.Sort(ids)
	if !slices.Equal(seen, ids) {
		t.Errorf("pages held %v, want %v", seen, ids)
	}
	byRole, err := c.DescribeActivations(t.Context(), &ssm.DescribeActivationsInput{Filters: []types.DescribeActivationsFilter{
		{FilterKey: "IamRole", FilterValues: []string{"role-0", "x"}}, {FilterKey: "DefaultInstanceName", FilterValues: []string{"n2"}}}})
	if err != nil || len(byRole.ActivationList) != 1 || *byRole.ActivationList[0].DefaultInstanceName != "n2" || *byRole.ActivationList[0].RegistrationLimit != 3 {
		t.Errorf("%+v %v", byRole, err)
	}
	for range 2 {
		_, err = c.DeleteActivation(t.Context(), &ssm.DeleteActivationInput{ActivationId: &ids[0]})
	}
	if code(err) != "InvalidActivation" {
		t.Errorf("second delete: %v", err)
	}
	p.clock.advance(25 * time.Hour)
	if a := p.call(p.operator(), "AmazonSSM.DescribeActivations", "{}"); strings.Count(a.body, `"Expired":true`) != 2 {
		t.Errorf("a day later: %s", a.body)
	}
	a := p.call(aws.Credentials{}, "AmazonSSM.DescribeActivations", "{}")
	if a.Type != "MissingAuthenticationTokenException" {
		t.Errorf("unsigned: %s", a.body)
	}
}

// TestActivationGrants: each member of an activation changes what its nodes are.
func TestActivationGrants(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.register(&ssm.CreateActivationInput{IamRole: aws.String("service-role"), DefaultInstanceName: aws.String("front"),
		Tags: []types.Tag{{Key: aws.String("site"), Value: aws.String("lab")}}})
	p.ping(n, "Linux")
	out, err := p.sdk().DescribeInstanceInformation(t.Context(), &ssm.DescribeInstanceInformationInput{})
	if err != nil || len(out.InstanceInformationList) != 1 {
		t.Fatalf("%+v %v", out, err)
	}
	i := out.InstanceInformationList[0]
	got := []string{*i.InstanceId, *i.IamRole, *i.Name, string(i.PingStatus), *i.AgentVersion, string(i.PlatformType), *i.PlatformName, *i.PlatformVersion, *i.IPAddress, *i.ComputerName, string(i.ResourceType), string(i.SourceType)}
	want := []string{n.id, "service-role", "front", "Online", "3.3.9000.0", "Linux", "Debian GNU/Linux", "12", "192.0.2.17", "node7", "ManagedInstance", "AWS::SSM::ManagedInstance"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	tags, err := p.sdk().ListTagsForResource(t.Context(), &ssm.ListTagsForResourceInput{ResourceType: "ManagedInstance", ResourceId: &n.id})
	if err != nil || len(tags.TagList) != 1 || *tags.TagList[0].Key != "site" || *tags.TagList[0].Value != "lab" {
		t.Errorf("%+v %v", tags, err)
	}
}

func TestPingStatus(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.register(&ssm.CreateActivationInput{})
	status := func() string {
		t.Helper()
		var out string
		found, err := p.nodesOf(ssm.DescribeInstanceInformationInput{})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range found {
			out = string(i.PingStatus)
		}
		return out
	}
	if s := status(); s != "ConnectionLost" {
		t.Errorf("before the first ping: %s", s)
	}
	p.ping(n, "Linux")
	if s := status(); s != "Online" {
		t.Errorf("after a ping: %s", s)
	}
	connected := presence{}
	p.nodes.SetPresence(connected)
	// The store's view moves with the clock; operators' signatures must too, so
	// look at the service itself.
	p.clock.advance(11 * time.Minute)
	if s := p.statusOf(n.id); s {
		t.Error("online 11 minutes after the last ping")
	}
	connected[n.id] = true
	if s := p.statusOf(n.id); !s {
		t.Error("offline although its control channel is up")
	}
}

type presence map[string]bool

func (p presence) Connected(id string) bool { return p[id] }

func TestDescribeInstanceInformation(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c := p.sdk()
	var ids []string
	byPlatform := map[string]string{}
	for i, platform := range []string{"Linux", "Linux", "Windows", "Linux", "Linux", "Linux", "Linux"} {
		n := p.register(&ssm.CreateActivationInput{IamRole: aws.String(fmt.Sprintf("role-%d", i)),
			Tags: []types.Tag{{Key: aws.String("number"), Value: aws.String(fmt.Sprint(i))}, {Key: aws.String("site"), Value: aws.String("lab")}}})
		p.ping(n, platform)
		ids, byPlatform[platform] = append(ids, n.id), n.id
	}
	slices.Sort(ids)
	var seen []string
	pages := ssm.NewDescribeInstanceInformationPaginator(c, &ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(5)})
	for n := 0; pages.HasMorePages(); n++ {
		page, err := pages.NextPage(t.Context())
		if err != nil || n > 2 {
			t.Fatal(n, err)
		}
		for _, i := range page.InstanceInformationList {
			seen = append(seen, *i.InstanceId)
		}
	}
	if !slices.Equal(seen, ids) {
		t.Errorf("pages held %v, want %v", seen, ids)
	}
	all := len(ids)
	for _, tc := range []struct {
		key    string
		values []string
		want   int
		fails  string
	}{
		{"InstanceIds", []string{ids[0], ids[3]}, 2, ""},
		{"InstanceIds", []string{"mi-00000000000000000"}, 0, ""},
		{"InstanceIds", []string{"web-7"}, 0, "InvalidInstanceId"},
		{"AgentVersion", []string{"3.3.9000.0"}, all, ""},
		{"AgentVersion", []string{"1.0.0.0"}, 0, ""},
		{"ActivationIds", []string{"5f0c1c2e-7b1d-4f5a-9a0e-3a1b2c3d4e5f"}, 0, ""},
		{"IamRole", []string{"role-1", "role-2"}, 2, ""},
		{"PingStatus", []string{"Online"}, all, ""},
		{"PingStatus", []string{"ConnectionLost", "Inactive"}, 0, ""},
		{"PingStatus", []string{"online"}, 0, "InvalidInstanceInformationFilterValue"},
		{"PlatformTypes", []string{"Windows"}, 1, ""},
		{"PlatformTypes", []string{"Plan9"}, 0, "InvalidInstanceInformationFilterValue"},
		{"ResourceType", []string{"ManagedInstance"}, all, ""},
		{"ResourceType", []string{"EC2Instance"}, 0, ""},
		{"SourceIds", []string{ids[1]}, 1, ""},
		{"SourceTypes", []string{"AWS::SSM::ManagedInstance"}, all, ""},
		{"AssociationStatus", []string{"Success"}, 0, ""},
		{"tag-key", []string{"site"}, all, ""},
		{"tag-key", []string{"sit"}, 0, ""},
		{"tag:number", []string{"3", "4", "99"}, 2, ""},
		{"tag:", []string{"3"}, 0, "InvalidFilterKey"},
		{"Colour", []string{"red"}, 0, "InvalidFilterKey"},
	} {
		found, err := p.nodesOf(ssm.DescribeInstanceInformationInput{Filters: []types.InstanceInformationStringFilter{{Key: &tc.key, Values: tc.values}}})
		if len(found) != tc.want || code(err) != tc.fails {
			t.Errorf("%s %v: %d nodes, %v; want %d, %q", tc.key, tc.values, len(found), err, tc.want, tc.fails)
		}
	}
	both, err := p.nodesOf(ssm.DescribeInstanceInformationInput{Filters: []types.InstanceInformationStringFilter{
		{Key: aws.String("PlatformTypes"), Values: []string{"Windows"}}, {Key: aws.String("tag:number"), Values: []string{"2"}}}})
	if err != nil || len(both) != 1 || *both[0].InstanceId != byPlatform["Windows"] {
		t.Errorf("two filters: %v %v", both, err)
	}
	old, err := p.nodesOf(ssm.DescribeInstanceInformationInput{InstanceInformationFilterList: []types.InstanceInformationFilter{{Key: "PlatformTypes", ValueSet: []string{"Windows"}}}})
	if err != nil || len(old) != 1 {
		t.Errorf("old filter: %v %v", old, err)
	}
	_, err = p.nodesOf(ssm.DescribeInstanceInformationInput{InstanceInformationFilterList: []types.InstanceInformationFilter{{Key: "tag-key", ValueSet: []string{"x"}}}})
	if code(err) != "InvalidFilterKey" {
		t.Errorf("old filter with a new key: %v", err)
	}
}

func (p *plane) nodesOf(in ssm.DescribeInstanceInformationInput) ([]types.InstanceInformation, error) {
	out, err := p.sdk().DescribeInstanceInformation(p.t.Context(), &in)
	if err != nil {
		return nil, err
	}
	return out.InstanceInformationList, nil
}

func TestTokensOfPages(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c := p.sdk()
	for range 2 {
		if _, err := c.CreateActivation(t.Context(), &ssm.CreateActivationInput{IamRole: aws.String("r")}); err != nil {
			t.Fatal(err)
		}
	}
	first, err := c.DescribeActivations(t.Context(), &ssm.DescribeActivationsInput{MaxResults: aws.Int32(1)})
	if err != nil || first.NextToken == nil {
		t.Fatalf("%+v %v", first, err)
	}
	token := *first.NextToken
	for name, err := range map[string]error{
		"garbage": second(c.DescribeActivations(t.Context(), &ssm.DescribeActivationsInput{NextToken: aws.String("garbage!")})),
		"changed": second(c.DescribeActivations(t.Context(), &ssm.DescribeActivationsInput{NextToken: aws.String(otherFirst(token))})),
		"other filters": second(c.DescribeActivations(t.Context(), &ssm.DescribeActivationsInput{NextToken: &token,
			Filters: []types.DescribeActivationsFilter{{FilterKey: "IamRole", FilterValues: []string{"r"}}}})),
		"other operation": second(c.ListDocuments(t.Context(), &ssm.ListDocumentsInput{NextToken: &token})),
		"associations":    second(c.ListAssociations(t.Context(), &ssm.ListAssociationsInput{NextToken: &token})),
		"nodes":           second(c.DescribeInstanceInformation(t.Context(), &ssm.DescribeInstanceInformationInput{NextToken: &token})),
	} {
		if code(err) != "InvalidNextToken" {
			t.Errorf("%s: %v, want InvalidNextToken", name, err)
		}
	}
}

// otherFirst is the token with another first letter.
func otherFirst(token string) string {
	if token[0] == 'A' {
		return "B" + token[1:]
	}
	return "A" + token[1:]
}

func second[T any](_ T, err error) error { return err }

func TestTags(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c := p.sdk()
	n := p.register(&ssm.CreateActivationInput{})
	if _, err := c.CreateDocument(t.Context(), &ssm.CreateDocumentInput{Name: aws.String("Tagged"), Content: aws.String(document22)}); err != nil {
		t.Fatal(err)
	}
	tag := func(kv ...string) (all []types.Tag) {
		for i := 0; i < len(kv); i += 2 {
			all = append(all, types.Tag{Key: &kv[i], Value: &kv[i+1]})
		}
		return all
	}
	for kind, id := range map[types.ResourceTypeForTagging]string{"ManagedInstance": n.id, "Document": "Tagged"} {
		list := func() string {
			out, err := c.ListTagsForResource(t.Context(), &ssm.ListTagsForResourceInput{ResourceType: kind, ResourceId: &id})
			if err != nil {
				t.Fatal(err)
			}
			var s []string
			for _, tg := range out.TagList {
				s = append(s, *tg.Key+"="+*tg.Value)
			}
			return strings.Join(s, " ")
		}
		add := func(tags []types.Tag) error {
			return second(c.AddTagsToResource(t.Context(), &ssm.AddTagsToResourceInput{ResourceType: kind, ResourceId: &id, Tags: tags}))
		}
		if err := add(tag("b", "1", "a", "")); err != nil || list() != "a= b=1" {
			t.Errorf("%s: %v %s", kind, err, list())
		}
		if err := add(tag("b", "2")); err != nil || list() != "a= b=2" {
			t.Errorf("%s: %v %s", kind, err, list())
		}
		_, err := c.RemoveTagsFromResource(t.Context(), &ssm.RemoveTagsFromResourceInput{ResourceType: kind, ResourceId: &id, TagKeys: []string{"a", "none"}})
		if err != nil || list() != "b=2" {
			t.Errorf("%s: %v %s", kind, err, list())
		}
		for _, bad := range [][]types.Tag{tag("", "x"), tag("aws:x", "1"), tag("k", "1", "k", "2"), tag("k{", "1"), tag(strings.Repeat("k", 129), "")} {
			if err := add(bad); code(err) != "ValidationException" {
				t.Errorf("%s %v: %v", kind, *bad[0].Key, err)
			}
		}
		var many []types.Tag
		for i := range 51 {
			many = append(many, tag(fmt.Sprint("k", i), "")...)
		}
		if err := add(many); code(err) != "TooManyTagsError" || list() != "b=2" {
			t.Errorf("%s: %v %s", kind, err, list())
		}
	}
	for _, tc := range []struct {
		kind types.ResourceTypeForTagging
		id   string
		want string
	}{
		{"ManagedInstance", "mi-00000000000000000", "InvalidResourceId"}, {"Document", "None", "InvalidResourceId"}, {"Document", "AWS-RunShellScript", "InvalidResourceId"},
		{"Parameter", "x", "InvalidResourceId"}, {"Planet", "x", "InvalidResourceType"},
	} {
		err := second(c.AddTagsToResource(t.Context(), &ssm.AddTagsToResourceInput{ResourceType: tc.kind, ResourceId: &tc.id, Tags: tag("a", "b")}))
		if code(err) != tc.want {
			t.Errorf("%s %s: %v, want %s", tc.kind, tc.id, err, tc.want)
		}
	}
	found, err := p.nodesOf(ssm.DescribeInstanceInformationInput{Filters: []types.InstanceInformationStringFilter{{Key: aws.String("tag:b"), Values: []string{"2"}}}})
	if err != nil || len(found) != 1 {
		t.Errorf("%v %v", found, err)
	}
}

func TestDeregister(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	c := p.sdk()
	n := p.register(&ssm.CreateActivationInput{})
	var gone []string
	p.nodes.OnDeregister(func(id string) { gone = append(gone, id) })
	if _, err := c.UpdateManagedInstanceRole(t.Context(), &ssm.UpdateManagedInstanceRoleInput{InstanceId: &n.id, IamRole: aws.String("new")}); err != nil {
		t.Error(err)
	}
	if found, err := p.nodesOf(ssm.DescribeInstanceInformationInput{}); err != nil || *found[0].IamRole != "new" {
		t.Errorf("%v %v", found, err)
	}
	for _, want := range []string{"", "InvalidInstanceId"} {
		if err := second(c.DeregisterManagedInstance(t.Context(), &ssm.DeregisterManagedInstanceInput{InstanceId: &n.id})); code(err) != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if !slices.Equal(gone, []string{n.id}) {
		t.Errorf("told of %v", gone)
	}
	if err := second(c.UpdateManagedInstanceRole(t.Context(), &ssm.UpdateManagedInstanceRoleInput{InstanceId: &n.id, IamRole: aws.String("new")})); code(err) != "InvalidInstanceId" {
		t.Error(err)
	}
}

func TestRestartKeepsRegister(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.register(&ssm.CreateActivationInput{RegistrationLimit: aws.Int32(7)})
	p.ping(n, "Linux")
	if _, err := p.sdk().CreateDocument(t.Context(), &ssm.CreateDocumentInput{Name: aws.String("Kept"), Content: aws.String(document22)}); err != nil {
		t.Fatal(err)
	}
	before := p.operator()
	p.restart()
	if before.AccessKeyID != p.operator().AccessKeyID {
		t.Error("the access key changed")
	}
	p.ping(n, "Linux") // its token is still good
	found, err := p.nodesOf(ssm.DescribeInstanceInformationInput{})
	if err != nil || len(found) != 1 || *found[0].InstanceId != n.id {
		t.Errorf("%v %v", found, err)
	}
	if _, err := p.sdk().GetDocument(t.Context(), &ssm.GetDocumentInput{Name: aws.String("Kept")}); err != nil {
		t.Error(err)
	}
	acts, err := p.sdk().DescribeActivations(t.Context(), nil)
	if err != nil || len(acts.ActivationList) != 1 || *acts.ActivationList[0].RegistrationsCount != 1 || *acts.ActivationList[0].RegistrationLimit != 7 {
		t.Errorf("%+v %v", acts, err)
	}
}
