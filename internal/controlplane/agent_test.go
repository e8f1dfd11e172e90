package controlplane

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/sigv4"
	wire "ssmagent/internal/wire/ssm"
)

// TestWorkedExamples replays the recorded calls of stock agents that are
// served here, with what they expect.
func TestWorkedExamples(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	const example, activation, activationCode = "mi-0a1b2c3d4e5f60718", "5f0c1c2e-7b1d-4f5a-9a0e-3a1b2c3d4e5f", "Q7c2kVnp9wTz4LsXb1Rd"
	key, err := testKey()
	if err != nil {
		t.Fatal(err)
	}
	pub, err := sigv4.EncodePublicKey(&key.PublicKey)
	if err != nil || len(pub) != 392 {
		t.Fatalf("%d %v", len(pub), err)
	}
	const fingerprint = "c0ffee00-1111-4222-8333-444455556666"
	n := node{id: example, fingerprint: fingerprint, key: key}
	now := time.Now()
	err = p.db.Update(func(tx *store.Tx) error {
		a := nodes.Activation{ID: activation, CodeHash: nodes.HashCode(activationCode), IAMRole: "NodeRole", Limit: 1, Created: now, Expires: now.Add(time.Hour)}
		if err := nodes.Activations.Put(tx, a.ID, a); err != nil {
			return err
		}
		return nodes.Nodes.Put(tx, example, nodes.Node{ID: example, PublicKey: pub, PublicKeyType: "Rsa", Fingerprint: fingerprint, Registered: now})
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.sdk().CreateDocument(t.Context(), &ssm.CreateDocumentInput{Name: aws.String("Lab-Nightly"), Content: aws.String(document22)}); err != nil {
		t.Fatal(err)
	}
	t.Run("10.1 unsigned registration", func(t *testing.T) {
		a := p.call(aws.Credentials{}, "AmazonSSM.RegisterManagedInstance", `{"ActivationCode":"`+activationCode+`","ActivationId":"`+activation+
			`","Fingerprint":"`+fingerprint+`","PublicKey":"`+pub+`","PublicKeyType":"Rsa"}`)
		var out wire.RegisterManagedInstanceOutput
		if json.Unmarshal([]byte(a.body), &out) != nil || a.status != 200 || !strings.HasPrefix(out.InstanceId, "mi-") || len(out.InstanceId) != 20 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if ct := a.header.Get("Content-Type"); ct != "application/x-amz-json-1.1" {
			t.Errorf("Content-Type %q", ct)
		}
	})
	t.Run("10.1 signed registration", func(t *testing.T) {
		a := p.call(p.operator(), "AmazonSSM.RegisterManagedInstance", `{"Fingerprint":"`+fingerprint+`","IamRole":"NodeRole","PublicKey":"`+pub+
			`","PublicKeyType":"Rsa","Tags":[{"Key":"site","Value":"lab"}]}`)
		if a.status != 200 || !strings.HasPrefix(a.body, `{"InstanceId":"mi-`) {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("10.2 role token", func(t *testing.T) {
		a := p.keyCall(n, "AmazonSSM.RequestManagedInstanceRoleToken", `{"Fingerprint":"`+fingerprint+`"}`, time.Now())
		var out map[string]any
		if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for _, member := range []string{"AccessKeyId", "SecretAccessKey", "SessionToken"} {
			if s, _ := out[member].(string); s == "" {
				t.Errorf("%s is missing: a stock agent dies of that", member)
			}
		}
		if rotate, ok := out["UpdateKeyPair"].(bool); !ok || rotate {
			t.Errorf("UpdateKeyPair is %v", out["UpdateKeyPair"])
		}
		exp, _ := out["TokenExpirationDate"].(float64)
		if left := time.Until(time.Unix(int64(exp), 0)); left < 59*time.Minute || left > 61*time.Minute {
			t.Errorf("the token lasts %s", left)
		}
	})
	t.Run("10.3 new key, twice the same, back again", func(t *testing.T) {
		other, err := sigv4.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		newPub, _ := sigv4.EncodePublicKey(&other.PublicKey)
		second := n
		second.key = other
		const target = "AmazonSSM.UpdateManagedInstancePublicKey"
		body := func(k string) string { return `{"NewPublicKey":"` + k + `","NewPublicKeyType":"Rsa"}` }
		for i, step := range []struct {
			by   node
			key  string
			want int
		}{{n, newPub, 200}, {n, newPub, 400}, {second, newPub, 200}, {second, pub, 200}, {second, pub, 400}, {n, pub, 200}} {
			a := p.keyCall(step.by, target, body(step.key), time.Now())
			if a.status != step.want || a.status == 200 && a.body != "{}" {
				t.Errorf("step %d: %d %s", i, a.status, a.body)
			}
		}
	})
	n.Credentials = p.token(n)
	for _, tc := range []struct{ name, op, in, out string }{
		{"10.5 empty ping", "UpdateInstanceInformation", `{"AgentName":"amazon-ssm-agent","AgentVersion":"3.3.0.0","InstanceId":"mi-0a1b2c3d4e5f60718","PlatformType":"Linux"}`, `{}`},
		{"10.5 full ping", "UpdateInstanceInformation", `{"AgentName":"amazon-ssm-agent","AgentStatus":"Active","AgentVersion":"3.3.0.0","AvailabilityZone":"","AvailabilityZoneId":"",
 "ComputerName":"node7.lab.example","IPAddress":"192.0.2.17","InstanceId":"mi-0a1b2c3d4e5f60718","PlatformName":"Debian GNU/Linux",
 "PlatformType":"Linux","PlatformVersion":"12","SSMConnectionChannel":"ssmmessages"}`, `{}`},
		{"10.14 associations", "ListInstanceAssociations", `{"InstanceId":"mi-0a1b2c3d4e5f60718","MaxResults":20}`, `{"Associations":[]}`},
		{"10.14 status, first", "UpdateInstanceAssociationStatus", `{"AssociationId":"b1f5c7de-4a1b-4c7e-8d33-0f9a1b2c3d4e","ExecutionResult":{"ErrorCode":"","ExecutionDate":1741485600.21,"ExecutionSummary":"Association is pending","Status":"Pending"},"InstanceId":"mi-0a1b2c3d4e5f60718"}`, `{}`},
		{"10.14 status, last", "UpdateInstanceAssociationStatus", `{"AssociationId":"b1f5c7de-4a1b-4c7e-8d33-0f9a1b2c3d4e","ExecutionResult":{"ErrorCode":"","ExecutionDate":1741485601.87,
  "ExecutionSummary":"1 out of 1 plugin processed, 1 success, 0 failed, 0 timedout, 0 skipped. ",
  "OutputUrl":{"S3OutputUrl":{"OutputUrl":"results/assoc/mi-0a1b2c3d4e5f60718/b1f5c7de-4a1b-4c7e-8d33-0f9a1b2c3d4e/2025-03-09T02-00-00.205Z"}},
  "Status":"Success"},"InstanceId":"mi-0a1b2c3d4e5f60718"}`, `{}`},
		{"10.14 legacy status", "UpdateAssociationStatus", `{"AssociationStatus":{"AdditionalInfo":"{\"Name\":\"amazon-ssm-agent\"}","Date":1741485601.9,"Message":"m","Name":"Success"},"InstanceId":"mi-0a1b2c3d4e5f60718","Name":"Lab-Nightly"}`, `AssociationDoesNotExist`},
		{"10.14 DescribeAssociation", "DescribeAssociation", `{"InstanceId":"mi-0a1b2c3d4e5f60718","Name":"Lab-Nightly"}`, `AssociationDoesNotExist`},
		{"10.14 compliance", "PutComplianceItems", `{"ComplianceType":"Association","ExecutionSummary":{"ExecutionId":"","ExecutionTime":1741485601.87,"ExecutionType":""},"ItemContentHash":"3qIryfiXCzrLKO1uM3OiBw==",
 "Items":[{"Details":{"DocumentName":"Lab-Nightly","DocumentVersion":"$DEFAULT"},"Id":"b1f5c7de-4a1b-4c7e-8d33-0f9a1b2c3d4e","Severity":"UNSPECIFIED","Status":"COMPLIANT","Title":""}],
 "ResourceId":"mi-0a1b2c3d4e5f60718","ResourceType":"ManagedInstance"}`, `{}`},
		{"10.15 inventory that was never sent", "PutInventory", `{"InstanceId":"mi-0a1b2c3d4e5f60718","Items":[
 {"CaptureTime":"2025-03-14T10:00:00Z","SchemaVersion":"1.1","TypeName":"AWS:Application","ContentHash":"q83v7f1mUfRm0lQyC8d3xA=="}]}`, `ItemContentMismatchException`},
		{"10.15 inventory with content", "PutInventory", `{"InstanceId":"mi-0a1b2c3d4e5f60718","Items":[
 {"CaptureTime":"2025-03-14T10:00:00Z","SchemaVersion":"1.0","TypeName":"AWS:Network","ContentHash":"HV5sbAJNDGBU8sDb04q2vg==",
  "Content":[{"IPV4":"192.0.2.17","IPV6":"fe80::5054:ff:fe12:3456","MacAddress":"52:54:00:12:34:56","Name":"eth0"}]}]}`, `{"Message":""}`},
		{"10.15 inventory unchanged", "PutInventory", `{"InstanceId":"mi-0a1b2c3d4e5f60718","Items":[
 {"CaptureTime":"2025-03-14T11:00:00Z","SchemaVersion":"1.0","TypeName":"AWS:Network","ContentHash":"HV5sbAJNDGBU8sDb04q2vg=="}]}`, `{"Message":""}`},
		{"10.16 parameters", "GetParameters", `{"Names":["/lab/motd","limit:3"],"WithDecryption":false}`, `{"Parameters":[],"InvalidParameters":["/lab/motd","limit:3"]}`},
		{"10.16 manifest", "GetManifest", `{"PackageName":"LabTool","PackageVersion":"latest"}`, `ResourceNotFoundException`},
		{"10.16 package result", "PutConfigurePackageResult", `{"Attributes":{"architecture":"x86_64","availabilityZone":"","instanceID":"mi-0a1b2c3d4e5f60718","instanceType":"","platformName":"debian","platformVersion":"12","region":"eu-west-1"},
 "Operation":"Install","OverallTiming":5321,"PackageName":"LabTool","PackageVersion":"1.2.0","Result":0,
 "Steps":[{"Action":"> download manifest","Result":0,"Timing":12},{"Action":"< download manifest","Result":0,"Timing":240}]}`, `{}`},
		{"10.17 ListAssociations", "ListAssociations", `{"AssociationFilterList":[{"key":"InstanceId","value":"mi-0a1b2c3d4e5f60718"}],"MaxResults":1}`, `{"Associations":[]}`},
		{"11.7 unknown operation", "NoSuchThing", `{}`, `UnknownOperationException`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := p.call(n.Credentials, "AmazonSSM."+tc.op, tc.in)
			if a.header.Get("X-Amzn-RequestId") == "" {
				t.Error("no X-Amzn-RequestId")
			}
			if strings.HasPrefix(tc.out, "{") {
				if a.status != 200 || a.body != tc.out {
					t.Errorf("%d %s, want %s", a.status, a.body, tc.out)
				}
			} else if a.status != 400 || a.Type != tc.out || a.Message == "" {
				t.Errorf("%d %s, want 400 %s", a.status, a.body, tc.out)
			}
		})
	}
	t.Run("10.14 GetDocument", func(t *testing.T) {
		a := p.call(n.Credentials, "AmazonSSM.GetDocument", `{"DocumentVersion":"$DEFAULT","Name":"Lab-Nightly"}`)
		var out wire.GetDocumentOutput
		if err := json.Unmarshal([]byte(a.body), &out); err != nil || out.Content != document22 || out.Status != "Active" || out.DocumentType != "Command" || out.DocumentVersion != "1" {
			t.Errorf("%d %s %v", a.status, a.body, err)
		}
	})
	t.Run("10.18 error", func(t *testing.T) {
		a := p.keyCall(n, "AmazonSSM.RequestManagedInstanceRoleToken", `{"Fingerprint":"another"}`, time.Now())
		if a.status != http.StatusBadRequest || a.Type != "MachineFingerprintDoesNotMatch" || a.header.Get("X-Amzn-RequestId") == "" {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

// TestEC2Node replays 4.6 and 10.4: a registration signed with ordinary
// credentials, and a token call with the second signature by the key.
func TestEC2Node(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	key, err := testKey()
	if err != nil {
		t.Fatal(err)
	}
	n := node{id: "i-0123456789abcdef0", fingerprint: "i-0123456789abcdef0", key: key}
	registration := `{"Fingerprint":"` + n.id + `","PublicKey":"` + pubOf(t, n) + `","PublicKeyType":"Rsa"}`
	if a := p.call(p.operator(), "AmazonSSM.RegisterManagedInstance", registration); a.body != `{"InstanceId":"i-0123456789abcdef0"}` {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := p.call(p.operator(), "AmazonSSM.RegisterManagedInstance", registration); a.Type != "InstanceAlreadyRegistered" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := p.call(aws.Credentials{}, "AmazonSSM.RegisterManagedInstance", registration); a.Type != "InvalidActivation" {
		t.Errorf("unsigned: %d %s", a.status, a.body)
	}
	token := func(by *rsa.PrivateKey, id string) answer {
		body := `{"Fingerprint":"` + id + `"}`
		r := p.request("AmazonSSM.RequestManagedInstanceRoleToken", body)
		if err := sigv4.Sign(t.Context(), r, []byte(body), p.operator(), "ssm", "eu-west-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		if by != nil {
			sum := sha256.Sum256([]byte(r.Header.Get("Authorization")))
			proof, err := rsa.SignPSS(rand.Reader, by, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: 32})
			if err != nil {
				t.Fatal(err)
			}
			r.Header["SSM-AsymmetricKeyAuthorization"] = []string{"Signature=" + base64.StdEncoding.EncodeToString(proof)}
		}
		return p.send(r)
	}
	stranger, err := sigv4.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		a    answer
		code string
	}{
		"another key":  {token(stranger, n.id), "InvalidSignatureException"},
		"another node": {token(key, "i-0123456789abcdef1"), "AccessDeniedException"},
		"no node":      {token(key, "x"), "AccessDeniedException"},
		"no proof":     {token(nil, n.id), "AccessDeniedException"},
	} {
		if tc.a.Type != tc.code {
			t.Errorf("%s: %d %s", name, tc.a.status, tc.a.body)
		}
	}
	a := token(key, n.id)
	var out wire.RequestManagedInstanceRoleTokenOutput
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	n.Credentials = aws.Credentials{AccessKeyID: out.AccessKeyId, SecretAccessKey: string(out.SecretAccessKey), SessionToken: string(out.SessionToken)}
	p.ping(n, "Linux")
	found, err := p.nodesOf(ssm.DescribeInstanceInformationInput{})
	if err != nil || len(found) != 1 || found[0].ResourceType != "EC2Instance" || found[0].SourceType != "AWS::EC2::Instance" || *found[0].InstanceId != n.id {
		t.Errorf("%+v %v", found, err)
	}
}

const document22 = `{"schemaVersion":"2.2","description":"d","parameters":{"commands":{"type":"StringList","default":["uptime"]}},"mainSteps":[{"action":"aws:runShellScript","name":"one","inputs":{"runCommand":"{{ commands }}"}}]}`

func TestRegistrationRefused(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	make := func(in ssm.CreateActivationInput) (string, string) {
		in.IamRole = aws.String("lab")
		out, err := p.sdk().CreateActivation(t.Context(), &in)
		if err != nil {
			t.Fatal(err)
		}
		return *out.ActivationId, *out.ActivationCode
	}
	key, err := testKey()
	if err != nil {
		t.Fatal(err)
	}
	n := node{key: key, fingerprint: "f"}
	id, activationCode := make(ssm.CreateActivationInput{})
	soonID, soonCode := make(ssm.CreateActivationInput{ExpirationDate: aws.Time(time.Now().Add(time.Minute))})
	twoID, twoCode := make(ssm.CreateActivationInput{RegistrationLimit: aws.Int32(2)})
	register := func(body string) answer { return p.call(aws.Credentials{}, "AmazonSSM.RegisterManagedInstance", body) }
	for range 2 {
		if a := register(registration(t, n, twoID, twoCode)); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	p.clock.advance(2 * time.Minute)
	for _, tc := range []struct{ name, body, code, says string }{
		{"wrong code", registration(t, n, id, "wrongwrongwrongwrong"), "InvalidActivation", "check both"},
		{"another's code", registration(t, n, id, twoCode), "InvalidActivation", "check both"},
		{"unknown id", registration(t, n, "5f0c1c2e-7b1d-4f5a-9a0e-3a1b2c3d4e5f", activationCode), "InvalidActivation", "check both"},
		{"expired", registration(t, n, soonID, soonCode), "ActivationExpired", "expired at"},
		{"used up", registration(t, n, twoID, twoCode), "ActivationExpired", "admits 2"},
		{"no code", strings.Replace(registration(t, n, id, activationCode), activationCode, "", 1), "ValidationException", "go together"},
		{"no activation", `{"Fingerprint":"f","PublicKey":"` + pubOf(t, n) + `","PublicKeyType":"Rsa"}`, "InvalidActivation", "unsigned"},
		{"no key", `{"ActivationId":"` + id + `","ActivationCode":"` + activationCode + `","Fingerprint":"f","PublicKeyType":"Rsa"}`, "ValidationException", "PublicKey"},
		{"role with activation", strings.Replace(registration(t, n, id, activationCode), `{`, `{"IamRole":"root",`, 1), "ValidationException", "IamRole"},
		{"no JSON", `{"ActivationId`, "SerializationException", "JSON"},
	} {
		a := register(tc.body)
		if a.status != 400 || a.Type != tc.code || !strings.Contains(a.Message, tc.says) {
			t.Errorf("%s: %d %s, want %s with %q", tc.name, a.status, a.body, tc.code, tc.says)
		}
	}
	// Nothing was half done: the untouched activation still admits its one.
	if a := register(registration(t, n, id, activationCode)); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	out, err := p.sdk().DescribeInstanceInformation(t.Context(), nil)
	if err != nil || len(out.InstanceInformationList) != 3 {
		t.Errorf("%v nodes, want 3; %v", out, err)
	}
}

func pubOf(t *testing.T, n node) string {
	t.Helper()
	pub, err := sigv4.EncodePublicKey(&n.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

// TestNodeActsForItself: a node's credentials are good for its own id only.
func TestNodeActsForItself(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	one, two := p.register(&ssm.CreateActivationInput{}), p.register(&ssm.CreateActivationInput{})
	for _, tc := range []struct{ op, body string }{
		{"UpdateInstanceInformation", `{"AgentName":"amazon-ssm-agent","AgentVersion":"3.3.0.0","InstanceId":"` + two.id + `"}`},
		{"ListInstanceAssociations", `{"InstanceId":"` + two.id + `"}`},
		{"ListAssociations", `{"AssociationFilterList":[{"key":"InstanceId","value":"` + two.id + `"}]}`},
		{"ListAssociations", `{}`},
		{"DescribeAssociation", `{"InstanceId":"` + two.id + `","Name":"Some-Doc"}`},
		{"UpdateInstanceAssociationStatus", `{"InstanceId":"` + two.id + `","AssociationId":"a","ExecutionResult":{}}`},
		{"UpdateAssociationStatus", `{"InstanceId":"` + two.id + `","Name":"Some-Doc","AssociationStatus":{}}`},
		{"PutInventory", `{"InstanceId":"` + two.id + `","Items":[{"TypeName":"AWS:Network","SchemaVersion":"1.0","CaptureTime":"2025-03-14T10:00:00Z","Content":[]}]}`},
		{"PutComplianceItems", `{"ResourceId":"` + two.id + `","ResourceType":"ManagedInstance","ComplianceType":"Association","ExecutionSummary":{},"Items":[]}`},
		{"DeregisterManagedInstance", `{"InstanceId":"` + two.id + `"}`},
		{"CreateActivation", `{"IamRole":"x"}`},
		{"DescribeInstanceInformation", `{}`},
		{"SendCommand", `{"DocumentName":"AWS-RunShellScript"}`},
		{"RequestManagedInstanceRoleToken", `{"Fingerprint":"c0ffee00-1111-4222-8333-444455556666"}`},
	} {
		if a := p.call(one.Credentials, "AmazonSSM."+tc.op, tc.body); a.status != 400 || a.Type != "AccessDeniedException" {
			t.Errorf("%s: %d %s", tc.op, a.status, a.body)
		}
	}
	// Deregistered: its token and its key are good for nothing.
	if a := p.call(two.Credentials, "AmazonSSM.DeregisterManagedInstance", `{"InstanceId":"`+two.id+`"}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := p.call(two.Credentials, "AmazonSSM.ListInstanceAssociations", `{"InstanceId":"`+two.id+`"}`); a.Type != "AccessDeniedException" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := p.keyCall(two, "AmazonSSM.RequestManagedInstanceRoleToken", `{"Fingerprint":"`+two.fingerprint+`"}`, time.Now()); a.Type != "AccessDeniedException" {
		t.Errorf("%d %s", a.status, a.body)
	}
}
