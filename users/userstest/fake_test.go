package userstest

import (
	"testing"

	"ssmagent/platform/proc"
	"ssmagent/users"
)

func TestFake(t *testing.T) {
	t.Parallel()
	f := new(Fake)
	f.Add(users.Account{Name: "ada", Home: "/home/ada", Principal: proc.Principal{Set: true, UID: 7, GID: 8, Groups: []uint32{8}}})
	f.Add(users.Account{Name: "toor", Home: "/root", Principal: proc.Principal{Set: true, GID: 8, Groups: []uint32{8}}})
	Run(t, f)
	if n, w := f.Made(); n != 1 || !w.Sudo {
		t.Errorf("made %d times, with %+v", n, w)
	}
}
