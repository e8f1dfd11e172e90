package agent_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/uuid"

	"ssmagent/internal/config"
	"ssmagent/internal/wire/mgs"
)

// TestContainerMode: a node that the service does not list by its pings sends
// none, and has its commands by the gateway; a registered one pings.
func TestContainerMode(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{config.Custom, config.OnPrem} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			d := newDouble(t)
			n := newNode(t, d)
			n.opt.Config.Agent.ContainerMode = true
			n.opt.Config.Identity.ConsumptionOrder = []string{kind}
			n.opt.Config.Identity.CustomIdentities = []config.CustomIdentity{{InstanceID: instance, Region: "us-east-1"}}
			n.opt.Machine.Ambient = func(context.Context, string) (aws.CredentialsProvider, error) {
				return credentials.NewStaticCredentialsProvider("AKIA", "secret", ""), nil
			}
			if kind == config.OnPrem {
				n.register()
			}
			n.start()
			d.online()
			if kind == config.OnPrem {
				take(t, "a ping", d.pings)
			}
			id := uuid.NewString()
			d.push(id, shell(id, "exit 3"))
			d.acked(mgs.AckSuccessful)
			d.final(id)
			if kind == config.Custom && len(d.pings) > 0 {
				t.Errorf("it pinged: %s", <-d.pings)
			}
		})
	}
}
