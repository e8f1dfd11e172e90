// Package firstboot is the seam for a machine's own first set-up: a Windows image
// that was prepared for copying (sysprep) gives itself a new name and restarts,
// and who registers before that is another machine afterwards.
package firstboot

import (
	"context"
	"errors"
)

// Complete is the state of an image whose set-up has ended.
const Complete = "IMAGE_STATE_COMPLETE"

// ErrOthers says that the set-up is EC2Config's, which starts the agent when it
// has ended.
var ErrOthers = errors.New("EC2Config sets this machine up and starts the agent when it has")

// State is the state of the machine's image; empty where it has none.
func State() (string, error) { return state() }

// Await waits for the set-up to end, or ctx. It calls told with each state that
// it waits in. Only Windows has one: elsewhere it returns at once.
func Await(ctx context.Context, told func(state string)) error { return await(ctx, told) }
