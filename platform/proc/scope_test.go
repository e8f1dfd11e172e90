package proc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// fakeManager notes who enters; each waits for a word.
type fakeManager struct {
	goOn    chan error
	entered []string
	closed  atomic.Int32
}

func (f *fakeManager) enter(_ context.Context, id ID, unit string) error {
	f.entered = append(f.entered, fmt.Sprintf("%d %s", id.PID, unit))
	return <-f.goOn
}

func (f *fakeManager) Close() { f.closed.Add(1) }

func fakeScopes(f *fakeManager, dialled error, told *[]string) *Scopes {
	return &Scopes{
		failed: func(err error) { *told = append(*told, err.Error()) }, there: func() bool { return true },
		dial: func(context.Context) (scoper, error) { return f, dialled },
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []string
		f := &fakeManager{goOn: make(chan error)}
		s := fakeScopes(f, nil, &told)
		one, two := ID{PID: 1, Start: 1}, ID{PID: 2, Start: 2}
		s.Enter(one, "a")
		synctest.Wait()
		s.Enter(two, "b")
		s.Enter(one, "c")
		s.Enter(two, "d") // in b's stead
		for range 3 {
			f.goOn <- nil
		}
		synctest.Wait()
		s.Enter(two, "e") // over another connection
		f.goOn <- errors.New("no such thing")
		s.Enter(one, "f")
		f.goOn <- errors.New("nor that")
		synctest.Wait()
		if want := []string{"1 a.scope", "1 c.scope", "2 d.scope", "2 e.scope", "1 f.scope"}; !slices.Equal(f.entered, want) {
			t.Errorf("entered %q", f.entered)
		}
		if !slices.Equal(told, []string{"no such thing"}) {
			t.Errorf("told %q", told)
		}
		if f.closed.Load() < 2 || s.busy {
			t.Errorf("closed %d connections, busy %v", f.closed.Load(), s.busy)
		}
	})
}

func TestScopesWithoutManager(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []string
		s := fakeScopes(nil, errors.New("nobody answers"), &told)
		s.Enter(ID{PID: 1}, "a")
		s.Enter(ID{PID: 2}, "b")
		synctest.Wait()
		if !slices.Equal(told, []string{"nobody answers"}) || s.busy {
			t.Errorf("told %q, busy %v", told, s.busy)
		}
		s.there = func() bool { return false }
		s.Enter(ID{PID: 3}, "c")
		if len(s.waiting) != 0 || s.busy {
			t.Error("it waits for a manager that is not there")
		}
	})
}

func TestUnitName(t *testing.T) {
	t.Parallel()
	for scope, want := range map[string]string{
		"ssmagent-command-aws.ssm.1b4e.mi-0a": "ssmagent-command-aws.ssm.1b4e.mi-0a.scope",
		"a/b@c é\n":                           "a_b_c___.scope",
		strings.Repeat("x", 300):              strings.Repeat("x", 200) + ".scope",
	} {
		if got := unitName(scope); got != want {
			t.Errorf("%q: %q", scope, got)
		}
	}
}
