package controlplane

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	wire "ssmagent/internal/wire/ssm"
)

// TestCloneIsToldToTheOperator: whoever lists the nodes sees it, for a day.
func TestCloneIsToldToTheOperator(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.register(&ssm.CreateActivationInput{})
	warning := func() string {
		t.Helper()
		a := p.call(p.operator(), "AmazonSSM.DescribeInstanceInformation", `{}`)
		var out wire.DescribeInstanceInformationOutput
		if err := json.Unmarshal([]byte(a.body), &out); err != nil || len(out.InstanceInformationList) != 1 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return out.InstanceInformationList[0].CloneWarning
	}
	if w := warning(); w != "" {
		t.Errorf("before: %s", w)
	}
	a := p.keyCall(n, "AmazonSSM.RequestManagedInstanceRoleToken", `{"Fingerprint":"another"}`, time.Now())
	if a.Type != "MachineFingerprintDoesNotMatch" || !strings.Contains(a.Message, "clone") {
		t.Errorf("%d %s", a.status, a.body)
	}
	first := warning()
	if !strings.Contains(first, "clone") || !strings.Contains(first, "127.0.0.1") || !strings.Contains(first, "-register") {
		t.Errorf("after: %q", first)
	}
	p.nodes.Rivals(n.id, "192.0.2.1", "192.0.2.2") // within a minute: one sign is enough
	if w := warning(); w != first {
		t.Errorf("again: %s", w)
	}
	if found, err := p.nodesOf(ssm.DescribeInstanceInformationInput{}); err != nil || len(found) != 1 {
		t.Errorf("the stock SDK reads %v, %v", found, err)
	}
	p.clock.advance(25 * time.Hour)
	if w := warning(); w != "" {
		t.Errorf("a day later: %s", w)
	}
}
