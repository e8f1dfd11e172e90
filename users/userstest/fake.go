// Package userstest has accounts in memory, and what real and remembered ones
// have in common.
package userstest

import (
	"context"
	"fmt"
	"sync"

	"ssmagent/platform/proc"
	"ssmagent/users"
)

// Fake is a machine's accounts in memory. The zero value is one of root's
// without any.
type Fake struct {
	Me       users.Account
	Stranger bool // we may not run processes as others
	Fails    error
	Left     func() error // called by leave; nil: nothing

	making sync.Mutex

	mu    sync.Mutex
	all   map[string]users.Account
	wish  users.Wish
	makes int
}

// Add puts an account there.
func (f *Fake) Add(a users.Account) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = map[string]users.Account{}
	}
	f.all[a.Name] = a
}

// Made is how often an account was made, and the last wish.
func (f *Fake) Made() (int, users.Wish) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.makes, f.wish
}

// Switches is that of users.Local, as are the others.
func (f *Fake) Switches() bool { return !f.Stranger }

// Self is Me.
func (f *Fake) Self() (users.Account, error) { return f.Me, nil }

// LoginPath is the same for all.
func (f *Fake) LoginPath(users.Account) string { return "/usr/bin:/bin" }

// Lookup finds what was added or made.
func (f *Fake) Lookup(_ context.Context, name string) (users.Account, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, ok := f.all[name]
	switch {
	case !ok || !users.ValidName(name):
		return users.Account{}, fmt.Errorf("look up %s: %w", name, users.ErrUnknown)
	case a.Principal.UID == 0 || a.Principal.GID == 0:
		return users.Account{}, fmt.Errorf("the account %s: %w", name, users.ErrRoot)
	}
	return a, nil
}

// Enter makes the account as a system would, or Fails.
func (f *Fake) Enter(ctx context.Context, w users.Wish) (users.Account, func() error, error) {
	leave := f.Left
	if leave == nil {
		leave = func() error { return nil }
	}
	a, err := f.ensure(ctx, w)
	if err != nil {
		return users.Account{}, nil, err
	}
	return a, leave, nil
}

func (f *Fake) ensure(ctx context.Context, w users.Wish) (users.Account, error) {
	f.making.Lock()
	defer f.making.Unlock()
	if a, err := f.Lookup(ctx, users.Name); err == nil || f.Fails != nil {
		return a, f.Fails
	}
	id := uint32(1000)
	if w.UID > 0 {
		id = uint32(w.UID)
	}
	home := "/home/" + users.Name
	if w.Home != "" {
		home = w.Home
	}
	f.Add(users.Account{Name: users.Name, Home: home, Shell: w.Shell, Principal: proc.Principal{Set: true, UID: id, GID: id, Groups: []uint32{id}}})
	f.mu.Lock()
	f.makes++
	f.wish = w
	f.mu.Unlock()
	return f.Lookup(ctx, users.Name)
}
