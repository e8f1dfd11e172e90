//go:build unix

package users

import "context"

// maker is a system's way to make accounts.
type maker interface {
	// add makes the account with its home; own is its primary group, or empty.
	add(ctx context.Context, w Wish, own string) error
	addGroup(ctx context.Context, gid int, system bool) error
	// complete makes good what a process that was killed in add may have left
	// out: among others the account's membership of groups.
	complete(ctx context.Context, groups []string) error
}

func option(args []string, name, value string) []string {
	if value == "" {
		return args
	}
	return append(args, name, value)
}
