package agent

import (
	"context"

	"ssmagent/internal/ssmclient"
)

// watchNetwork tells whoever waits for the service that the network changed.
func (a *Agent) watchNetwork(ctx context.Context, reach *ssmclient.Reach) error {
	if a.opt.Machine.Network != nil {
		news, err := a.opt.Machine.Network(ctx)
		if err != nil {
			a.log.Warn("news of the network are not to be had; waits are as long as they are", "error", err)
		} else {
			for range news {
				reach.NetworkChanged()
			}
		}
	}
	<-ctx.Done() // without news the agent works too
	return context.Cause(ctx)
}
