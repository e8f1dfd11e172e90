package userstest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssmagent/users"
)

// Accounts are users.Local and Fake.
type Accounts interface {
	Switches() bool
	Self() (users.Account, error)
	LoginPath(a users.Account) string
	Lookup(ctx context.Context, name string) (users.Account, error)
	Enter(ctx context.Context, w users.Wish) (a users.Account, leave func() error, err error)
}

// Run tests accounts among which are "ada" and "toor", who is root too, and not
// yet users.Name.
func Run(t *testing.T, all Accounts) {
	t.Helper()
	for name, want := range map[string]error{
		"nobody-of-that-name": users.ErrUnknown, "": users.ErrUnknown, "-ada": users.ErrUnknown, "ada;id": users.ErrUnknown,
		"$(id)": users.ErrUnknown, "ada\nb": users.ErrUnknown, "4711": users.ErrUnknown, "toor": users.ErrRoot, "ada": nil, users.Name: users.ErrUnknown,
	} {
		a, err := all.Lookup(t.Context(), name)
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
		if want == nil && (a.Name != name || !a.Principal.Set || a.Principal.UID == 0 || len(a.Principal.Groups) == 0 || a.Home == "") {
			t.Errorf("%q is %+v", name, a)
		}
	}
	if self, err := all.Self(); err != nil || all.LoginPath(self) == "" {
		t.Errorf("%+v, PATH %q, %v", self, all.LoginPath(self), err)
	}
	w := users.Wish{Sudo: true}
	made := make([]users.Account, 20)
	var wg sync.WaitGroup
	for i := range made {
		wg.Go(func() {
			a, leave, err := all.Enter(t.Context(), w)
			if err != nil {
				t.Error(err)
				return
			}
			made[i] = a
			if err := leave(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, a := range made {
		if d := cmp.Diff(made[0], a); d != "" {
			t.Errorf("two made two: %s", d)
		}
	}
	if a, err := all.Lookup(t.Context(), users.Name); err != nil || !cmp.Equal(a, made[0]) || a.Principal.UID == 0 {
		t.Errorf("made %+v, found %+v, %v", made[0], a, err)
	}
}
