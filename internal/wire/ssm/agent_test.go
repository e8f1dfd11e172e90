package ssm

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func recodeAgent[T any](b []byte) (any, []byte, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, nil, err
	}
	out, err := json.Marshal(v)
	return v, out, err
}

type agentExample struct {
	wire   string
	value  any
	recode func([]byte) (any, []byte, error)
}

// agentExamples are recorded bodies, and what they must decode to. Members
// stand in the order of the wire, and are written in it.
func agentExamples() map[string]agentExample {
	const (
		node = "mi-0a1b2c3d4e5f60718"
		uuid = "c0ffee00-1111-4222-8333-444455556666"
	)
	key, none, channel := "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"+strings.Repeat("A", 354)+"IDAQAB", "", "ssmmessages"
	return map[string]agentExample{
		"10.1 activation": {`{"ActivationCode":"Q7c2kVnp9wTz4LsXb1Rd","ActivationId":"5f0c1c2e-7b1d-4f5a-9a0e-3a1b2c3d4e5f","Fingerprint":"` + uuid + `","PublicKey":"` + key + `","PublicKeyType":"Rsa"}`,
			RegisterManagedInstanceInput{ActivationCode: "Q7c2kVnp9wTz4LsXb1Rd", ActivationId: "5f0c1c2e-7b1d-4f5a-9a0e-3a1b2c3d4e5f",
				Fingerprint: uuid, PublicKey: key, PublicKeyType: "Rsa"}, recodeAgent[RegisterManagedInstanceInput]},
		"10.1 role and tags": {`{"Fingerprint":"` + uuid + `","IamRole":"NodeRole","PublicKey":"` + key + `","PublicKeyType":"Rsa","Tags":[{"Key":"site","Value":"lab"}]}`,
			RegisterManagedInstanceInput{Fingerprint: uuid, IamRole: "NodeRole", PublicKey: key, PublicKeyType: "Rsa", Tags: []Tag{{"site", "lab"}}},
			recodeAgent[RegisterManagedInstanceInput]},
		"10.1 answer":  {`{"InstanceId":"` + node + `"}`, RegisterManagedInstanceOutput{node}, recodeAgent[RegisterManagedInstanceOutput]},
		"10.2 request": {`{"Fingerprint":"` + uuid + `"}`, RequestManagedInstanceRoleTokenInput{uuid}, recodeAgent[RequestManagedInstanceRoleTokenInput]},
		"10.2 answer": {`{"AccessKeyId":"ASIAEXAMPLEEXAMPLE00","SecretAccessKey":"s","SessionToken":"t","TokenExpirationDate":1741948013,"UpdateKeyPair":false}`,
			RequestManagedInstanceRoleTokenOutput{"ASIAEXAMPLEEXAMPLE00", "s", "t", Time{time.Unix(1741948013, 0).UTC()}, false},
			recodeAgent[RequestManagedInstanceRoleTokenOutput]},
		"10.3": {`{"NewPublicKey":"` + key + `","NewPublicKeyType":"Rsa"}`, UpdateManagedInstancePublicKeyInput{key, "Rsa"}, recodeAgent[UpdateManagedInstancePublicKeyInput]},
		"10.4": {`{"Fingerprint":"i-0123456789abcdef0"}`, RequestManagedInstanceRoleTokenInput{"i-0123456789abcdef0"}, recodeAgent[RequestManagedInstanceRoleTokenInput]},
		"10.5 empty": {`{"AgentName":"amazon-ssm-agent","AgentVersion":"3.3.0.0","InstanceId":"` + node + `","PlatformType":"Linux"}`,
			UpdateInstanceInformationInput{AgentName: "amazon-ssm-agent", AgentVersion: "3.3.0.0", InstanceId: node, PlatformType: "Linux"},
			recodeAgent[UpdateInstanceInformationInput]},
		"10.5 full": {`{"AgentName":"amazon-ssm-agent","AgentStatus":"Active","AgentVersion":"3.3.0.0","AvailabilityZone":"","AvailabilityZoneId":"",` +
			`"ComputerName":"node7.lab.example","IPAddress":"192.0.2.17","InstanceId":"` + node + `","PlatformName":"Debian GNU/Linux",` +
			`"PlatformType":"Linux","PlatformVersion":"12","SSMConnectionChannel":"ssmmessages"}`,
			UpdateInstanceInformationInput{AgentName: "amazon-ssm-agent", AgentStatus: "Active", AgentVersion: "3.3.0.0", AvailabilityZone: &none,
				AvailabilityZoneId: &none, ComputerName: "node7.lab.example", IPAddress: "192.0.2.17", InstanceId: node,
				PlatformName: "Debian GNU/Linux", PlatformType: "Linux", PlatformVersion: "12", SSMConnectionChannel: &channel},
			recodeAgent[UpdateInstanceInformationInput]},
		"10.14": {`{"InstanceId":"` + node + `","MaxResults":20}`, ListInstanceAssociationsInput{InstanceId: node, MaxResults: 20}, recodeAgent[ListInstanceAssociationsInput]},
		"10.18": {`{"__type":"MachineFingerprintDoesNotMatch","message":"fingerprint differs"}`,
			Error{"MachineFingerprintDoesNotMatch", "fingerprint differs"}, recodeAgent[Error]},
		"empty": {`{}`, Empty{}, recodeAgent[Empty]},
	}
}

func TestAgentExamples(t *testing.T) {
	t.Parallel()
	for name, e := range agentExamples() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, out, err := e.recode([]byte(e.wire))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(e.value, v); d != "" {
				t.Errorf("decoded otherwise: %s", d)
			}
			// The two forms of a registration put IamRole in different places.
			if name != "10.1 role and tags" && string(out) != e.wire {
				t.Errorf("written as %s\nwant       %s", out, e.wire)
			}
			var want, got any
			if json.Unmarshal([]byte(e.wire), &want) != nil || json.Unmarshal(out, &got) != nil || !cmp.Equal(want, got) {
				t.Errorf("written with other members: %s", cmp.Diff(want, got))
			}
		})
	}
}

func TestTokenExpiresAsText(t *testing.T) {
	t.Parallel()
	var o RequestManagedInstanceRoleTokenOutput
	if err := json.Unmarshal([]byte(`{"TokenExpirationDate":"2025-03-14T10:26:53Z"}`), &o); err != nil || o.TokenExpirationDate.Unix() != 1741948013 {
		t.Errorf("%v, %v", o.TokenExpirationDate, err)
	}
}

func FuzzAgentShapes(f *testing.F) {
	for _, e := range agentExamples() {
		f.Add([]byte(e.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, e := range agentExamples() {
			_, first, err := e.recode(b)
			if err != nil {
				continue
			}
			if _, second, err := e.recode(first); err != nil || string(second) != string(first) {
				t.Fatalf("%s: %s became %s, %v", name, first, second, err)
			}
		}
	})
}
