package config

import (
	"reflect"
	"strings"
)

// Reload is c with what next has otherwise and may change while the agent
// runs. It names those settings, and those that differ and count after a
// restart only. Settings without effect are passed over.
func (c Config) Reload(next Config) (merged Config, live, restart []string) {
	merged = c
	for _, r := range rules() {
		path, member, listed := cutMember(r.path)
		have, want := value(&merged, path), value(&next, path)
		if r.counts() == "" || reflect.DeepEqual(have.Interface(), want.Interface()) {
			continue
		}
		switch {
		case r.live:
			have.Set(want)
			live = append(live, r.path)
		case !listed || different(have, want, member):
			restart = append(restart, r.path)
		}
	}
	return merged, live, restart
}

// cutMember parts the path of a list from that of its objects' member.
func cutMember(path string) (list, member string, found bool) { return strings.Cut(path, "[].") }

// different says whether two lists of objects differ in a member.
func different(a, b reflect.Value, member string) bool {
	if a.Len() != b.Len() {
		return true
	}
	for i := range a.Len() {
		if !reflect.DeepEqual(a.Index(i).FieldByName(member).Interface(), b.Index(i).FieldByName(member).Interface()) {
			return true
		}
	}
	return false
}
