package proc

import "context"

// First says whether we are the first process of a container, to which its
// orphans come. Only Linux has such a thing.
func First() bool { return first() }

// TendOrphans collects the ended processes that come to us as orphans (see
// ReapOrphans), as they end, until stop is called.
func TendOrphans() (stop func()) { return tendOrphans() }

// EndChildren asks every child of ours to end, also those that become ours
// meanwhile, and returns when none is left that runs, or when ctx ends. It is
// for the first process of a container: elsewhere than on Linux it does nothing.
func EndChildren(ctx context.Context) error { return endChildren(ctx) }
