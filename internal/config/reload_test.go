package config

import (
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// other changes a setting to something else.
func other(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.String:
		v.SetString(v.String() + "x")
	default:
		v.Set(reflect.ValueOf([]string{"x"}))
	}
}

// TestReload: each setting alone is taken over, named as one for a restart, or
// passed over, and nothing else changes.
func TestReload(t *testing.T) {
	t.Parallel()
	listed := []CustomIdentity{{InstanceID: "a", Region: "b"}}
	for _, r := range rules() {
		old, next := Default(), Default()
		if v := value(&next, r.path); v.IsValid() {
			other(v)
		} else {
			old.Identity.CustomIdentities, next.Identity.CustomIdentities = listed, slices.Clone(listed)
			_, member, _ := cutMember(r.path)
			other(reflect.ValueOf(&next.Identity.CustomIdentities[0]).Elem().FieldByName(member))
		}
		merged, live, restart := old.Reload(next)
		var wantLive, wantRestart []string
		want := old
		switch r.counts() {
		case CountsNow:
			wantLive, want = []string{r.path}, next
		case CountsRestart:
			wantRestart = []string{r.path}
		}
		if d := cmp.Diff([][]string{wantLive, wantRestart}, [][]string{live, restart}); d != "" {
			t.Errorf("%s: %s", r.path, d)
		}
		if d := cmp.Diff(want, merged); d != "" {
			t.Errorf("%s: %s", r.path, d)
		}
	}
	for _, n := range []int{0, 2} {
		a, b := Default(), Default()
		a.Identity.CustomIdentities, b.Identity.CustomIdentities = listed, make([]CustomIdentity, n)
		if _, _, restart := a.Reload(b); !slices.Contains(restart, "Identity.CustomIdentities[].InstanceID") {
			t.Errorf("%d identities instead of one: %v", n, restart)
		}
	}
}
