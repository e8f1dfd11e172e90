package controlplane

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"ssmagent/internal/sigv4"
	wire "ssmagent/internal/wire/ssm"
)

// TestOperatorAsksForANewKey: every role token says so until the node has one,
// also after a restart.
func TestOperatorAsksForANewKey(t *testing.T) {
	t.Parallel()
	const ask = "AmazonSSM.RequestKeyRotation"
	p := newPlane(t)
	n, other := p.register(&ssm.CreateActivationInput{}), p.register(&ssm.CreateActivationInput{})
	asked := func(n node) bool {
		t.Helper()
		a := p.keyCall(n, "AmazonSSM.RequestManagedInstanceRoleToken", `{"Fingerprint":"`+n.fingerprint+`"}`, time.Now())
		var out wire.RequestManagedInstanceRoleTokenOutput
		if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return out.UpdateKeyPair
	}
	if asked(n) {
		t.Error("asked before anybody asked")
	}
	if a := p.keyCall(n, ask, `{"InstanceId":"`+n.id+`"}`, time.Now()); a.status == 200 {
		t.Errorf("a node may ask: %s", a.body)
	}
	for id, want := range map[string]string{n.id: "", "mi-00000000000000000": "InvalidInstanceId", "web": "ValidationException"} {
		if a := p.call(p.operator(), ask, `{"InstanceId":"`+id+`"}`); a.Type != want {
			t.Errorf("%s: %d %s", id, a.status, a.body)
		}
	}
	p.restart()
	for range 2 {
		if !asked(n) || asked(other) {
			t.Error("the next tokens do not ask, or those of another node do")
		}
	}
	fresh, err := sigv4.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	pub, err := sigv4.EncodePublicKey(&fresh.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	had, err := sigv4.EncodePublicKey(&n.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		key  string
		asks bool
	}{{had, true}, {pub, false}} {
		a := p.keyCall(n, "AmazonSSM.UpdateManagedInstancePublicKey", `{"NewPublicKey":"`+step.key+`","NewPublicKeyType":"Rsa"}`, time.Now())
		if a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if step.key == pub {
			n.key = fresh
		}
		if asked(n) != step.asks {
			t.Errorf("the token asks: %t", !step.asks)
		}
	}
}

// TestEC2HasNoKeyToReplace: their registration is another.
func TestEC2HasNoKeyToReplace(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	key, err := sigv4.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	pub, err := sigv4.EncodePublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	const id = "i-0123456789abcdef0"
	if a := p.call(p.operator(), "AmazonSSM.RegisterManagedInstance", `{"Fingerprint":"`+id+`","PublicKey":"`+pub+`","PublicKeyType":"Rsa"}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := p.call(p.operator(), "AmazonSSM.RequestKeyRotation", `{"InstanceId":"`+id+`"}`); a.Type == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
}
