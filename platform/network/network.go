// Package network is the seam for news of this machine's network: links,
// addresses and routes that came or went.
package network

import "context"

// Changes tells that the network is not as it was. The channel gets a value
// after each change, though one may stand for several, and is closed when ctx
// ends or the system tells no more.
func Changes(ctx context.Context) (<-chan struct{}, error) { return changes(ctx) }
