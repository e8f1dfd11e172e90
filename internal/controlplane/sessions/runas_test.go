package sessions

import (
	"testing"

	"ssmagent/internal/wire/mgs"
)

// TestRunAs: the operator's account goes with every order, as the tag of AWS's
// principals does; documents say whether agents use it.
func TestRunAs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.document("RunAs", `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"runAsEnabled":true,"runAsDefaultUser":"bob"}}`)
	for _, user := range []string{"", "ada"} {
		l.runAs = user
		l.startWith(ada, `{"Target":"web","DocumentName":"RunAs"}`)
		task, err := mgs.Decode[mgs.AgentTask]((<-l.pushes).payload)
		if err != nil {
			t.Fatal(err)
		}
		order, err := task.Session()
		if err != nil || order.RunAsUser != user || string(order.DocumentContent.Inputs) != `{"runAsEnabled":true,"runAsDefaultUser":"bob"}` {
			t.Errorf("%+v %v", order, err)
		}
	}
}
